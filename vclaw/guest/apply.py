"""Makes the guest what the seed's guest.json says, at every boot; every step may be repeated.

Runs as root from the seed disk, on the guest's own Python (3.9 or later) with the standard
library alone. Each step and its times (seconds of uptime) go to /run/vclaw/report.json, which
agent.py hands to the host.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

SEED = Path("/run/vclaw/seed/vclaw")
RUN = Path("/run/vclaw")
REPORT = RUN / "report.json"
RUNTIME = Path("/opt/openclaw")
STATE = Path("/var/lib/openclaw")
CACHE = Path("/var/cache/openclaw")
WARM = Path("/run/vclaw-warm")
LAID = Path("/etc/vclaw/openclaw.json")
TWIN = Path("/etc/vclaw/machine-id")
MACHINE_ID = Path("/etc/machine-id")
RANDOM_SEED = Path("/var/lib/systemd/random-seed")
USER = "claw"
GATEWAY = "openclaw.service"
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> int:
    guest = json.loads((SEED / "guest.json").read_text())
    report: dict[str, Any] = {"applied": "", "steps": [], "error": ""}
    RUN.mkdir(mode=0o755, exist_ok=True)
    for step in TEMPLATE_STEPS if guest.get("template") else STEPS:
        started = uptime()
        try:
            step(guest)
        except Exception as error:
            report["error"] = f"{step.__name__}: {describe(error)}"
            save(report)
            print(f"vclaw: step {step.__name__} failed: {describe(error)}", flush=True)
            return 1
        report["steps"].append({"name": step.__name__, "start": started, "end": uptime()})
        save(report)
        print(f"vclaw: {step.__name__} done at {uptime():.1f} s", flush=True)
    report["applied"] = guest["generation"]
    save(report)
    return 0


def channel(_guest: dict[str, Any]) -> None:
    """Units first: the agent tells the host of all that follows."""
    units = Path("/run/systemd/system")
    units.mkdir(parents=True, exist_ok=True)
    stale = False
    for unit in SEED.glob("*.service"):
        there, before = units / unit.name, text_of(units / unit.name)
        if unit.name != "vclaw-seed.service" and before != unit.read_text():
            shutil.copyfile(unit, there)
            stale = stale or before is not None
    if stale:  # two seconds of an emulated guest, and a new unit is found without
        call("systemctl", "daemon-reload")
    call("systemctl", "start", "--no-block", "vclaw-agent.service")


def hostname(guest: dict[str, Any]) -> None:
    name = guest["hostname"]
    write(Path("/etc/hostname"), name + "\n")
    write(
        Path("/etc/hosts"), f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost\n"
    )
    socket.sethostname(name)


def twin(guest: dict[str, Any]) -> None:
    """A guest whose disk, or all of it, is another's gets a machine-id of its own, once."""
    wanted = guest.get("machine_id")
    if wanted and text_of(TWIN) != wanted:
        RANDOM_SEED.unlink(missing_ok=True)
        write(MACHINE_ID, wanted + "\n", 0o444)
        call("systemctl", "restart", "systemd-journald.service")  # it keeps its files by that id
        write(TWIN, wanted)


