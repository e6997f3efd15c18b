"""`vclaw openclaw`: the words that reach OpenClaw, and the environment that its script reads."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from vclaw import seed, ssh
from vclaw.cli.main import main

GUEST = Path(seed.__file__).with_name("guest")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--", "doctor", "--fix"], ["doctor", "--fix"]),
        (["doctor", "--fix"], ["doctor", "--fix"]),
        (["--", "agent", "-t", "x y"], ["agent", "-t", "x y"]),
        ([], []),
    ],
)
@pytest.mark.usefixtures("up")
def test_openclaw_gets_its_own_words(
    words: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run(_paths: object, _spec: object, command: list[str], *, tty: bool) -> int:
        seen.extend([*command, str(tty)])
        return 7

    monkeypatch.setattr(ssh, "run", run)
    monkeypatch.setattr("vclaw.cli.exec.on_terminal", lambda: False)
    assert main(["openclaw", "demo", *words]) == 7
    launcher = ["sudo", "-n", "/bin/sh", "/run/vclaw/seed/vclaw/openclaw.sh"]
    assert seen == [*launcher, *expected, "False"]


@pytest.mark.parametrize("value", ['a "b" $HOME `id` \\ \\n', "two\nlines", "", "'", "#x ; y", "é"])
def test_a_shell_reads_the_services_environment_as_it_was_meant(value: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("guest_apply", GUEST / "apply.py")
    assert spec is not None and spec.loader is not None
    apply = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(apply)
    (tmp_path / "env").write_text(f"KEY={apply.quote(value)}\nLAST=1\n")
    script = f'set -eu; set -a; . {tmp_path}/env; set +a; printf "%s|%s" "$KEY" "$LAST"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == f"{value}|1"


def test_the_launcher_script_is_a_shell_script_that_parses() -> None:
    subprocess.run(["sh", "-n", GUEST / "openclaw.sh"], check=True)
