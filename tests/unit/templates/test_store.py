"""The templates that are kept, who lies over them, and when one may go."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from tests.support.templates import META, lay_over, plant
from vclaw import disk, fsutil
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.templates import store

KEY = "debian_12-0123456789"


def test_a_template_is_listed_with_what_it_was_made_of_and_its_claws(home: Home) -> None:
    template = plant(home, KEY)
    folders = [lay_over(home, name, template) for name in ("one", "two")]
    (entry,) = store.listing(home)
    assert (entry.key, entry.meta) == (KEY, META)
    assert sorted(entry.users) == folders


def test_an_empty_cache_has_none(home: Home) -> None:
    assert store.listing(home) == []
    assert not home.cache.exists()


@pytest.mark.parametrize("name", ["memory", "device", "disk.img", "disk.json", "template.json"])
def test_without_one_of_its_files_it_is_not_whole(home: Home, name: str) -> None:
    template = plant(home, KEY)
    assert store.is_whole(template)
    (template.root / name).unlink()
    assert not store.is_whole(template)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_description_is_listed_and_can_be_removed(home: Home, text: str) -> None:
    template = plant(home, KEY)
    template.meta.write_text(text)
    (entry,) = store.listing(home)
    assert (entry.key, entry.meta) == (KEY, None)
    with pytest.raises(VclawError):
        store.load(template)
    store.remove(home, KEY)
    assert store.listing(home) == []


def test_a_claw_is_a_user_only_while_its_disk_lies_over_the_template(home: Home) -> None:
    template, other = plant(home, KEY), plant(home, "debian_13-0123456789")
    fsutil.make_folder(home.instances)
    store.note_user(template, home.claw("unmade"))
    assert store.users(template) == []
    folder = lay_over(home, "demo", template)
    assert store.users(template) == [folder]
    assert store.users(other) == []
    lay_over(home, "demo", None)  # made anew, with a disk of its own
    assert store.users(template) == []
    lay_over(home, "demo", template)
    shutil.rmtree(folder)
    assert store.users(template) == []


def test_a_claw_whose_disk_json_cannot_be_read_may_lie_over_it(home: Home) -> None:
    template = plant(home, KEY)
    folder = lay_over(home, "demo", template)
    home.claw("demo").disk_meta.write_text("{")
    assert store.users(template) == [folder]


def test_a_claw_of_another_data_folder_is_a_user_too(home: Home, tmp_path: Path) -> None:
    template = plant(home, KEY)
    elsewhere = Home(home.cache, tmp_path / "other data")
    folder = lay_over(elsewhere, "demo", template)
    assert store.users(template) == [folder]


def test_a_claw_whose_folder_is_out_of_sight_is_a_user_until_it_is_said_to_be_gone(
    home: Home, tmp_path: Path
) -> None:
    template = plant(home, KEY)
    unmounted = Home(home.cache, tmp_path / "a disk")
    folder = lay_over(unmounted, "demo", template)
    shutil.rmtree(unmounted.data)
    assert store.users(template) == [folder]
    store.sweep(home)
    assert store.users(template) == [folder]
    with pytest.raises(UsageError, match="is not there now, and the disk of demo") as caught:
        store.remove(home, KEY)
    assert f"vclaw template rm --force {KEY}" in caught.value.hint
    here = lay_over(home, "other", template)
    with pytest.raises(UsageError, match="the disk of other lies over it"):
        store.remove(home, KEY, force=True)
    shutil.rmtree(here)
    store.remove(home, KEY, force=True)
    assert not template.root.exists()


def test_a_claw_that_was_removed_is_forgotten_before_its_folder_may_go(
    home: Home, tmp_path: Path
) -> None:
    template = plant(home, KEY)
    fsutil.make_folder(home.locks)
    elsewhere = Home(home.cache, tmp_path / "a disk")
    shutil.rmtree(lay_over(elsewhere, "gone", template))
    folder = lay_over(elsewhere, "stays", template)
    store.sweep(home)
    shutil.rmtree(elsewhere.data)
    assert store.users(template) == [folder]


def test_a_claw_in_another_users_folder_is_a_user_and_stops_no_command(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = plant(home, KEY)
    folder = lay_over(home, "demo", template)

    plain = Path.is_dir

    def closed(path: Path) -> bool:
        if path.is_relative_to(home.instances):
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(disk, "load", closed)
    for _ in range(2):
        store.sweep(home)
        assert store.users(template) == [folder]
        with pytest.raises(UsageError, match="the disk of demo lies over it"):
            store.remove(home, KEY, force=True)
        monkeypatch.setattr(Path, "is_dir", closed)  # nor is the folder of all claws to be seen


def test_a_user_is_not_forgotten_while_another_process_makes_its_disk(home: Home) -> None:
    template = plant(home, KEY)
    store.note_user(template, home.claw("demo"))
    for folder in (home.instances, home.locks):
        fsutil.make_folder(folder)
    with store.lock_of(home, KEY).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store.sweep(home)
    assert lay_over(home, "demo", template, note=False) in store.users(template)


def test_a_claw_that_knows_the_cache_by_a_link_is_a_user_too(home: Home, tmp_path: Path) -> None:
    template = plant(home, KEY)
    link = tmp_path / "link"
    link.symlink_to(home.cache)
    folder = lay_over(home, "demo", Home(link, home.data).template(KEY))
    assert store.users(template) == [folder]
    with pytest.raises(UsageError, match="demo"):
        store.remove(home, KEY)


def test_removing_one_in_use_names_its_claws_and_leaves_it_whole(home: Home) -> None:
    template = plant(home, KEY)
    for name in ("zwei", "eins"):
        lay_over(home, name, template)
    with pytest.raises(UsageError, match="eins, zwei lies over it") as caught:
        store.remove(home, KEY)
    assert "vclaw rm" in caught.value.hint
    assert store.is_whole(template)


def test_one_that_is_not_used_is_removed_with_all_its_files(home: Home) -> None:
    template = plant(home, KEY)
    shutil.rmtree(lay_over(home, "demo", template))
    store.remove(home, KEY)
    assert not template.root.exists()
    assert store.keys(home) == []


def test_removing_forgets_that_it_could_not_be_made(home: Home) -> None:
    fsutil.make_folder(home.templates)
    home.template_failure(KEY).write_text("why\n")
    store.remove(home, KEY)
    assert not home.template_failure(KEY).exists()
    with pytest.raises(UsageError, match="There is no template"):
        store.remove(home, KEY)


@pytest.mark.parametrize(
    "word",
    ["", ".", "..", "../images", f"./{KEY}", f"{KEY}/", "nothing", f".{KEY}.building", "/", "a\0"],
)
def test_a_word_that_is_no_templates_name_removes_nothing(home: Home, word: str) -> None:
    plant(home, KEY)
    home.images.mkdir()
    (home.templates / f".{KEY}.building").mkdir()
    before = sorted(home.cache.rglob("*"))
    with pytest.raises(UsageError, match="There is no template"):
        store.remove(home, word)
    assert sorted(home.cache.rglob("*")) == before


def test_one_that_somebody_works_on_is_not_removed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = plant(home, KEY)
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.1)
    fsutil.make_folder(home.locks)
    with store.lock_of(home, KEY).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(VclawError, match="is busy"):
            store.remove(home, KEY)
    assert store.is_whole(template)