def user(guest: dict[str, Any]) -> None:
    """The service's user has the uid of the workspace's owner: files agree on both sides."""
    uid, gid = guest["uid"], guest["gid"]
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        call("groupadd", "--non-unique", "--gid", str(gid), USER)
        call(
            "useradd", "--non-unique", "--uid", str(uid), "--gid", USER, "--create-home",
            "--shell", "/bin/bash", USER,
        )  # fmt: skip
    else:
        if (entry.pw_uid, entry.pw_gid) != (uid, gid):
            call("groupmod", "--non-unique", "--gid", str(gid), USER)
            call("usermod", "--non-unique", "--uid", str(uid), USER)
            # usermod hands over the home's files, and leaves their group.
            call("chgrp", "--recursive", "--no-dereference", USER, entry.pw_dir)
    write(Path("/etc/sudoers.d/vclaw"), USER + " ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def ssh(guest: dict[str, Any]) -> None:
    """One ed25519 host key, known to the host, and the claw's own key as the only way in."""
    keys = Path("/etc/ssh")
    for old in keys.glob("ssh_host_*"):
        if not old.name.startswith("ssh_host_ed25519_key"):
            old.unlink()
    write(keys / "ssh_host_ed25519_key", guest["ssh"]["host_private"], 0o600)
    write(keys / "ssh_host_ed25519_key.pub", guest["ssh"]["host_public"])
    write(
        keys / "sshd_config.d/00-vclaw.conf",
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nAuthorizedKeysFile /etc/vclaw/authorized_keys\n"
        "UseDNS no\nMaxSessions 100\n",
    )
    write(Path("/etc/vclaw/authorized_keys"), guest["ssh"]["authorized"])
    # Without a host key sshd failed until now, maybe so often that systemd gave it up.
    call("systemctl", "reset-failed", "ssh.service")
    # Waited for: whoever is told that the settings are applied may log in.
    call("systemctl", "restart", "ssh.service")


def runtime(_guest: dict[str, Any]) -> None:
    """The disk with node and OpenClaw."""
    for module in ("9pnet_virtio", "9p", "squashfs"):
        subprocess.run(["modprobe", module], stdin=subprocess.DEVNULL)
    mount("/dev/disk/by-id/virtio-runtime", RUNTIME, "squashfs", "ro")
    for name in ("openclaw", "node", "npm", "npx"):
        link = Path("/usr/local/bin") / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(RUNTIME / "bin" / name)


def warm(guest: dict[str, Any]) -> None:
    """What a gateway's start reads, into memory: a template's clones find it there."""
    WARM.mkdir(mode=0o700, exist_ok=True)
    os.chown(WARM, guest["uid"], guest["gid"])
    call("/usr/bin/env", "VCLAW_WARM=1", "/bin/sh", str(SEED / "warm.sh"))


def mounts(guest: dict[str, Any]) -> None:
    """The workspace and OpenClaw's state."""
    for share in guest["shares"]:
        options = "trans=virtio,version=9p2000.L,msize=262144,cache=mmap"
        mount(
            share["tag"], Path(share["path"]), "9p", options + (",ro" if share["readonly"] else "")
        )


def certificates(guest: dict[str, Any]) -> None:
    """A bundle of the system's certificates and the host's extra ones, where there are any."""
    extra = guest["ca"]
    if extra:
        system = SYSTEM_BUNDLE.read_text() if SYSTEM_BUNDLE.exists() else ""
        write(Path("/etc/vclaw/ca-extra.pem"), extra)
        write(Path("/etc/vclaw/ca-bundle.pem"), system + "\n" + extra)


def configuration(guest: dict[str, Any]) -> None:
    """vclaw's settings over what openclaw.json holds already: what the user set there stays."""
    path = STATE / "openclaw.json"
    old = read_config(path)
    laid = read_config(LAID)
    new = merge(without_providers(old, laid, guest["openclaw"]), guest["openclaw"])
    control = new["gateway"]["controlUi"]
    before = old.get("gateway", {}).get("controlUi", {}).get("allowedOrigins", [])
    control["allowedOrigins"] += [o for o in before if o not in control["allowedOrigins"]]
    owner = (guest["uid"], guest["gid"])
    if new != old:
        write(path, json.dumps(new, indent=2) + "\n", 0o600)
        os.chown(path, *owner)
    write(LAID, json.dumps(guest["openclaw"]), 0o600)
    # Nothing else is made in the state folder: OpenClaw takes one that holds its configuration
    # alone for a new install, which has nothing to migrate.
    for folder in (CACHE, WARM):
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, *owner)


