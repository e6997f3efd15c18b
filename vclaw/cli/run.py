"""vclaw run: from nothing to a ready OpenClaw, with its address."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from vclaw import identity, openclaw
from vclaw.claws import launch
from vclaw.claws.prepare import Prepared
from vclaw.cli import output, project
from vclaw.config import READY_TIMEOUT_SECS
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.openclaw import WORKSPACE_DIR
from vclaw.progress import for_stderr
from vclaw.settings import Setting, from_parser

EXAMPLES = """\
examples:
  vclaw run                                         this folder, the default image
  vclaw run ubuntu:24.04 --workspace=. --publish 8080:80
  vclaw run debian:12 --name demo --cpus 4 --memory-mib 8192
  vclaw run --env ANTHROPIC_API_KEY --env-file .env  keys for OpenClaw's providers
  vclaw run --model ollama/qwen3:8b --model-base-url http://127.0.0.1:11434
  vclaw run --allow-host-port 5432                   a database on this host, for the guest
  vclaw run ./my-image.qcow2 --json                 for scripts

A folder has one claw unless --name says otherwise: run it again, and it is booted again or
found ready. What a stopped claw was given before holds until a flag changes it.

A vclaw.yaml in the workspace gives these flags too: `vclaw init` writes one.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw run`, in the order that its help shows."""
    parser.epilog = EXAMPLES
    _add_machine(parser.add_argument)
    _add_openclaw(parser.add_argument)
    _add_start(parser.add_argument)


def _add_machine(add: Callable[..., object]) -> None:
    """The virtual machine, and what of this host it has."""
    add("image", nargs="?", metavar="REF", help="ubuntu:24.04, debian:12, … or an image file")
    add("--name", metavar="CLAWID", help="the claw's name (default: made from the workspace's)")
    add("--workspace", metavar="DIR", help=f"mounted at {WORKSPACE_DIR} (default: this folder)")
    add("--port", metavar="PORT", help="host port of the gateway (default: 18789 or the next free)")
    add(
        "--publish",
        metavar="HOST:GUEST",
        action="append",
        help="let a host port of 127.0.0.1 lead to a port of the guest; repeatable",
    )
    add(
        "--network",
        metavar="MODE",
        help="what the guest reaches: internet, none, or open, which is all that this host does "
        "(default: internet)",
    )
    add(
        "--allow-host-port",
        metavar="PORT",
        action="append",
        help="let the guest's 10.0.2.2:PORT lead to this host's 127.0.0.1:PORT; repeatable",
    )
    add("--cpus", metavar="N", help="virtual processors (default: the host's, at most 4)")
    add("--memory-mib", metavar="MIB", help="the guest's memory (default: 4096, least: 2048)")
    add("--disk-gib", metavar="GIB", help="virtual size of the guest's disk (default: 20)")


def _add_openclaw(add: Callable[..., object]) -> None:
    """What runs in it."""
    add("--openclaw-version", metavar="V", help="an OpenClaw release, or latest (default: tested)")
    add("--env", metavar="KEY[=VALUE]", action="append", default=[], help="a variable for OpenClaw")
    add("--env-file", metavar="FILE", action="append", default=[], help="variables, one a line")
    add("--ca-cert", metavar="FILE", help="certificates (PEM) that OpenClaw shall trust as well")
    add("--model", metavar="PROVIDER/NAME", help="the model that the agent uses")
    add(
        "--model-base-url",
        metavar="URL",
        help="where an OpenAI-compatible server, or Ollama, has it; this host's own included",
    )
    add("--state", metavar="DIR", help="OpenClaw's state, kept outside the claw; rm leaves it")
    add(
        "--read-only-workspace",
        action=argparse.BooleanOptionalAction,
        help="do not let the guest write to the workspace",
    )


def _add_start(add: Callable[..., object]) -> None:
    """How it is begun, and how long that is waited for."""
    add(
        "--ready-timeout-secs",
        metavar="S",
        help=f"how long to wait for OpenClaw (default: {READY_TIMEOUT_SECS})",
    )
    add(
        "--no-template",
        action="store_true",
        help="boot the claw itself, with a disk of its own, instead of beginning from a booted "
        "guest that is kept (also VCLAW_TEMPLATE=no)",
    )
    add("--no-wait", action="store_true", help="return once the virtual machine runs")
    add("--json", action="store_true", help="print the result as JSON, with the token")


def run(args: argparse.Namespace) -> int:
    """Run the pipeline and print where OpenClaw is."""
    progress = for_stderr()
    home = Home.from_env()
    plan = project.look(home, args, settings())
    wait = not plan.said("no_wait", False)
    options = project.options_of(home, plan)
    try:
        with project.locating(plan):
            timeout = seconds(plan.said("ready_timeout_secs", str(READY_TIMEOUT_SECS)))
            claw = launch.launch(home, options, progress, wait=wait, timeout=timeout)
    except KeyboardInterrupt:
        progress.say("interrupted; `vclaw ps` shows what there is, `vclaw rm CLAWID` removes it")
        raise
    show(claw, ready=wait, json=args.json)
    return 0


def settings() -> dict[str, Setting]:
    """The flags of `run` as settings, which are the keys of vclaw.yaml too."""
    parser = argparse.ArgumentParser()
    configure(parser)
    return from_parser(parser)


def seconds(text: str) -> float:
    """--ready-timeout-secs as a number; raises UsageError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UsageError(f"--ready-timeout-secs is {text!r}.", "Give a number of seconds above 0.")
    return value


def show(claw: Prepared, *, ready: bool, json: bool) -> None:
    """Print a claw that is up: lines for a person, or one JSON object."""
    result = describe(claw, ready=ready, with_token=json or sys.stdout.isatty())
    if json:
        output.as_json(result)
        return
    for key, value in result.items():
        if key == "published":
            value = ", ".join(f"127.0.0.1:{p['host']} -> {p['guest']}" for p in value) or "none"
        if key != "token":
            print(f"{key}: {value}")


def describe(claw: Prepared, *, ready: bool, with_token: bool) -> dict[str, Any]:
    """What `run` and `start` say of a claw, in this order."""
    spec, paths = claw.spec, claw.paths
    token = identity.load(paths).token if with_token else ""
    result: dict[str, Any] = {
        "clawid": spec.name,
        "image": spec.image.name,
        "openclaw": spec.openclaw_version,
        "workspace": str(spec.workspace),
        "state": str(paths.state_of(spec)),
        "gateway": openclaw.url(spec.gateway_port, token),
        "published": [{"host": item.host, "guest": item.guest} for item in spec.publish],
        "serial_log": str(paths.serial_log),
        "status": "ready" if ready else "booting",
    }
    if token:
        result["token"] = token
    return result
