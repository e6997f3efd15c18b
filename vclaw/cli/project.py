"""What verbs share that look at a project's vclaw.yaml: find it, ask about it, merge it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vclaw import approvals, config, identity, project_file, variables
from vclaw.approvals import Reach, Variable
from vclaw.claws import record
from vclaw.cli import output
from vclaw.config import RunOptions
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.model import INTERNET, ClawSpec
from vclaw.project_file import FILE_NAME, ProjectFile
from vclaw.settings import Merged, Row, Setting, merge


@dataclass(frozen=True)
class Plan:
    """A run as flags and file want it; nothing of the file is used before it is approved."""

    file: ProjectFile | None
    variables: tuple[Variable, ...]  # the file's
    options: RunOptions  # without the file's variables
    merged: Merged  # of flags and file alone
    reach: Reach
    unapproved: tuple[str, ...]  # what the file asks for beyond what was approved

    def said(self, dest: str, default: Any) -> Any:
        """What flags or file say of a setting."""
        return self.merged.said.get(dest, default)


def look(home: Home, args: argparse.Namespace, settings: Mapping[str, Setting]) -> Plan:
    """Read the project's file and merge it with the flags; raises UsageError, asks nothing."""
    file = _find(home, args, settings)
    given = tuple(approvals.variables_of(file)) if file is not None else ()
    wanted = approvals.reach(file, given) if file is not None else frozenset()
    before = approvals.approved(home, file) if wanted and file is not None else frozenset()
    merged = merge(settings, vars(args), file, {}, {})
    said = dict(merged.said)
    if file is not None:
        # Said outright: a file cannot name a claw that belongs to another workspace.
        said.setdefault("workspace", str(file.folder))
    fields = RunOptions.__dataclass_fields__
    options = RunOptions(**{name: value for name, value in said.items() if name in fields})
    unapproved = tuple(approvals.need_approval(before, wanted))
    return Plan(file, given, options, merged, wanted, unapproved)


def rows(
    home: Home, plan: Plan, args: argparse.Namespace, settings: Mapping[str, Setting]
) -> tuple[Row, ...]:
    """Every setting with its value and source, the claw's own and the defaults included."""
    before = _before(home, config.claw_name(plan.options))
    defaults = _defaults(settings, plan.options)
    return merge(settings, vars(args), plan.file, before, defaults).rows


def options_of(home: Home, plan: Plan) -> RunOptions:
    """The options, once the file is approved: on a terminal the user is asked.

    Raises UsageError where it is not approved, and where a variable has no value.
    """
    if plan.file is None:
        return plan.options
    if plan.unapproved:
        _require_approval(home, plan.file, plan)
    env = dict(variables.resolve(item.where, item.text, os.environ) for item in plan.variables)
    return replace(plan.options, project_env=env)


def _require_approval(home: Home, file: ProjectFile, plan: Plan) -> None:
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{file.path} asks for what you have not approved yet:", file=sys.stderr)
        for line in plan.unapproved:
            print(f"  - {line}", file=sys.stderr)
        if output.confirm("Approve it?"):
            approvals.approve(home, file, plan.reach)
            return
    raise UsageError(
        f"{file.path} asks for what is not approved: {'; '.join(plan.unapproved)}.",
        f"Read it; `vclaw allow {shlex.quote(str(file.path))}` approves it.",
    )


@contextlib.contextmanager
def locating(plan: Plan) -> Iterator[None]:
    """Add the line of vclaw.yaml to a UsageError about what was said there."""
    try:
        yield
    except UsageError as error:
        raise _located(error, plan) from None


def _located(error: UsageError, plan: Plan) -> UsageError:
    if plan.file is None:
        return error
    for row in plan.merged.rows:
        texts = row.value if isinstance(row.value, list) else [str(row.value)]
        named = f"--{row.key} " in error.message or any(
            len(text) > 2 and text in error.message for text in texts
        )
        if named and row.source.startswith(plan.file.path.name):
            line = plan.file.lines[row.key]
            hint = f"{error.hint} ({plan.file.path}, line {line}, says so.)"
            return UsageError(error.message, hint)
    return error


def _find(
    home: Home, args: argparse.Namespace, settings: Mapping[str, Setting]
) -> ProjectFile | None:
    try:
        return project_file.read(_folder(home, args) / FILE_NAME, settings)
    except FileNotFoundError:
        return None


def _folder(home: Home, args: argparse.Namespace) -> Path:
    """The project's folder: --workspace, or that of the claw that --name names, or this one."""
    if args.workspace is None and args.name is not None:
        spec = _spec(home, args.name)
        if spec is not None:
            return spec.workspace
    return config.workspace(args.workspace)


def _spec(home: Home, name: str) -> ClawSpec | None:
    if config.NAME.fullmatch(name) is None or not home.claw(name).spec.exists():
        return None
    try:
        return record.load(home.claw(name))
    except VclawError:
        return None  # a broken claw is refused by whoever uses it


def _before(home: Home, name: str) -> dict[str, Any]:
    """What a claw was given before, dest -> value; empty where there is no such claw."""
    spec = _spec(home, name)
    if spec is None:
        return {}
    given: dict[str, Any] = {
        field: _text(getattr(spec, field)) for field in ClawSpec.__dataclass_fields__
    }
    given |= {"image": spec.image.name, "port": str(spec.gateway_port)}
    try:
        env = identity.load(home.claw(name)).env
    except (FileNotFoundError, VclawError):
        env = {}
    return given | {"env": [f"{key}=" for key in env]}


def _text(value: Any) -> Any:
    """A claw's value as a flag would give it; None where a flag would not be given."""
    if isinstance(value, tuple):
        return [str(item) for item in value] or None
    if isinstance(value, bool):
        return value or None
    return None if value is None or value == "" else str(value)


def _defaults(settings: Mapping[str, Setting], options: RunOptions) -> dict[str, Any]:
    """What holds where nobody says anything, for people to read."""
    from vclaw import runtime
    from vclaw.images import catalogue

    switches = {item.dest: False for item in settings.values() if item.kind == "switch"}
    return {
        **switches,
        "image": f"{catalogue.PREFERRED} or {catalogue.FALLBACK}",
        "name": config.claw_name(options),
        "workspace": str(config.workspace(options.workspace)),
        "port": "18789 or the next free one",
        "network": os.environ.get("VCLAW_NETWORK") or INTERNET,
        "cpus": str(min(config.CPUS_MOST, os.cpu_count() or 1)),
        "memory_mib": str(config.MEMORY_MIB),
        "disk_gib": str(config.DISK_GIB),
        "openclaw_version": runtime.DEFAULT_VERSION,
        "ca_cert": "the host's extra authorities",
        "ready_timeout_secs": str(config.READY_TIMEOUT_SECS),
    }
