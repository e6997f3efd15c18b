"""`vclaw open`: the token is printed, and on no process's command line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from vclaw import identity
from vclaw.cli import open as open_verb
from vclaw.cli.main import main
from vclaw.paths import ClawPaths


@pytest.fixture
def token(paths: ClawPaths) -> str:
    return identity.ensure(paths, {}).token


@pytest.mark.usefixtures("up")
def test_the_address_with_the_token_is_printed(
    token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", "demo"]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:18790/#token={token}\n"
    assert main(["open", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "clawid": "demo",
        "gateway": "http://127.0.0.1:18790/",
        "url": f"http://127.0.0.1:18790/#token={token}",
        "token": token,
    }


@pytest.mark.usefixtures("up")
def test_a_browser_gets_a_page_that_only_the_user_can_read(
    token: str, paths: ClawPaths, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = short_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{short_path}/argv\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setattr("webbrowser._browsers", {})
    assert main(["open", "demo", "--browser"]) == 0
    assert (short_path / "argv").read_text() == paths.browser_page.as_uri() + "\n"
    assert stat.S_IMODE(paths.browser_page.stat().st_mode) == 0o600
    assert token in paths.browser_page.read_text()


def test_the_page_holds_the_address_quoted_for_script_and_html() -> None:
    page = open_verb.page('http://x/#"</script>&')
    assert 'location.replace("http://x/#\\"\\u003c/script>&")' in page
    assert 'href="http://x/#&quot;&lt;/script&gt;&amp;"' in page
