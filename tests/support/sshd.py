"""A real sshd on the loopback in the place of a guest's, with throw-away keys."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vclaw import boot, identity, ports
from vclaw.model import ClawSpec, ImageRef
from vclaw.paths import ClawPaths

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
USER = pwd.getpwuid(os.getuid()).pw_name
START_SECONDS = 20.0


def spec(name: str, workspace: Path, ssh_port: int = 40022) -> ClawSpec:
    """A claw that was never booted."""
    image = ImageRef("debian", "12", "amd64")
    return ClawSpec(name, image, "2026.9.6", workspace, 2, 4096, 20, 18790, ssh_port)


@contextmanager
def serving(paths: ClawPaths, name: str, workspace: Path, config: Path) -> Iterator[ClawSpec]:
    """Make a claw's keys in `paths` and serve them; `config` is a folder for sshd's own files."""
    assert SSHD is not None
    boot.make_folders(paths)
    who = identity.ensure(paths, {})
    (config / "host_key").write_text(who.host_private)
    (config / "host_key").chmod(0o600)
    (config / "authorized").write_text(who.client_public)
    # The guest's sudo: whoever runs the tests may signal their own processes anyway.
    (config / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n')
    (config / "sudo").chmod(0o755)
    port = ports.any_free(())
    (config / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {config}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {config}/authorized\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nSetEnv PATH={config}:/usr/bin:/bin\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", config / "sshd_config"])
    try:
        _wait_for(port)
        yield spec(name, workspace, port)
    finally:
        disconnect(paths)
        server.terminate()
        server.wait(10)


def disconnect(paths: ClawPaths) -> None:
    """End the shared connection, if there is one."""
    control = str(paths.ssh_control).replace("%", "%%")
    argv = ["ssh", "-F", "none", "-S", control, "-O", "exit", "any"]
    subprocess.run(argv, capture_output=True, check=False)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "sshd did not start"
            time.sleep(0.05)
