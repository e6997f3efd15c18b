"""The host's talk with OpenClaw's gateway: its probes, and the fence around a pause.

Calls go over HTTP to OpenClaw's `admin-http-rpc` plugin (docs/plugins/admin-http-rpc.md of the
openclaw package), which vclaw's configuration turns on. The gateway's WebSocket would not do:
it gives a client that comes from outside the guest's loopback no operator scope by the token
alone, and the fence needs `operator.admin`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

PROBES = {"/healthz": "ok", "/readyz": "ready"}
"""Path -> the member of the answer that is true when all is well."""

RPC_PATH = "/api/v1/admin/rpc"

ANSWER_BYTES_MAX = 4 * 2**20
"""An answer longer than this is none: the guest may send what it likes."""

POLL_SECONDS = 0.5
"""Between two looks at a fence that still waits for work to end."""


def probe(port: int, path: str, timeout: float = 2.0) -> bool:
    """Whether the gateway at 127.0.0.1:`port` says yes at `path`, `/healthz` or `/readyz`.

    Yes is status 200 with {"ok": true} or {"ready": true}. Whatever else comes, or nothing
    within `timeout` seconds, is no; nothing is raised. While a suspension is held `/readyz`
    says no.
    """
    wanted = PROBES.get(path, "")
    answer = _exchange(port, "GET", path, timeout)
    return answer is not None and answer[0] == 200 and answer[1].get(wanted) is True


def health(port: int, token: str, timeout: float = 10.0) -> dict[str, Any] | None:
    """The gateway's own account of its health (`ok`, `plugins`, `channels`, `agents` …).

    None where it does not answer in time, refuses the token or is suspended.
    """
    return _call(port, token, "health", {}, timeout)


def quiesce(port: int, token: str, timeout: float) -> str | None:
    """Close the gateway to new work and wait until the work under way has ended.

    Returns the suspension's id, for `release`. None where the gateway does not answer, refuses,
    or is not idle within `timeout` seconds; then it takes work as before. A suspension that is
    not released ends by itself after two minutes of the gateway's clock.
    """
    deadline = time.monotonic() + timeout
    # An open terminal outlives a pause, so it need not hold one up: the other policy,
    # "preserve", waits for it; neither closes it.
    request = {
        "requestId": f"vclaw-{os.urandom(8).hex()}",
        "terminalPolicy": "terminate",
        "drain": True,
    }
    answer = _call(port, token, "gateway.suspend.prepare", request, timeout)
    suspension_id = (answer or {}).get("suspensionId")
    if answer is None or not isinstance(suspension_id, str):
        return None
    while answer is not None and answer.get("status") == "draining":
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(POLL_SECONDS, left))
        answer = _call(
            port, token, "gateway.suspend.status", {"suspensionId": suspension_id}, max(left, 1.0)
        )
    if answer is not None and answer.get("status") == "ready":
        return suspension_id
    release(port, token, suspension_id, max(deadline - time.monotonic(), 1.0))
    return None


def release(port: int, token: str, suspension_id: str, timeout: float) -> bool:
    """Open the gateway to new work again; whether it said that it is open.

    True too where the suspension had ended by itself.
    """
    answer = _call(port, token, "gateway.suspend.resume", {"suspensionId": suspension_id}, timeout)
    return answer is not None and answer.get("ok") is True


def _call(
    port: int, token: str, method: str, params: dict[str, Any], timeout: float
) -> dict[str, Any] | None:
    """The payload of one call, None where it failed in whatever way."""
    body = json.dumps({"method": method, "params": params}).encode()
    answer = _exchange(port, "POST", RPC_PATH, timeout, token, body)
    if answer is None or answer[0] != 200 or answer[1].get("ok") is not True:
        return None
    payload = answer[1].get("payload")
    return payload if isinstance(payload, dict) else None


def _exchange(
    port: int, method: str, path: str, timeout: float, token: str = "", body: bytes | None = None
) -> tuple[int, dict[str, Any]] | None:
    """Status and JSON object of one request, None for any other outcome.

    `timeout` seconds are for the whole exchange: a socket's own timeout starts anew with every
    byte that a peer sends.
    """
    import http.client
    import threading

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Connection": "close"}
    if body is not None:
        headers |= {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.connect()
        alarm = threading.Timer(timeout, _hang_up, (connection.sock,))
        alarm.daemon = True
        alarm.start()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            value = json.loads(response.read(ANSWER_BYTES_MAX))
        finally:
            alarm.cancel()
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    return (response.status, value) if isinstance(value, dict) else None


def _hang_up(connected: socket.socket) -> None:
    import socket

    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
