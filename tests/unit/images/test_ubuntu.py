"""Where Ubuntu's images lie, and what its lists say."""

from __future__ import annotations

import datetime

import pytest

from vclaw.errors import UsageError
from vclaw.images import http, ubuntu
from vclaw.model import ImageRef

BASE = "https://mirror.example"


def test_a_release_without_a_date_is_the_moving_one() -> None:
    found = ubuntu.locations(ImageRef("ubuntu", "24.04", "arm64"), BASE)
    assert [where.url for where in found] == [
        f"{BASE}/releases/noble/release/ubuntu-24.04-server-cloudimg-arm64.img"
    ]


def test_a_date_is_a_release_or_else_a_daily_build() -> None:
    found = ubuntu.locations(ImageRef("ubuntu", "22.04", "amd64", "20260930"), BASE)
    assert [where.url for where in found] == [
        f"{BASE}/releases/jammy/release-20260930/ubuntu-22.04-server-cloudimg-amd64.img",
        f"{BASE}/jammy/20260930/jammy-server-cloudimg-amd64.img",
    ]


def test_sums_are_read_in_text_and_in_binary_mode() -> None:
    text = f"{'a' * 64}  one.img\n{'b' * 64} *two.img\r\nrubbish\n{'c' * 63} *short\n"
    assert ubuntu.parse_sums(text) == {"one.img": "a" * 64, "two.img": "b" * 64}


def test_dated_releases_come_newest_first() -> None:
    listing = (
        '<a href="release/">r</a><a href="release-20260101/">x</a><a href="release-20260930.1/">'
    )
    assert ubuntu.dated_releases(listing) == ["20260930.1", "20260101"]


def test_a_server_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(UsageError, match="VCLAW_UBUNTU_URL"):
        ubuntu.server({"VCLAW_UBUNTU_URL": "mirror.example"})


def test_waiting_doubles_up_to_a_limit_and_obeys_the_server() -> None:
    assert [http.backoff(n, None) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert http.backoff(1, 20.0) == 20.0
    assert http.backoff(1, 3600.0) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert http.retry_after("7", now) == 7.0
    assert http.retry_after("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60.0
    assert http.retry_after("soon", now) is None
    assert http.retry_after(None, now) is None
