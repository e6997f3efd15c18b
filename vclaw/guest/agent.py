"""Answers the host over the virtio-serial port org.vclaw.agent: one JSON object a line.

A request is {"id": N, "op": NAME, …}; its answer carries the same id and either "ok": true
with the result's fields, or "ok": false with "error". Runs on the guest's own Python (3.9 or
later) with the standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import apply  # beside this file on the seed disk

PORT = "/dev/virtio-ports/org.vclaw.agent"
IDLE_SECONDS = 0.25
"""Pause between reads while the host is not connected: the port then reads as at its end."""


def status(_request: dict[str, Any]) -> dict[str, Any]:
    """What apply.py did so far, with times in seconds of uptime, what is true now, and `OPS`."""
    try:
        report: dict[str, Any] = json.loads(apply.REPORT.read_text())
    except FileNotFoundError:
        report = {}
    report["uptime"] = float(Path("/proc/uptime").read_text().split()[0])
    report["mounts"] = [
        path for path in ("/workspace", "/var/lib/openclaw") if os.path.ismount(path)
    ]
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


def poweroff(_request: dict[str, Any]) -> dict[str, Any]:
    """Begin an orderly shutdown."""
    subprocess.run(["systemctl", "--no-block", "poweroff"], stdin=subprocess.DEVNULL, check=True)
    return {}


OPS = {
    "status": status,
    "set-clock": set_clock,
    "journal": journal,
    "unit": unit,
    "environment": environment,
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
