"""A loopback server with the layout of cloud-images.ubuntu.com and a throw-away signing key."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from vclaw.model import host_arch

RANGE = re.compile(r"bytes=(\d+)-")
CODENAMES = {"22.04": "jammy", "24.04": "noble", "26.04": "resolute"}


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    range: str | None


@dataclass
class Fault:
    """What goes wrong with the next request for a path."""

    status: int = 0  # answer with it, or 0: send the file ...
    cut: int = -1  # ... but break the connection after so many bytes
    ignore_range: bool = False  # ... or send all of it, whatever was asked for
    headers: dict[str, str] = field(default_factory=dict)


class Key:
    """An OpenPGP key made for a test."""

    def __init__(self, name: str = "Test <test@example.org>") -> None:
        import pysequoia

        self._secret = pysequoia.Tsk.generate(name, profile=pysequoia.Profile.RFC4880)
        self.public = str(self._secret.extract_certificate())
        self.fingerprint = self._secret.extract_certificate().fingerprint.upper()

    def sign(self, data: bytes, armor: bool = False) -> bytes:
        """A detached signature."""
        import pysequoia

        mode = pysequoia.SignatureMode.DETACHED
        signature = pysequoia.sign(self._secret.signer(), data, mode=mode, armor=armor)
        return bytes(signature)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A command that is killed hangs up; what it saw of the server is what a test asks."""


class ImageServer:
    """Serves what was published; a context manager that runs it in a thread."""

    def __init__(self, key: Key | None = None) -> None:
        self.key = key or Key()
        self.files: dict[str, bytes | Path] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[Request] = []
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join(10)
        self._http.server_close()

    @property
    def url(self) -> str:
        """The base address, as VCLAW_UBUNTU_URL wants it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def env(self, folder: Path) -> dict[str, str]:
        """The settings that lead vclaw here; the public key is written to `folder`."""
        keyring = folder / "server-key.asc"
        keyring.write_text(self.key.public)
        return {"VCLAW_UBUNTU_URL": self.url, "VCLAW_UBUNTU_KEYRING": str(keyring)}

    def publish(
        self,
        image: bytes | Path,
        version: str = "24.04",
        arch: str = "",
        serial: str = "",
        sums: bytes | None = None,
    ) -> str:
        """Publish an image, its SHA256SUMS and the signature; returns the image's path."""
        release = f"release-{serial}" if serial else "release"
        folder = f"/releases/{CODENAMES[version]}/{release}"
        name = f"ubuntu-{version}-server-cloudimg-{arch or host_arch()}.img"
        data = sums if sums is not None else f"{_sha256(image)} *{name}\n".encode()
        self.files[f"{folder}/{name}"] = image
        self.files[f"{folder}/SHA256SUMS"] = data
        self.files[f"{folder}/SHA256SUMS.gpg"] = self.key.sign(data)
        return f"{folder}/{name}"

    def fail(self, path: str, *faults: Fault) -> None:
        """Let the next requests for a path go wrong, one after the other."""
        self.faults.setdefault(path, []).extend(faults)

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of each GET of a path."""
        return [seen.range for seen in self.requests if (seen.method, seen.path) == ("GET", path)]

    def listing(self, folder: str) -> bytes | None:
        """A folder as Apache lists it; None where there is none."""
        below = {path[len(folder) :] for path in self.files if path.startswith(folder)}
        names = {name.split("/")[0] + ("/" if "/" in name else "") for name in below}
        links = "".join(f'<a href="{name}">{name}</a>\n' for name in sorted(names))
        return f"<html><body>{links}</body></html>".encode() if names else None


def qcow2(virtual_size: int = 2**20, payload: bytes = b"") -> bytes:
    """The header of a version 2 qcow2 image, then `payload`; enough to be known as one."""
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 0, 0, 16, virtual_size)
    return header.ljust(512, b"\0") + payload


def _sha256(image: bytes | Path) -> str:
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _handler(server: ImageServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """The tests read `requests` instead."""

        def _answer(self) -> None:
            asked = self.headers.get("Range")
            server.requests.append(Request(self.command, self.path, asked))
            waiting = server.faults.get(self.path)
            fault = waiting.pop(0) if waiting else Fault()
            content = server.files.get(self.path)
            if content is None and self.path.endswith("/"):
                content = server.listing(self.path)
            if fault.status or content is None:
                self._head(fault.status or 404, 0, fault.headers)
                return
            self._send(content, None if fault.ignore_range else asked, fault)

        def _send(self, content: bytes | Path, asked: str | None, fault: Fault) -> None:
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            match = RANGE.fullmatch(asked or "")
            start = int(match[1]) if match else 0
            if match and start >= size:
                self._head(416, 0, {"Content-Range": f"bytes */{size}"})
                return
            span = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if match else {}
            self._head(206 if match else 200, size - start, span)
            if self.command == "HEAD":
                return
            end = size if fault.cut < 0 else min(size, start + fault.cut)
            if isinstance(content, bytes):
                self.wfile.write(content[start:end])
            else:
                with content.open("rb") as file:
                    self.connection.sendfile(file, start, end - start)
            if end < size:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.flush()

    return Handler
