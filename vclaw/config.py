"""From what the user asked for to a ClawSpec: every value checked once, here."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vclaw import llm, ports, variables
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.model import GATEWAY_GUEST_PORT, INTERNET, NETWORKS, ClawSpec, ImageRef, PortForward
from vclaw.paths import check_socket_length

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""A CLAWID is the guest's hostname (RFC 1123), a folder, and part of a task's name."""

MEMORY_MIB = 4096
MEMORY_LEAST_MIB = 2048
DISK_GIB = 20
CPUS_MOST = 4
"""By default; OpenClaw seldom uses more."""

READY_TIMEOUT_SECS = 900
"""How long a run waits for OpenClaw by default; an emulated guest needs several minutes."""


@dataclass(frozen=True)
class RunOptions:
    """What `vclaw run` was given; None means that nothing was said."""

    image: str | None = None
    name: str | None = None
    workspace: str | None = None
    port: str | None = None
    publish: Sequence[str] | None = None
    cpus: str | None = None
    memory_mib: str | None = None
    disk_gib: str | None = None
    openclaw_version: str | None = None
    network: str | None = None
    allow_host_port: Sequence[str] | None = None
    env: Sequence[str] = ()
    env_file: Sequence[str] = ()
    ca_cert: str | None = None
    model: str | None = None
    model_base_url: str | None = None
    state: str | None = None
    read_only_workspace: bool | None = None
    no_template: bool | None = None
    project_env: Mapping[str, str] = field(default_factory=dict)  # vclaw.yaml's; flags win
    may_make: bool = True  # the claw, where it is not there


def again(spec: ClawSpec) -> RunOptions:
    """What starts a claw as it was asked for before, and makes no other one of that name."""
    return RunOptions(name=spec.name, workspace=str(spec.workspace), may_make=False)


@dataclass(frozen=True)
class Chooser:
    """The questions whose answers take time, asked only where they matter."""

    image: Callable[[str | None], ImageRef]
    openclaw: Callable[[str | None], str]


def claw_name(options: RunOptions) -> str:
    """The CLAWID: --name, or one that belongs to the workspace, the same at every call."""
    if options.name is not None:
        if NAME.fullmatch(options.name) is None:
            raise UsageError(
                f"The name {options.name!r} cannot be used.",
                "A --name has at most 40 characters: a-z, 0-9 and inner hyphens.",
            )
        return options.name
    folder = workspace(options.workspace)
    word = re.sub(r"[^a-z0-9]+", "-", folder.name.lower())[:24].strip("-") or "claw"
    return f"{word}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:4]}"


def decide(
    options: RunOptions,
    home: Home,
    chooser: Chooser,
    existing: ClawSpec | None,
    others: Sequence[ClawSpec],
    say: Callable[[str], None],
    *,
    running: bool = False,
) -> ClawSpec:
    """The claw that is asked for.

    `existing` is the claw's own spec where there is one, whose values hold where nothing was
    said; ports that `others` remember are not chosen. A claw that is `running` holds its ports
    itself. Raises UsageError; makes nothing.
    """
    name = claw_name(options)
    check_socket_length(home.claw(name))
    folder = (
        workspace(options.workspace) if options.workspace or not existing else existing.workspace
    )
    check_outside(folder, home)
    base = _sized(existing or _fresh(name, folder), options)
    spec = replace(_given(base, options, folder, home, say), workspace=folder)
    if existing is not None and running:
        spec = _same_ports(spec, existing, options.port)
    else:
        spec = choose_ports(spec, options.port, others, say)
    check_allowed(spec)
    spec = replace(
        spec,
        image=chooser.image(options.image) if options.image or not existing else existing.image,
        openclaw_version=chooser.openclaw(options.openclaw_version)
        if options.openclaw_version or not existing
        else existing.openclaw_version,
    )
    if existing is not None:
        check_same(existing, spec)
    return spec


def _network(text: str | None, base: ClawSpec) -> str:
    if text is not None and text not in NETWORKS:
        raise UsageError(f"--network is {text!r}.", f"Say one of {', '.join(NETWORKS)}.")
    return text or base.network


def _usual_network(env: Mapping[str, str]) -> str:
    """What a claw of which nothing was said may reach."""
    name = env.get("VCLAW_NETWORK") or INTERNET
    if name not in NETWORKS:
        raise UsageError(f"VCLAW_NETWORK is {name!r}.", f"Say one of {', '.join(NETWORKS)}.")
    return name


