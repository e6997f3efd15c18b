"""Extra certificates for the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from vclaw import certificates
from vclaw.errors import UsageError


def pem(path: Path, name: str) -> str:
    """Write a file like a certificate; returns its text as the guest shall get it."""
    text = f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return text


def test_a_host_without_extra_certificates_gives_none(tmp_path: Path) -> None:
    assert certificates.extra(None, {}, tmp_path / "missing") == ""


def test_all_that_the_host_adds_is_given_once(tmp_path: Path) -> None:
    node = pem(tmp_path / "node.pem", "node")
    ssl = pem(tmp_path / "ssl.pem", "ssl")
    first = pem(tmp_path / "local/a.crt", "a")
    pem(tmp_path / "local/deep/b.crt", "ssl")
    pem(tmp_path / "local/c.pem", "no .crt")
    env = {
        "NODE_EXTRA_CA_CERTS": str(tmp_path / "node.pem"),
        "SSL_CERT_FILE": str(tmp_path / "ssl.pem"),
    }
    assert certificates.extra(None, env, tmp_path / "local") == node + ssl + first


@pytest.mark.parametrize("bundle", certificates.SYSTEM_BUNDLES)
def test_the_systems_own_bundle_is_not_extra(tmp_path: Path, bundle: str) -> None:
    assert certificates.extra(None, {"SSL_CERT_FILE": bundle}, tmp_path) == ""


def test_a_named_file_is_given_alone(tmp_path: Path) -> None:
    text = pem(tmp_path / "mine.pem", "mine")
    env = {"SSL_CERT_FILE": str(tmp_path / "other.pem")}
    pem(tmp_path / "other.pem", "other")
    assert certificates.extra(str(tmp_path / "mine.pem"), env, tmp_path) == text


@pytest.mark.parametrize("content", [None, b"", b"hello", b"\x30\x82\xff"])
def test_a_named_file_without_certificates_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"--ca-cert .*mine\.pem"):
        certificates.extra(str(path), {}, tmp_path)


def test_an_unreadable_file_of_the_environment_is_passed_over(tmp_path: Path) -> None:
    env = {"SSL_CERT_FILE": str(tmp_path / "missing.pem"), "NODE_EXTRA_CA_CERTS": str(tmp_path)}
    assert certificates.extra(None, env, tmp_path) == ""
