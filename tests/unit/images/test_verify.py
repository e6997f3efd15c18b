"""Signatures: only the right key over the right bytes is good."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.image_server import Key
from vclaw.errors import UsageError
from vclaw.images import verify

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


def _keyring(folder: Path, key: Key) -> Path:
    path = folder / "key.asc"
    path.write_text(key.public)
    return path


@pytest.mark.parametrize("armor", [False, True])
def test_a_good_signature_names_its_key(tmp_path: Path, key: Key, armor: bool) -> None:
    found = verify.signer(b"data", key.sign(b"data", armor), _keyring(tmp_path, key), "x")
    assert found == key.fingerprint


def test_changed_data_is_refused(tmp_path: Path, key: Key) -> None:
    with pytest.raises(verify.BadSignatureError):
        verify.signer(b"other", key.sign(b"data"), _keyring(tmp_path, key), "x")


def test_another_key_is_refused(tmp_path: Path, key: Key) -> None:
    with pytest.raises(verify.BadSignatureError):
        verify.signer(b"data", Key().sign(b"data"), _keyring(tmp_path, key), "x")


@pytest.mark.parametrize("signature", [b"", b"no signature"])
def test_no_signature_is_refused(tmp_path: Path, key: Key, signature: bytes) -> None:
    with pytest.raises(verify.BadSignatureError):
        verify.signer(b"data", signature, _keyring(tmp_path, key), "x")


def test_a_key_that_vouches_for_itself_with_sha1_is_good_as_ubuntus_does() -> None:
    data = (DATA / "SHA256SUMS").read_bytes()
    signature = (DATA / "SHA256SUMS.gpg").read_bytes()
    found = verify.signer(data, signature, DATA / "sha1-self-signature.asc", "SHA256SUMS")
    assert found == "7AA73A4CEE0BF51129EC786B702D82EBEAAAE875"


def test_the_shipped_key_is_ubuntus() -> None:
    import pysequoia

    assert pysequoia.Cert.from_file(str(verify.KEYRING)).fingerprint.upper() == verify.FINGERPRINT
    binary = verify.dearmored(verify.KEYRING.read_bytes())
    assert pysequoia.Cert.from_bytes(binary).fingerprint.upper() == verify.FINGERPRINT


def test_a_binary_keyring_stays_as_it_is() -> None:
    binary = verify.dearmored(verify.KEYRING.read_bytes())
    assert verify.dearmored(binary) == binary


def test_a_missing_keyring_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        verify.signer(b"data", b"", tmp_path / "none.asc", "x")
