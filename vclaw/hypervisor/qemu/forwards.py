"""The ports of the host that lead into a guest, of QEMU's user networking: asked for and changed.

QEMU has them in its human monitor alone (`hostfwd_add`, `hostfwd_remove`, `info usernet`), whose
answers are text: docs/system/monitor and slirp's net/slirp.c of QEMU.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from vclaw.errors import VclawError
from vclaw.hypervisor.qemu import qmp
from vclaw.hypervisor.qemu.argv import NETDEV
from vclaw.model import PortForward

ROW = re.compile(r"^ *TCP\[HOST_FORWARD\] +\d+ +127\.0\.0\.1 +(\d+) +\S+ +(\d+) ", re.MULTILINE)
"""A forward in the table of `info usernet`; connections have other states in the brackets."""

TAKEN = re.compile(r"ould not set up host forwarding rule 'tcp:127\.0\.0\.1:(\d+)-:")
"""What QEMU says where it cannot listen on a port."""


def change(monitor: Path, wanted: Collection[PortForward]) -> None:
    """Make the forwards exactly `wanted`; raises VclawError where QEMU cannot listen on a port."""
    for words, answer in commands(present(_say(monitor, "info usernet")), wanted):
        said = _say(monitor, words).strip()
        if said != answer:
            raise refused(words, said)


def refused(words: str, said: str) -> VclawError:
    """The error for a forward that QEMU did not make, by what it said; pure."""
    taken = TAKEN.search(said)
    if taken is not None:
        return VclawError(
            f"Port {taken[1]} of the host was taken by another program just now.",
            "Run the command again: it takes another one, unless --port or --publish asked for "
            "this one; then choose another, or end that program.",
        )
    return VclawError(f"QEMU refused {words}: {said}.", "The port may be taken by now.")


def present(table: str) -> set[PortForward]:
    """The forwards in the text of `info usernet`."""
    return {PortForward(int(host), int(guest)) for host, guest in ROW.findall(table)}


def commands(
    now: Collection[PortForward], wanted: Collection[PortForward]
) -> list[tuple[str, str]]:
    """What turns `now` into `wanted`, each command with the answer that means yes; pure.

    Removals come first: a port may lead elsewhere afterwards.
    """
    rules = []
    for item in sorted(set(now) - set(wanted), key=lambda item: item.host):
        rule = f"tcp:127.0.0.1:{item.host}"
        rules.append(
            (f"hostfwd_remove {NETDEV} {rule}", f"host forwarding rule for {rule} removed")
        )
    for item in sorted(set(wanted) - set(now), key=lambda item: item.host):
        rules.append((f"hostfwd_add {NETDEV} tcp:127.0.0.1:{item.host}-:{item.guest}", ""))
    return rules


def _say(monitor: Path, words: str) -> str:
    return str(qmp.execute(monitor, "human-monitor-command", {"command-line": words}))