def _usual_template(env: Mapping[str, str]) -> bool:
    """Whether a claw of which nothing was said begins from a template."""
    word = env.get("VCLAW_TEMPLATE") or "yes"
    if word not in ("yes", "no"):
        raise UsageError(f"VCLAW_TEMPLATE is {word!r}.", "Say yes or no.")
    return word == "yes"


def _host_ports(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ports.number(text, "--allow-host-port") for text in texts))


def check_allowed(spec: ClawSpec) -> None:
    """Raise UsageError where a port of the host is to lead into the claw and out of it."""
    for forward in spec.forwards:
        if forward.host in spec.host_ports:
            raise UsageError(
                f"The guest is to reach port {forward.host} of the host, which is the claw's own.",
                "Name the port of another program, or give the claw another port.",
            )


def _fresh(name: str, folder: Path) -> ClawSpec:
    """A claw of which nothing was said; ports, image and version are chosen later."""
    return ClawSpec(
        name=name,
        image=ImageRef("", "", ""),
        openclaw_version="",
        workspace=folder,
        cpus=min(CPUS_MOST, os.cpu_count() or 1),
        memory_mib=MEMORY_MIB,
        disk_gib=DISK_GIB,
        gateway_port=0,
        ssh_port=0,
        network=_usual_network(os.environ),
        template=_usual_template(os.environ),
    )


def _sized(base: ClawSpec, options: RunOptions) -> ClawSpec:
    """`base` with the processors, memory, disk, ports and network that are asked for."""
    allowed = base.allow_host_port
    if options.allow_host_port is not None:
        allowed = _host_ports(options.allow_host_port)
    publish = base.publish
    if options.publish is not None:
        publish = tuple(ports.forward(text) for text in options.publish)
    return replace(
        base,
        cpus=_cpus(options.cpus, base.cpus),
        memory_mib=_memory(options.memory_mib, base.memory_mib),
        disk_gib=_count(options.disk_gib, "--disk-gib", 1, base.disk_gib),
        publish=publish,
        network=_network(options.network, base),
        allow_host_port=allowed,
    )


def _given(
    base: ClawSpec, options: RunOptions, folder: Path, home: Home, say: Callable[[str], None]
) -> ClawSpec:
    """`base` with the model, the state folder and the kind of workspace that are asked for.

    Where the guest needs another base URL than the user's, it is said.
    """
    before = base.model, base.model_base_url
    model, url = llm.choose(options.model, options.model_base_url, before)
    if options.model_base_url is not None and llm.guest_url(url) != url:
        say(f"the model server at {url} is {llm.guest_url(url)} to the guest")
    read_only = options.read_only_workspace
    return replace(
        base,
        model=model,
        model_base_url=url,
        state=base.state if options.state is None else state(options.state, folder, home),
        read_only_workspace=base.read_only_workspace if read_only is None else read_only,
        template=base.template and not options.no_template,
    )


def _same_ports(spec: ClawSpec, existing: ClawSpec, port: str | None) -> ClawSpec:
    """The ports that a running claw has, where they are all that is asked for.

    One that `vclaw port` added is not taken away by the words that started the claw.
    """
    wanted = spec.gateway_port if port is None else ports.number(port, "--port")
    have_all = set(spec.publish) <= set(existing.publish)
    publish = existing.publish if have_all else spec.publish
    return replace(spec, gateway_port=wanted, publish=publish)


def choose_ports(
    spec: ClawSpec, port: str | None, others: Sequence[ClawSpec], say: Callable[[str], None]
) -> ClawSpec:
    """The spec with ports that are free now: asked for ones as they are, others chosen."""
    taken = {forward.host for other in others for forward in other.forwards}
    taken |= set(spec.host_ports)
    wanted = ports.number(port, "--port") if port is not None else spec.gateway_port
    fixed = port is not None or spec.port_fixed
    published = {forward.host for forward in spec.publish}
    if fixed:
        ports.check_distinct([PortForward(wanted, GATEWAY_GUEST_PORT), *spec.publish])
        ports.require_free(wanted)
        gateway = wanted
    else:
        wanted = wanted or GATEWAY_GUEST_PORT
        gateway = ports.next_free(wanted, taken | published)
        if gateway != wanted:
            say(f"port {wanted} is taken; the gateway gets port {gateway}")
    ports.check_distinct(spec.publish)
    for forward in spec.publish:
        ports.require_free(forward.host)
    used = taken | published | {gateway}
    ssh = spec.ssh_port
    if ssh in used or ssh == 0 or not ports.is_free(ssh):
        ssh = ports.any_free(used)
    return replace(spec, gateway_port=gateway, ssh_port=ssh, port_fixed=fixed)


