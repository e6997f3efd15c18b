"""The namespaces of a running claw, and programs that are started in them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vclaw.errors import VclawError
from vclaw.hypervisor.child import gated, open_gate
from vclaw.hypervisor.process import Process, start_mark
from vclaw.proc import tail
from vclaw.wall import mechanism, sandbox
from vclaw.wall.sandbox import User

SECONDS = 20.0
"""What a short program gets, on a busy host."""


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""All of the environment that programs behind the wall get: the user's holds secrets."""


@dataclass(frozen=True)
class Helper:
    """A program in a claw's namespaces, which does nothing before it is told to `go`.

    `pid` is its own, `monitor` the bwrap that waits for its end.
    """

    monitor: subprocess.Popen[bytes]
    pid: int

    def process(self, argv: Sequence[str]) -> Process:
        """As it is kept."""
        return Process(self.pid, start_mark(self.pid), tuple(argv))

    def go(self) -> None:
        """Open its gate."""
        open_gate(self.monitor)


def told_pid(reading: int) -> int:
    """What bubblewrap says of its child on `--info-fd`; raises VclawError where it says nothing."""
    with open(reading, "rb") as info:
        told = info.read()
    try:
        return int(json.loads(told)["child-pid"])
    except (ValueError, KeyError):
        raise VclawError("bwrap made no process.") from None


@dataclass(frozen=True)
class Namespaces:
    """Those of the process `pid`, which belongs to `user`; for `tun` see `sandbox.inside`."""

    pid: int
    user: User
    tun: Path | None = None

    @property
    def netns(self) -> str:
        """The path of its network namespace."""
        return f"/proc/{self.pid}/ns/net"

    def enter_network(self) -> list[str]:
        """The words before a command that shall be in its network too."""
        return [str(mechanism.tools().nsenter), f"--net={self.netns}"]

    def run(self, words: Sequence[str], text: str) -> None:
        """Run a program to its end with `text` as its input; raises VclawError where it fails."""
        with self._joining() as (before, fds):
            try:
                done = subprocess.run(
                    [*before, *words],
                    input=text,
                    capture_output=True,
                    text=True,
                    pass_fds=fds,
                    env={"PATH": PATH},
                    cwd="/",
                    timeout=SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise VclawError(
                    f"The claw's network could not be closed within {SECONDS:g} s.", "Try again."
                ) from None
        if done.returncode != 0:
            raise VclawError(
                f"The claw's network could not be closed: {Path(words[2]).name} failed with exit "
                f"status {done.returncode}.",
                tail(done.stderr),
            )

    def start(self, words: Sequence[str], log: IO[bytes], pass_fds: Sequence[int] = ()) -> Helper:
        """Start a program, up to its gate, that lives until the claw ends or it is ended itself."""
        reading, writing = os.pipe()
        with self._joining(writing) as (before, fds):
            try:
                monitor = subprocess.Popen(
                    [*before, *gated(words)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(*fds, *pass_fds, writing),
                    env={"PATH": PATH},
                    cwd="/",
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            try:
                return Helper(monitor, told_pid(reading))
            except VclawError:
                monitor.wait()
                raise VclawError(
                    f"{Path(words[0]).name} could not be started in the claw's namespaces.",
                    f"What was said of it is in {log.name}.",
                ) from None

    @contextlib.contextmanager
    def _joining(self, info: int | None = None) -> Iterator[tuple[list[str], tuple[int, int]]]:
        """The words that join, and the open descriptors that they name."""
        with contextlib.ExitStack() as stack:
            fds = []
            for name in ("user", "pid"):
                fd = os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                fds.append(fd)
            words = sandbox.inside(mechanism.tools(), self.user, fds[0], fds[1], self.tun)
            if info is not None:
                words[-1:] = ["--info-fd", str(info), "--"]
            yield words, (fds[0], fds[1])
