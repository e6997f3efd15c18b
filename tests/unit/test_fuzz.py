"""Every parser of a file or an answer, whatever is in it: a value or a sentence."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import SPEC, only, quick, texts, values
from vclaw import boot, disk, identity, runtime, schema, timeline
from vclaw.claws import installed, record
from vclaw.errors import VclawError
from vclaw.home import ImagePaths, RuntimePaths
from vclaw.hypervisor.machine import Machine, Share
from vclaw.hypervisor.process import Process
from vclaw.identity import Identity
from vclaw.images import formats, http, meta, ubuntu, verify
from vclaw.paths import ClawPaths
from vclaw.timeline import Stage

READERS: dict[str, Callable[[Path], object]] = {
    "claw.json": lambda folder: record.load(ClawPaths(folder)),
    "secrets.json": lambda folder: identity.load(ClawPaths(folder)),
    "disk.json": lambda folder: disk.load(ClawPaths(folder).disk_meta),
    "installed.json": lambda folder: installed.load(ClawPaths(folder)),
    "run.json": lambda folder: boot.current(ClawPaths(folder)),
    "machine.json": lambda folder: boot.machine(ClawPaths(folder)),
    "timeline.json": lambda folder: timeline.load(ClawPaths(folder)),
    "image.json": lambda folder: meta.load(ImagePaths(folder).meta),
    "manifest.json": lambda folder: runtime.load(RuntimePaths(folder).manifest),
}

GOOD: dict[str, dict[str, Any]] = {
    "claw.json": record.to_json(SPEC),
    "run.json": Process(1, "x", ("qemu",)).to_json(),
    "machine.json": Machine(
        "demo", "amd64", "tcg", 1, 2048, Path("/r"), SPEC.forwards, (Share("state", Path("/s")),)
    ).to_json(),
    "secrets.json": schema.to_json(Identity("t", "a", "b", "c", {"K": "v"}), identity.STEPS),
    "timeline.json": timeline.to_json(
        timeline.Record((Stage("boot", 1.0, 2.0),), {"gateway ready": 3.0}, ())
    ),
    "disk.json": {"schema": 1, "format": "raw"},
    "installed.json": {"schema": 1, "vclaw": "1"},
    "image.json": {"schema": 1, "ref": "debian:12"},
    "manifest.json": {"schema": 1, "openclaw": "1", "arch": "amd64", "recipe": "", "lock": None},
}


@quick
@given(st.sampled_from(sorted(READERS)), st.data())
def test_any_json_in_any_record_is_read_or_damaged(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Anything at all, and what is whole but for one member."""
    good = GOOD[name]
    key = data.draw(st.sampled_from(sorted(good)))
    value = data.draw(st.one_of(values, values.map(lambda found: {**good, key: found})))
    (tmp_path / name).write_text(json.dumps(value))
    with only(VclawError):
        found = READERS[name](tmp_path)
        if isinstance(found, timeline.Record):
            timeline.line(found)
            timeline.spans(found)


@quick
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=100))
def test_any_bytes_in_any_record_are_damaged(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with only(VclawError):
        assert READERS[name](tmp_path) is None


@quick
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: b"QFI\xfb" + rest))
def test_any_file_is_an_image_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(data)
    with only(formats.FormatError):
        assert formats.inspect(path).virtual_size >= 0


@quick
@given(texts | st.from_regex(r"([0-9a-f]{64} [ *]\S+\n){0,3}"), st.binary(max_size=200))
def test_what_servers_send_is_parsed_or_left(text: str, data: bytes) -> None:
    for name, digest in ubuntu.parse_sums(text).items():
        assert name.strip() == name or " " in name
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
    ubuntu.dated_releases(text)
    verify.dearmored(data)
    wait = http.retry_after(text, datetime.datetime.now(datetime.UTC))
    assert wait is None or wait >= 0
    assert http.backoff(1, wait) is None or wait is None or wait <= http.LONGEST_RETRY_AFTER
