"""vclaw init: write a commented vclaw.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

from vclaw import config, project_file
from vclaw.cli import run as run_verb
from vclaw.errors import UsageError

EXAMPLES = """\
examples:
  vclaw init                 vclaw.yaml in this folder
  vclaw init ~/my-project

Every setting is there and commented out, with what it is for. Then `vclaw run` in that folder
needs no flags; `vclaw config show` prints what counts.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw init`."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="the project (default: this folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file; one that is there stays as it is."""
    path: Path = config.workspace(args.folder) / project_file.FILE_NAME
    try:
        with path.open("x") as file:
            file.write(project_file.template(run_verb.settings()))
    except FileExistsError:
        raise UsageError(f"{path} is there already.", "Edit it, or remove it first.") from None
    except PermissionError:
        raise UsageError(f"{path} cannot be written.", "Give yourself the right to.") from None
    print(f"wrote {path}")
    return 0
