"""Stands in for QEMU: takes its command line, and opens what QEMU, guest and gateway would open.

It is a real process with real sockets: QMP on both monitors, the guest agent on its channel,
OpenClaw's probes and calls behind every port that is forwarded, whatever it leads to. Folder
FAKE_QEMU_DIR steers it: each start appends its pid to `starts`; a file `fail` makes it end at
once, `no-agent` silences the guest, `not-ready` makes /readyz say no, `deaf` lets it ignore every
wish to power off, `old-agent` is one that takes no variables, `booting` one that applied nothing.
The variables that the guest was told last are kept in the file `told`.

With `-incoming` it is a machine that waits for a saved guest's state; what it was given, the
devices' state and the digest of the memory's first MiB, is kept in the file `incoming`.
`load-ends` makes it end over that, `load-fails` say that it failed, and `not-introduced` its guest
give no answer to an introduction. Where no memory is named the state brings it along, as it was
saved by one of these: `held` makes the guest keep its folders, `save-fails` QEMU refuse.
Run with `python -S -E`, so that it starts within a moment.
"""

import contextlib
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

KNOBS = Path(os.environ["FAKE_QEMU_DIR"])
LIFE_SECONDS = 120
"""No test needs it longer; one that forgets it leaves nothing behind."""

vcpus = "running"

migration: dict[str, str] = {}
"""What `query-migrate` answers."""

somebody = True
"""Whether the guest knows who it is; a saved one that went on does not until it is told."""

memory = {"ram": os.urandom(8).hex(), "gateway": True, "mounts": []}
"""What the guest has in memory: saved, and loaded again."""

forwards: dict[int, tuple[int, http.server.ThreadingHTTPServer]] = {}
"""Host port -> (the guest's, what listens)."""


def on(knob: str) -> bool:
    return (KNOBS / knob).exists()


def value(words: list[str], start: str, key: str) -> str:
    """The value of `key` in the option that begins with `start`."""
    option = next(word for word in words if word.startswith(start))
    found = re.search(rf"{key}=((?:,,|[^,])*)", option)
    assert found is not None
    return found[1].replace(",,", ",")


def listen(path: str, talk) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            # As QEMU does: one client at a time, the next one waits. One that leaves with an answer
            # unread fails only when the stream is closed.
            with contextlib.suppress(OSError), connection, connection.makefile("wb") as stream:
                talk(stream, lines(connection))

    threading.Thread(target=accept, daemon=True).start()


def lines(connection):
    """Each line with the file descriptors that came along."""
    buffer, fds = b"", []
    while True:
        data, more, _, _ = socket.recv_fds(connection, 65536, 4)
        if not data:
            return
        fds += more
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            yield line, fds
            fds = []


def send(stream, answer) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


def human(line: str) -> str:
    """The answers of QEMU 7.2's human monitor, word by word."""
    words = line.split()
    if words[:2] == ["info", "usernet"]:
        head = (
            "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port"
        )
        rows = [
            f"  TCP[HOST_FORWARD]  {fd}       127.0.0.1 {host:5}"
            f"       10.0.2.15 {guest:5}     0     0"
            for fd, (host, (guest, _)) in enumerate(forwards.items(), 11)
        ]
        return "\r\n".join([f"{head} RecvQ SendQ", *rows, ""])
    rule = words[2]
    if words[0] == "hostfwd_remove":
        port = int(rule.rpartition(":")[2])
        if port not in forwards:
            return f"host forwarding rule for {rule} not found\r\n"
        server = forwards.pop(port)[1]
        server.shutdown()
        server.server_close()
        return f"host forwarding rule for {rule} removed\r\n"
    found = re.fullmatch(r"tcp:127\.0\.0\.1:(\d+)-:(\d+)", rule)
    assert words[:2] == ["hostfwd_add", "net"], line
    assert found is not None, line
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(found[1])), Gateway)
    except OSError:
        return f"Could not set up host forwarding rule '{rule}'\r\n"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    forwards[int(found[1])] = (int(found[2]), server)
    return ""


def save(fd: int) -> None:
    """Write the guest's state and memory to a descriptor that came over the monitor."""
    global vcpus
    if memory["mounts"] or on("save-fails"):
        migration.update({"status": "failed", "error-desc": "VirtFS export path is mounted"})
        return
    with open(fd, "wb") as target:
        target.write(json.dumps(memory).encode())
    migration["status"], vcpus = "completed", "postmigrate"