def check_same(existing: ClawSpec, wanted: ClawSpec) -> None:
    """Raise UsageError where a claw of this name is there with what cannot be changed."""
    for what, old, new in (
        ("image", existing.image.name, wanted.image.name),
        ("workspace", existing.workspace, wanted.workspace),
        ("state folder", existing.state or "its own", wanted.state or "its own"),
        ("OpenClaw version", existing.openclaw_version, wanted.openclaw_version),
        ("disk size", existing.disk_gib, wanted.disk_gib),
        ("disk", _kind_of_disk(existing), _kind_of_disk(wanted)),
    ):
        if old != new:
            raise UsageError(
                f"There is a claw {existing.name} already, and its {what} is {old}, not {new}.",
                f"Choose another --name, or remove that claw: vclaw rm {existing.name}",
            )


def _kind_of_disk(spec: ClawSpec) -> str:
    return "one over a template's" if spec.template else "one of its own"


def workspace(text: str | None) -> Path:
    """The project's folder as an absolute path; raises UsageError where it cannot be shared."""
    try:
        path = Path(text if text is not None else ".").expanduser().resolve(strict=True)
        is_folder = path.is_dir()
    except FileNotFoundError:
        raise UsageError(
            f"The workspace {text} does not exist.", "Name a folder that exists."
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: an unknown user's ~, a ring of links; ValueError: what no name can hold
        raise UsageError(
            f"The workspace {text} cannot be used: {error}.", "Name a folder that exists."
        ) from None
    if not is_folder:
        raise UsageError(f"The workspace {path} is not a folder.", "Name the project's folder.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"The workspace {path} cannot be read.", "Give yourself the right to.")
    return path


def state(text: str, workspace: Path, home: Home) -> Path:
    """OpenClaw's state folder outside the claw, as an absolute path; it need not exist yet.

    Raises UsageError where it cannot be one: the guest writes it, and it holds what the agent
    must not meet in its workspace.
    """
    try:
        path = Path(text).expanduser().resolve()
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        usable = there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"The state folder {text} cannot be used: {error}.", "Name another folder."
        ) from None
    if not (text and there.is_dir()):
        raise UsageError(
            f"The state folder {text!r} is not a folder, or lies in none.", "Name a folder."
        )
    if not usable:
        raise UsageError(
            f"The state folder {path} cannot be used: {there} is not yours to read and write.",
            "Give yourself the right to, or name another folder.",
        )
    check_outside(path, home, "state folder")
    if overlap(path, workspace):
        raise UsageError(
            f"The state folder {path} and the workspace {workspace} lie within each other.",
            "Keep OpenClaw's state outside of the project.",
        )
    return path


def overlap(one: Path, other: Path) -> bool:
    """Whether two folders are the same, or one lies in the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def check_outside(folder: Path, home: Home, what: str = "workspace") -> None:
    """Raise UsageError where guest and vclaw would write the same files: that opens the wall."""
    for own in (home.data.resolve(), home.cache.resolve()):
        if overlap(folder, own):
            raise UsageError(
                f"The {what} {folder} and vclaw's own folder {own} lie within each other.",
                "Name another folder, or set VCLAW_HOME to a folder outside of it.",
            )


def environment(options: RunOptions, host: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The guest's variables: the project's, --env-file's, --env's; raises UsageError."""
    found = {**options.project_env, **variables.of_files(options.env_file, host)}
    found.update(variables.resolve("--env", text, host) for text in options.env)
    return found


def _count(text: str | None, flag: str, least: int, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) < 2**31):
        raise UsageError(
            f"{flag} is {text!r}.", f"Give a whole number from {least} upwards, without a unit."
        )
    return int(text)


def _cpus(text: str | None, default: int) -> int:
    count = _count(text, "--cpus", 1, default)
    host = os.cpu_count() or 1
    if text is not None and count > host:
        raise UsageError(
            f"--cpus is {count}, and this host has {host}.", f"Give a number from 1 to {host}."
        )
    return min(count, host)


def _memory(text: str | None, default: int) -> int:
    size = _count(text, "--memory-mib", 1, default)
    if size < MEMORY_LEAST_MIB:
        raise UsageError(
            f"--memory-mib is {size}: the guest's system takes about 300 MiB, and OpenClaw 700 MiB "
            "at rest and up to 1100 MiB at work.",
            f"Give at least {MEMORY_LEAST_MIB}.",
        )
    return size
