"""Checks OpenPGP signatures with gpgv, against one keyring and nothing else.

The key that signs Ubuntu's cloud images dates from 2009 and vouches for itself with SHA-1.
Strict OpenPGP libraries therefore refuse it. Here the key is trusted because vclaw ships it, not
because of what it says of itself; gpgv works that way, and Ubuntu's own tools use it for this.
"""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path

from vclaw import proc
from vclaw.errors import UsageError, VclawError

KEYRING = Path(__file__).with_name("ubuntu-cloud-image-signing-key.asc")
"""The key UEC Image Automatic Signing Key; its fingerprint is in FINGERPRINT."""

FINGERPRINT = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"

ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n"
    rb"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\s*-----END PGP PUBLIC KEY BLOCK-----"
)
"""ASCII armour of RFC 9580, section 6.2."""

VALID = re.compile(r"^\[GNUPG:\] VALIDSIG .*?([0-9A-F]{40,64})$", re.MULTILINE)
"""gpgv's word for a good signature; the line ends with the primary key's fingerprint."""


class BadSignatureError(VclawError):
    """What was signed and its signature do not belong together."""


def dearmored(keyring: bytes) -> bytes:
    """A keyring as gpgv wants it, binary; one that is binary already comes back as it is."""
    blocks = ARMOR.findall(keyring)
    return b"".join(base64.b64decode(block) for block in blocks) if blocks else keyring


def check(keyring: Path) -> Path:
    """The path of gpgv; raises UsageError where it or the keyring is missing."""
    gpgv = proc.need("gpgv", "checking the signature of a download")
    _read(keyring)
    return gpgv


def signer(data: bytes, signature: bytes, keyring: Path, name: str) -> str:
    """Check a detached signature, binary or armoured; return the signing key's fingerprint.

    `name` says in errors what was signed. Raises BadSignatureError, or UsageError where gpgv
    or the keyring is missing.
    """
    gpgv = check(keyring)
    with tempfile.TemporaryDirectory(prefix="vclaw-gpgv-") as folder:
        home = Path(folder)
        files = {"keyring.gpg": dearmored(_read(keyring)), "sig": signature, "data": data}
        for file, content in files.items():
            (home / file).write_bytes(content)
        command: list[str | Path] = [
            gpgv,
            f"--homedir={home}",
            "--status-fd=1",
            f"--keyring={home}/keyring.gpg",
        ]
        command += [home / "sig", home / "data"]
        try:
            output = proc.run(command, timeout=60)
        except VclawError as error:
            raise BadSignatureError(
                f"The signature of {name} is not valid for the key in {keyring.name}.",
                "Someone may have changed the download on its way; nothing of it was kept. Try "
                "again, or set VCLAW_UBUNTU_KEYRING for a mirror that signs with its own key.\n"
                + proc.tail(_without_status(error.hint)),
            ) from None
    found = VALID.search(output)
    if found is None or "\n[GNUPG:] GOODSIG " not in output:  # as with an expired key
        raise BadSignatureError(f"gpgv found no valid signature of {name}.", "Try again.")
    return found.group(1)


def _without_status(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("gpgv:"))


def _read(keyring: Path) -> bytes:
    try:
        return keyring.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The keyring {keyring} cannot be read: {error.strerror}.",
            "Set VCLAW_UBUNTU_KEYRING to a file with an OpenPGP public key, or unset it.",
        ) from None
