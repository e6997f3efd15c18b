"""vclaw doit: doit's own command line over vclaw's pipeline."""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  vclaw doit list --all               every stage there is
  vclaw doit info ready:my-claw       what a stage needs and makes
  vclaw doit image:debian-12          run one stage and what it needs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """All words go to doit."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="…", help="words for doit")


def run(args: argparse.Namespace) -> int:
    """Hand the words to doit."""
    from vclaw import engine
    from vclaw.tasks import plain

    namespace = {"DOIT_CONFIG": plain.DOIT_CONFIG, "task_vclaw": plain.task_vclaw}
    return engine.command_line(namespace, args.words)
