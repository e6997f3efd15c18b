"""vclaw port: which ports of the host lead into a claw, changed while it runs."""

from __future__ import annotations

import argparse

from vclaw import ports
from vclaw.claws import record
from vclaw.cli import output
from vclaw.cli.parser import Help
from vclaw.home import Home

EXAMPLES = """\
examples:
  vclaw port add my-claw 9000:90          127.0.0.1:9000 leads to port 90 of the guest
  vclaw port add my-claw 9000:90 9001:91
  vclaw port rm my-claw 9000
  vclaw port ls my-claw

A running claw has them at once, and each claw keeps them for its next start, until a
`vclaw run --publish`, or a vclaw.yaml that publishes, names others. The server in the guest must
listen on the guest's network address (0.0.0.0), since on its loopback nothing arrives.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The words of `vclaw port`."""
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="port_verb", metavar="ACTION", required=True)
    add = verbs.add_parser("add", help="let ports of 127.0.0.1 lead into a claw")
    remove = verbs.add_parser("rm", help="close published ports")
    ls = verbs.add_parser("ls", help="list a claw's ports")
    for verb in (add, remove, ls):
        verb.formatter_class = Help
        verb.epilog = EXAMPLES
        verb.add_argument("clawid", metavar="CLAWID")
    add.add_argument("ports", nargs="+", metavar="HOST:GUEST")
    remove.add_argument("ports", nargs="+", metavar="HOST", help="the port on the host")
    ls.add_argument("--json", action="store_true", help="print a JSON array")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    paths = record.existing(Home.from_env(), args.clawid)
    if args.port_verb == "ls":
        from vclaw.claws.inspect import port_facts

        facts = port_facts(record.load(paths))
        if args.json:
            output.as_json(facts)
        else:
            rows = [(fact["use"], fact["host"], fact["guest"]) for fact in facts]
            output.columns(("USE", "HOST", "GUEST"), rows)
        return 0
    from vclaw.claws import forwards

    if args.port_verb == "add":
        wanted = [ports.forward(text, "port add") for text in args.ports]
        running = forwards.add(paths, wanted)
        lines = [f"127.0.0.1:{item.host} leads to its port {item.guest}" for item in wanted]
    else:
        hosts = [ports.number(text, "The port to remove") for text in args.ports]
        running = forwards.remove(paths, hosts)
        lines = [f"127.0.0.1:{host} is closed" for host in hosts]
    for line in lines:
        print(f"{args.clawid}: {line}" + ("" if running else " from its next start on"))
    return 0
