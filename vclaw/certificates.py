"""The host's extra certificate authorities, such as that of a company's TLS proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vclaw.errors import UsageError

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""What distributions ship; the guest has its own."""

LOCAL = Path("/usr/local/share/ca-certificates")
"""Where an administrator of Debian or Ubuntu adds authorities (update-ca-certificates(8))."""


def extra(option: str | None, env: Mapping[str, str] = os.environ, local: Path = LOCAL) -> str:
    """Certificates in PEM that the guest shall trust besides its own; "" where there are none.

    `option` is --ca-cert. Without it: NODE_EXTRA_CA_CERTS and SSL_CERT_FILE where they name
    something else than the system's bundle, and what the administrator added to the system's.
    Raises UsageError where --ca-cert cannot be read or holds no certificate.
    """
    if option is not None:
        return _named(Path(option))
    named = (env.get("NODE_EXTRA_CA_CERTS"), env.get("SSL_CERT_FILE"))
    files = [Path(name) for name in dict.fromkeys(named) if name and name not in SYSTEM_BUNDLES]
    files += sorted(local.rglob("*.crt"))
    return "".join(dict.fromkeys(_pem(path) for path in files))


def _named(path: Path) -> str:
    text = _pem(path)
    if not text:
        raise UsageError(
            f"--ca-cert {path} cannot be read or holds no certificate.",
            "Name a file with certificates in PEM, which begin with BEGIN CERTIFICATE.",
        )
    return text


def _pem(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
    return text.rstrip() + "\n" if "BEGIN CERTIFICATE" in text else ""
