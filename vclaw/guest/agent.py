"""Answers the host over the virtio-serial port org.vclaw.agent: one JSON object a line.

A request is {"id": N, "op": NAME, …}; its answer carries the same id and either "ok": true
with the result's fields, or "ok": false with "error". Runs on the guest's own Python (3.9 or
later) with the standard library alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import apply  # beside this file on the seed disk
import holders

PORT = "/dev/virtio-ports/org.vclaw.agent"
INTRODUCED = apply.RUN / "introduced"
"""Once a guest that went on from a saved one knows that it is another, its uptime then."""

MACHINE_ID = Path("/etc/machine-id")
RANDOM_SEED = Path("/var/lib/systemd/random-seed")
"""What systemd gives the random generator at the next boot."""
SEED_DISK = Path("/dev/disk/by-id/virtio-seed")
RANDOM = Path("/dev/urandom")

BLKFLSBUF = 0x1261
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
"""Requests of ioctl(2), from linux/fs.h and linux/random.h."""

IDLE_SECONDS = 0.25
"""Pause between reads while the host is not connected: the port then reads as at its end."""


def status(_request: dict[str, Any]) -> dict[str, Any]:
    """What apply.py did so far, what is true now, and `OPS`.

    `disk_free` is in bytes, of what others than root may use. Times are in seconds of uptime; of a
    guest that went on from a saved one, since then.
    """
    try:
        report: dict[str, Any] = json.loads(apply.REPORT.read_text())
    except FileNotFoundError:
        report = {}
    began = float(apply.text_of(INTRODUCED) or 0)
    report["uptime"] = apply.uptime() - began
    for step in report.get("steps", ()):
        step["start"], step["end"] = step["start"] - began, step["end"] - began
    report["mounts"] = [
        path for path in ("/workspace", "/var/lib/openclaw") if os.path.ismount(path)
    ]
    disk = os.statvfs("/")
    report["disk_free"] = disk.f_bavail * disk.f_frsize
    report["ops"] = sorted(OPS)
    return report


def set_clock(request: dict[str, Any]) -> dict[str, Any]:
    """Set the system clock to the host's, in seconds since the epoch."""
    time.clock_settime(time.CLOCK_REALTIME, float(request["time"]))
    return {"time": time.time()}