def compile_cache(guest: dict[str, Any]) -> None:
    """The runtime disk's compiled code under node's compile cache, where new code goes on top.

    Without it (an old disk, a kernel without overlayfs) a start compiles for itself.
    """
    subprocess.run(["modprobe", "overlay"], stdin=subprocess.DEVNULL)
    for lower in (RUNTIME / "compile-cache").glob("*"):
        name = f"{lower.name}-{guest['uid']}"  # node's own name for the user's folder
        upper, work, target = (CACHE / part / name for part in ("own", "work", "compile"))
        for folder in (upper, work, target, target.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chown(folder, guest["uid"], guest["gid"])
        try:
            mount("overlay", target, "overlay", f"lowerdir={lower},upperdir={upper},workdir={work}")
        except subprocess.CalledProcessError as error:
            print(f"vclaw: no compiled code from the runtime disk: {describe(error)}", flush=True)


def environment(guest: dict[str, Any]) -> None:
    variables = {
        "HOME": "/home/" + USER,
        "PATH": "/opt/openclaw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "OPENCLAW_CONFIG_PATH": str(STATE / "openclaw.json"),
        "OPENCLAW_STATE_DIR": str(STATE),
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "NODE_COMPILE_CACHE": str(CACHE / "compile"),
        # Without it the launcher, seeing a compile cache, starts node a second time.
        "OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED": "1",
        "VCLAW_WARM": "1" if guest["emulated"] else "0",
    }
    if guest["emulated"]:
        variables["NODE_OPTIONS"] = f"--require={SEED}/patience.cjs"
    if guest["ca"]:
        variables["NODE_EXTRA_CA_CERTS"] = "/etc/vclaw/ca-extra.pem"
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE"):
            variables[name] = "/etc/vclaw/ca-bundle.pem"
    variables.update(guest["placeholders"])
    variables.update(guest["env"])
    variables["OPENCLAW_GATEWAY_TOKEN"] = guest["token"]
    lines = [f"{name}={quote(value)}\n" for name, value in variables.items()]
    write(RUN / "openclaw.env", "".join(lines), 0o600)


def gateway(_guest: dict[str, Any]) -> None:
    call("systemctl", "start", "--no-block", GATEWAY)


STEPS = (
    channel, hostname, twin, user, runtime, mounts, certificates, configuration,
    compile_cache, environment, gateway, ssh,
)  # fmt: skip
TEMPLATE_STEPS = (channel, user, runtime, warm)
"""Of a guest that is kept as a template: nothing of any claw's."""


def renew(env: dict[str, str], generation: str) -> None:
    """Give the gateway other variables of the user's and start it anew, without a boot.

    `generation` is that of the host's guest.json, which differs from the seed's in `env` alone.
    """
    report = json.loads(REPORT.read_text())
    if not report["applied"]:
        raise RuntimeError("the settings of this boot are not applied yet")
    guest = json.loads((SEED / "guest.json").read_text())
    environment({**guest, "env": env})
    # A start that is asked for counts like one after a failure, and ten are all there are. A unit
    # that systemd has forgotten has no count, and then this fails.
    subprocess.run(["systemctl", "reset-failed", GATEWAY], stdin=subprocess.DEVNULL)
    # Until it is gone: the host must not take the old one's answers for the new one's.
    call("systemctl", "stop", GATEWAY)
    gateway(guest)
    save({**report, "applied": generation})


def read_config(path: Path) -> dict[str, Any]:
    """openclaw.json as a dict; JSON5 (comments, bare keys) is read by OpenClaw's own parser."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    try:
        return dict(json.loads(text))
    except ValueError:
        script = (
            "process.stdout.write(JSON.stringify("
            "require('json5').parse(require('fs').readFileSync(0,'utf8'))))"
        )
        done = subprocess.run(
            [str(RUNTIME / "bin/node"), "-e", script],
            input=text.encode(),
            capture_output=True,
            cwd=str(RUNTIME / "lib/openclaw/node_modules/openclaw"),
            check=True,
        )
        return dict(json.loads(done.stdout))


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid upon `base`, objects key by key, lists by their items' ids, the rest replaced."""
    result = dict(base)
    for key, value in over.items():
        before: Any = result.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            result[key] = merge(before, value)
        elif have_ids(value) and have_ids(before):
            items = {item["id"]: item for item in before}
            items.update({item["id"]: merge(items.get(item["id"], {}), item) for item in value})
            result[key] = list(items.values())
        else:
            result[key] = json.loads(json.dumps(value))
    return result


def have_ids(value: Any) -> bool:
    """Whether this is a list of objects that are told apart by an id, such as models."""
    return isinstance(value, list) and all(isinstance(v, dict) and "id" in v for v in value)


def without_providers(
    config: dict[str, Any], laid: dict[str, Any], now: dict[str, Any]
) -> dict[str, Any]:
    """`config` without the model servers that vclaw laid there before and does not lay now.

    Such a server refers to a key that may not be there any more: the gateway would not start.
    """
    there, wanted = providers(config), providers(now)
    stale = {
        name
        for name, given in providers(laid).items()
        if name in there and name not in wanted and there[name]["baseUrl"] == given["baseUrl"]
    }
    if not stale:
        return config
    all_of_them = config["models"]["providers"]
    kept = {name: given for name, given in all_of_them.items() if name not in stale}
    return {**config, "models": {**config["models"], "providers": kept}}


def providers(config: dict[str, Any]) -> dict[str, Any]:
    """The model servers that a configuration names, those without an address left out."""
    found = (config.get("models") or {}).get("providers") or {}
    return {name: given for name, given in found.items() if given and given.get("baseUrl")}


def mount(source: str, target: Path, kind: str, options: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(str(target)):
        call("mount", "-t", kind, "-o", options, source, str(target))


def quote(value: str) -> str:
    """A value as systemd's EnvironmentFile reads it: in double quotes, four characters escaped."""
    for character in '\\"$`':
        value = value.replace(character, "\\" + character)
    return '"' + value + '"'


def text_of(path: Path) -> str | None:
    """What a file holds, None where there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write beside and rename: a reader or a power cut sees no half file.

    One that is so already is left: a guest boots with a full disk too, to be cleared up.
    """
    path = Path(path)
    if holds(path, text.encode(), mode):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".vclaw-new")
    fd = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, mode)
        file.write(text)
    temporary.replace(path)


def holds(path: Path, data: bytes, mode: int) -> bool:
    """Whether a file is there with this content and mode."""
    try:
        return path.read_bytes() == data and stat.S_IMODE(path.lstat().st_mode) == mode
    except OSError:
        return False


def save(report: dict[str, Any]) -> None:
    write(REPORT, json.dumps(report))


def call(*argv: str) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, capture_output=True)


def describe(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd)}: {error.stderr.decode(errors='replace').strip()}"
    return f"{type(error).__name__}: {error}"


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


if __name__ == "__main__":
    sys.exit(main())