def load(uri: str) -> None:
    """Take a saved guest's state from a descriptor that this process inherited."""
    global vcpus, somebody
    assert vcpus == "inmigrate"
    if on("load-ends"):
        print("fake: the state is not mine", flush=True)
        os._exit(1)
    if on("load-fails"):
        migration.update({"status": "failed", "error-desc": "the state is not mine"})
        return
    with open(int(uri.removeprefix("fd:")), "rb", closefd=False) as file:
        state = file.read().decode()
    if any(word.startswith("memory-backend-file") for word in sys.argv):
        with Path(value(sys.argv, "memory-backend-file", "mem-path")).open("rb") as file:
            beginning = hashlib.sha256(file.read(2**20)).hexdigest()
        given = {"state": state, "memory": beginning}
        (KNOBS / "incoming").write_text(json.dumps(given))
    else:
        memory.update(json.loads(state))
        somebody = True
    migration["status"] = "completed"
    vcpus = "paused"


def monitor(stream, requests) -> None:
    global vcpus
    given = -1
    send(stream, {"QMP": {"version": {}, "capabilities": []}})
    for line, fds in requests:
        request = json.loads(line)
        command = request["execute"]
        vcpus = {"stop": "paused", "cont": "running"}.get(command, vcpus)
        answer = {"status": vcpus} if command == "query-status" else {}
        if command == "migrate-incoming":
            load(request["arguments"]["uri"])
        if command == "getfd":
            given = fds[0]
        if command == "migrate":
            save(given)
        if command == "query-migrate":
            answer = migration
        if command == "human-monitor-command":
            answer = human(request["arguments"]["command-line"])
        send(stream, {"event": "SOMETHING"})
        send(stream, {"return": answer})
        if command == "quit" or (command == "system_powerdown" and not on("deaf")):
            os._exit(0)


def apply(seed: Path) -> str:
    """Do what the seed says, and tell which it is: its files lie in it as they are."""
    generation = re.search(rb'"generation": "(\w+)"', seed.read_bytes())
    assert generation is not None
    memory.update(mounts=["/workspace", "/var/lib/openclaw"], gateway=True)
    return generation[1].decode()


def agent(seed: Path):
    report = {
        "applied": apply(seed),
        "steps": [{"name": "hostname", "start": 1.0, "end": 2.0}],
        "error": "",
    }
    if on("booting"):
        report["applied"] = ""
    if not on("old-agent"):
        report["ops"] = ["environment", "introduce", "regain", "release", "status"]
    applied = report["applied"]
    if not somebody:
        report["applied"] = "the template's"
    answers = {"status": report, "unit": {"ActiveState": "active"}, "journal": {"text": "a log"}}

    def release() -> list:
        if on("held"):
            return [{"pid": 77, "name": "sleep", "path": "/workspace/x"}]
        memory.update(mounts=[], gateway=False)
        report["applied"] = ""
        return []

    def talk(stream, requests) -> None:
        global somebody
        for line, _ in requests:
            request = json.loads(line)
            if on("no-agent") or vcpus != "running":
                continue
            if request["op"] == "introduce":
                if on("not-introduced"):
                    continue
                assert len(bytes.fromhex(request["entropy"])) >= 32
                assert abs(request["time"] - time.time()) < 60
                somebody, report["applied"] = True, applied
            if request["op"] == "release":
                answers["release"] = {"holders": release()}
            if request["op"] == "regain":
                report["applied"] = apply(seed)
            report.update(mounts=memory["mounts"], ram=memory["ram"])
            if request["op"] == "poweroff" and on("deaf"):
                continue
            if request["op"] == "environment":
                (KNOBS / "told").write_text(json.dumps(request["env"]))
                report["applied"] = request["generation"]
            send(stream, {"id": request["id"], "ok": True, **answers.get(request["op"], {})})
            if request["op"] == "poweroff":
                os._exit(0)

    return talk


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
        else:
            ready = not on("not-ready")
            self.answer(200 if ready else 503, {"ready": ready})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"ok": True, "payload": {"suspensionId": "s1", "status": "ready"}})

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if vcpus == "running" and somebody and memory["gateway"]:
            self.wfile.write(data)

    def log_message(self, *_words) -> None:
        pass


def main(words: list[str]) -> None:
    global somebody, vcpus
    signal.alarm(LIFE_SECONDS)
    if "-incoming" in words:
        somebody, vcpus = False, "inmigrate"
    with (KNOBS / "starts").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if on("fail"):
        print("fake: cannot start", flush=True)
        sys.exit(3)
    seed = Path(value(words, "if=none,id=seed", "file"))
    listen(value(words, "socket,id=agent", "path"), agent(seed))
    listen(value(words, "socket,id=qmp", "path"), monitor)
    listen(value(words, "socket,id=status", "path"), monitor)
    Path(value(words, "socket,id=console", "logfile")).write_text("fake: a guest's console\n")
    signal.pause()


main(sys.argv[1:])