def journal(request: dict[str, Any]) -> dict[str, Any]:
    """The last lines that a unit logged."""
    argv = ["journalctl", "--no-pager", "-o", "cat", "-n", str(int(request["lines"]))]
    done = subprocess.run(
        [*argv, "-u", str(request["unit"])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    return {"text": done.stdout.decode(errors="replace")}


def unit(request: dict[str, Any]) -> dict[str, Any]:
    """The state of a systemd unit: ActiveState, SubState, NRestarts, ExecMainStatus."""
    wanted = "ActiveState,SubState,NRestarts,ExecMainStatus"
    done = subprocess.run(
        ["systemctl", "show", "-p", wanted, str(request["unit"])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)


def environment(request: dict[str, Any]) -> dict[str, Any]:
    """Give the gateway these variables, name -> value, and start it anew."""
    apply.renew(request["env"], str(request["generation"]))
    return {}


def freeze(_request: dict[str, Any]) -> dict[str, Any]:
    """Make the guest one that can be saved and go on as several others.

    Its boot is over. Nothing is left of the seed disk, in whose place each has another, nor of a
    random stream, nor the machine's id on the disk: one that boots from it makes its own.
    """
    # Ends with another status where any unit failed, which is as good.
    subprocess.run(["systemctl", "is-system-running", "--wait"], stdin=subprocess.DEVNULL)
    subprocess.run(["umount", str(apply.SEED.parent)], stdin=subprocess.DEVNULL, check=True)
    RANDOM_SEED.unlink(missing_ok=True)
    # Empty, and not gone: systemd would take the next boot for the first one (machine-id(5)).
    apply.write(MACHINE_ID, "", 0o444)
    empty_seed()
    return {}


def release(_request: dict[str, Any]) -> dict[str, Any]:
    """Let go of the host's folders and of the seed disk: a guest that has them cannot be saved.

    The gateway is stopped for that. Where something else works in them it is told as `holders`,
    and all is, or soon will be, as before.
    """
    held = holders.of(apply.GATEWAY)
    if held:  # the gateway need not be stopped to find that out
        return {"holders": held}
    report = json.loads(apply.REPORT.read_text())
    try:
        subprocess.run(["systemctl", "stop", apply.GATEWAY], stdin=subprocess.DEVNULL, check=True)
        for path in holders.PLACES:
            if os.path.ismount(path):
                apply.call("umount", path)
        held = holders.of("") + holders.elsewhere()
        if not held:
            apply.save({**report, "applied": ""})
            empty_seed()
            return {"holders": []}
    except (subprocess.CalledProcessError, OSError) as error:
        held = holders.of("") or [{"pid": 0, "name": apply.describe(error), "path": ""}]
    systemctl("restart", "vclaw-seed.service")
    return {"holders": held}


def empty_seed() -> None:
    """Forget what was read of the seed disk, in whose place there may be another, and sync."""
    with SEED_DISK.open("rb") as disk:
        fcntl.ioctl(disk, BLKFLSBUF)
    subprocess.run(["sync"], stdin=subprocess.DEVNULL, check=True)


def regain(request: dict[str, Any]) -> dict[str, Any]:
    """After `release` and a sleep of any length: clock, randomness, seed, folders, gateway.

    The seed disk says the rest, and may make another guest of this one. May be repeated.
    """
    set_clock(request)
    stir(bytes.fromhex(request["entropy"]))
    begin_anew()
    return {}


def begin_anew() -> None:
    """Apply the seed disk's settings as at a boot, in a guest that stood still until now."""
    # Whoever asks meanwhile must not be told that what was applied before is.
    apply.save({"applied": "", "steps": [], "error": ""})
    # It gives name servers up that did not answer, and asks none of them for minutes.
    systemctl("try-restart", "systemd-resolved.service")
    systemctl("restart", "vclaw-seed.service")


def introduce(request: dict[str, Any]) -> dict[str, Any]:
    """Tell a guest that went on from a saved one that it is another: clock, randomness, ids.

    The rest is on its seed disk. May be repeated.
    """
    set_clock(request)
    if not INTRODUCED.exists():
        stir(bytes.fromhex(request["entropy"]))
        apply.write(MACHINE_ID, os.urandom(16).hex() + "\n", 0o444)
        # The journal keeps its files by that id.
        systemctl("restart", "systemd-journald.service")
        apply.write(INTRODUCED, str(apply.uptime()))
    begin_anew()
    return {}


def stir(entropy: bytes) -> None:
    """Give the kernel's random generator what no other guest has (random(4))."""
    with RANDOM.open("wb") as device:
        size = len(entropy)
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack(f"ii{size}s", size * 8, size, entropy))
        fcntl.ioctl(device, RNDRESEEDCRNG)


def systemctl(*words: str) -> None:
    subprocess.run(["systemctl", "--no-block", *words], stdin=subprocess.DEVNULL, check=True)


def poweroff(_request: dict[str, Any]) -> dict[str, Any]:
    """Begin an orderly shutdown."""
    systemctl("poweroff")
    return {}


OPS = {
    "status": status,
    "set-clock": set_clock,
    "journal": journal,
    "unit": unit,
    "environment": environment,
    "freeze": freeze,
    "introduce": introduce,
    "release": release,
    "regain": regain,
    "poweroff": poweroff,
}


def answer(line: bytes) -> dict[str, Any] | None:
    """The answer to one request line, or None where it is no request."""
    try:
        request = json.loads(line)
        number = request["id"]
    except (ValueError, KeyError, TypeError):
        return None
    try:
        return {"id": number, "ok": True, **OPS[request["op"]](request)}
    except Exception as error:  # the host gets the reason, and the agent lives on
        return {"id": number, "ok": False, "error": f"{type(error).__name__}: {error}"}


def serve(port: int) -> None:
    """Read requests and write answers for as long as the guest lives."""
    buffer = b""
    while True:
        data = os.read(port, 65536)
        if not data:
            buffer = b""
            time.sleep(IDLE_SECONDS)
            continue
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            reply = answer(line)
            if reply is not None:
                rest = json.dumps(reply).encode() + b"\n"
                while rest:  # Linux's virtio-serial takes at most 32 KiB at a time
                    rest = rest[os.write(port, rest) :]


if __name__ == "__main__":
    serve(os.open(PORT, os.O_RDWR))
