"""The search for secrets that tests/vm trusts: it finds what is planted, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leaks

WORDS = (b"planted-in-a-test", b"another-word")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_readable_file_is_found(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "sub" / "log"
    file.parent.mkdir()
    file.write_bytes(b"\0" * 10_000 + WORDS[0] + b"\xff")
    file.chmod(mode)
    assert leaks.in_files(WORDS, [tmp_path]) == [f"{file}: {WORDS[0]!r}"]


def test_what_is_private_empty_or_no_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(WORDS[0])
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "empty").touch()
    (tmp_path / "innocent").write_text("planted in a test")
    (tmp_path / "link").symlink_to("private")
    assert leaks.in_files(WORDS, [tmp_path]) == []


def test_a_word_in_a_command_line_is_found_while_the_process_runs() -> None:
    with leaks.watched_command_lines(WORDS) as seen:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", "a=another-word"])
    assert len(seen) == 1
    assert seen.pop().endswith(f"{sys.executable}: {WORDS[1]!r}")
    assert leaks.in_command_lines(WORDS) == set()
