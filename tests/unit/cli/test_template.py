"""`vclaw template` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.templates import lay_over, plant
from vclaw import completion
from vclaw.cli import main
from vclaw.home import Home
from vclaw.templates import store

KEY = "debian_12-0123456789"


@pytest.fixture
def home(own_home: Path) -> Home:
    return Home(own_home, own_home)


def test_ls_names_each_template_with_its_claws(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_over(home, "demo", plant(home, KEY))
    plant(home, "broken").meta.write_text("{")
    assert main(["template", "ls"]) == 0
    head, broken, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "TEMPLATE"
    assert broken.split()[:2] == ["broken", "broken"]
    cells = row.split()
    assert cells[:4] == [KEY, "debian:12", "2026.9.6", "1"]
    assert cells[-3:] == ["1", "2026-01-31", "12:00:00"]


def test_ls_as_json_holds_paths_and_claws(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    template = plant(home, KEY)
    folder = lay_over(home, "demo", template)
    assert main(["template", "ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["template"], row["path"]) == (KEY, str(template.root))
    assert (row["claws"], row["whole"]) == ([str(folder)], True)
    assert 2**20 <= row["bytes"] < 2**22, "holes are left out"


def test_without_templates_ls_shows_the_heads_alone_and_makes_nothing(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["template", "ls"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert not own_home.exists()


def test_rm_removes_one_that_no_claw_uses(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    template = plant(home, KEY)
    assert main(["template", "rm", KEY]) == 0
    assert capsys.readouterr().out == f"removed {KEY}\n"
    assert not template.root.exists()


def test_rm_refuses_one_in_use_with_its_claws_names(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    template = plant(home, KEY)
    lay_over(home, "demo", template)
    assert main(["template", "rm", KEY]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message == f"vclaw: The template {KEY} is in use: the disk of demo lies over it."
    assert "vclaw rm" in hint
    assert store.is_whole(template)


def test_rm_force_removes_one_whose_claws_are_out_of_sight(home: Home, tmp_path: Path) -> None:
    template = plant(home, KEY)
    unmounted = Home(home.cache, tmp_path / "a disk")
    lay_over(unmounted, "demo", template)
    shutil.rmtree(unmounted.data)
    assert main(["template", "rm", KEY]) == 2
    assert store.is_whole(template)
    assert main(["template", "rm", "--force", KEY]) == 0
    assert not template.root.exists()


@pytest.mark.parametrize("word", ["nothing", "..", "", "../images", ".", "a" * 300, "\udcff"])
def test_a_name_that_there_is_not_exits_2_with_two_sentences_and_leaves_nothing(
    own_home: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert main(["template", "rm", word]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("vclaw: There is no template")
    assert "vclaw template ls" in hint
    assert not own_home.exists()


def test_a_name_that_is_too_long_for_a_file_is_none(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(home, KEY)
    assert main(["template", "rm", "a" * 300]) == 2
    assert "There is no template" in capsys.readouterr().err


def test_templates_are_completed_by_their_names(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(home, KEY)
    plant(home, "another")
    (home.templates / ".another.building").mkdir()
    home.template_failure("a-third").write_text("why\n")
    assert completion.words(home, "templates") == ["another", KEY]
    assert main(["completion", "--words", "templates"]) == 0
    assert capsys.readouterr().out.split() == ["another", KEY]
    for shell in completion.SHELLS:
        assert main(["completion", shell]) == 0
        assert "vclaw completion --words templates" in capsys.readouterr().out
