"""What makes a claw itself and nobody else's: its gateway token, its SSH keys, its environment."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vclaw import crashpoints, fsutil, proc, schema
from vclaw.paths import ClawPaths

STEPS: tuple[schema.Step, ...] = ()
"""What brings an older secrets.json up to date; see `vclaw.schema`."""

MASK = "********"
"""Shown in place of every secret, whatever its length."""


@dataclass(frozen=True)
class Identity:
    """Stored as secrets.json (0600). Keys are in OpenSSH's format; `env` is the user's."""

    token: str
    host_private: str
    host_public: str
    client_public: str
    env: Mapping[str, str] = field(default_factory=dict)
    machine_id: str = ""  # 32 hex digits for a guest whose disk is another's; "" makes its own


def ensure(paths: ClawPaths, env: Mapping[str, str]) -> Identity:
    """The claw's identity, made at the first call; `env` is laid over what is stored."""
    try:
        stored = load(paths)
    except FileNotFoundError:
        stored = _create(paths)
    identity = replace(stored, env={**stored.env, **env})
    save(paths, identity)
    return identity


def save(paths: ClawPaths, identity: Identity) -> None:
    """Write secrets.json where it differs."""
    content = fsutil.json_bytes(schema.to_json(identity, STEPS))
    fsutil.write_if_changed(paths.secrets, content, 0o600)


def load(paths: ClawPaths) -> Identity:
    """Read it; raises FileNotFoundError where the claw has none yet, VclawError if damaged."""
    hint = f"`vclaw rm {paths.root.name} --keep-state DIR` removes the claw and keeps its state."
    return schema.load(paths.secrets, Identity, STEPS, hint)


def _create(paths: ClawPaths) -> Identity:
    _, client_public = _keypair(paths, "ssh_key", f"vclaw-{paths.root.name}", keep=True)
    host_private, host_public = _keypair(paths, "host_key", "vclaw-guest", keep=False)
    # One pinned key for a name of our own: the port may change, the guest stays the same.
    fsutil.write_atomic(paths.known_hosts, f"vclaw-{paths.root.name} {host_public}".encode())
    return Identity(secrets.token_urlsafe(32), host_private, host_public, client_public)


def _keypair(paths: ClawPaths, name: str, comment: str, *, keep: bool) -> tuple[str, str]:
    """A new ed25519 pair as (private, public) text; the private file stays where `keep`."""
    private = paths.root / name
    public = private.with_name(name + ".pub")
    private.unlink(missing_ok=True)
    program = proc.need("ssh-keygen", "making a claw's SSH keys")
    proc.run([program, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", private])
    crashpoints.reach("claw.keys")
    pair = private.read_text(), public.read_text()
    public.unlink()
    if not keep:
        private.unlink()
    return pair
