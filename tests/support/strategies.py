"""What property tests feed vclaw with; the examples are the same at every run."""

from __future__ import annotations

import contextlib
import string
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vclaw.errors import UsageError, VclawError
from vclaw.model import ClawSpec, ImageRef

quick = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

ODD = [
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "//",
        "~",
        "~nobody",
        "~who-is/disk.img",
        "-",
        "--",
        "--help",
        "a" * 300,
        "/" + "a" * 300,
    ),
    *(
        "a,b",
        "a b",
        "a=b",
        'a"b',
        "a'b",
        "a\nb",
        "a\tb",
        "a\\b",
        "$(id)",
        "ü",
        "日本",
        "\u202e",
        "é" * 200,
    ),
    *(
        "\ud800",
        "\udcff",
        "a\0b",
        "\x1b[2J",
        "%s",
        "{}",
        "null",
        "1e9",
        "٣",
        "0x10",
        "-1",
        "1_0",
        "²",
    ),
    *("ubuntu:", "ubuntu:24.04@", "debian:12@20260101", "ubuntu:24.04@20260230", ":", "@", "a:b:c"),
]
"""What has broken programs before."""

texts = st.one_of(st.sampled_from(ODD), st.text(st.characters(), max_size=60))
"""Lone surrogates included: that is how Python has the bytes of a name that is no text."""

words = st.text(string.ascii_letters + string.digits + ":@.,-_/ \n=", max_size=40)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON."""


@contextlib.contextmanager
def only(*allowed: type[Exception]) -> Any:
    """What may be raised, with a message and, for a user's mistake, with a hint."""
    try:
        yield
    except allowed as error:
        if isinstance(error, VclawError):
            assert error.message
        if isinstance(error, UsageError):
            assert error.hint


SPEC = ClawSpec(
    "demo", ImageRef("debian", "12", "amd64"), "1", Path("/w"), 1, 2048, 1, 18789, 40000
)
