"""vclaw allow: approve how far a project's vclaw.yaml reaches into the host."""

from __future__ import annotations

import argparse

from vclaw import approvals, project_file
from vclaw.cli import run as run_verb
from vclaw.errors import UsageError
from vclaw.home import Home
from vclaw.paths import absolute
from vclaw.project_file import FILE_NAME

EXAMPLES = """\
examples:
  vclaw allow                       ./vclaw.yaml as it is now
  vclaw allow ~/my-project/vclaw.yaml

The agent in the virtual machine can write this file, so `vclaw run` uses it without a question
only while it stays within the guest: name, ready-timeout-secs, no-wait; cpus, memory-mib and
disk-gib up to the defaults; an image that `vclaw image ls` shows; a workspace within the
project. All else (other folders and files, ports, variables, OpenClaw's version) is approved
once, and again when it asks for more. What it printed is what you approved.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw allow`."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", metavar="FILE", help=f"default: ./{FILE_NAME}")


def run(args: argparse.Namespace) -> int:
    """Read the file once, remember its reach, and say what that is."""
    path = absolute(args.file or FILE_NAME)
    if path.is_dir():
        path = path / FILE_NAME
    try:
        file = project_file.read(path, run_verb.settings())
    except FileNotFoundError:
        raise UsageError(f"There is no {path}.", "`vclaw init` writes one.") from None
    if file.path.name != FILE_NAME:
        raise UsageError(f"{path} is not a {FILE_NAME}.", f"Name a project's {FILE_NAME}.")
    wanted = approvals.reach(file, approvals.variables_of(file))
    home = Home.from_env()
    if not wanted:
        print(f"{file.path}: needs no approval")
        return 0
    new = set(approvals.need_approval(approvals.approved(home, file), wanted))
    approvals.approve(home, file, wanted)
    print(f"{file.path}: approved")
    for line in approvals.need_approval(frozenset(), wanted):
        print(f"  - {line}" + (" (new)" if line in new else ""))
    return 0
