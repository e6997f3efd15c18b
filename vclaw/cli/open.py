"""vclaw open: the address of a claw's Control UI, with the token that signs in."""

from __future__ import annotations

import argparse
import html
import json

from vclaw import fsutil, identity, openclaw
from vclaw.claws import access
from vclaw.cli import output
from vclaw.errors import VclawError
from vclaw.home import Home

EXAMPLES = """\
The address holds the token: who has it works with your claw. With --browser it is opened by way
of a page that only you can read, so that no process has the token on its command line. A browser
that is packed as a snap may not read that page; open the printed address then.

examples:
  vclaw open my-claw --browser
  vclaw open my-claw --json | jq -r .url
"""

PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>OpenClaw</title>
<script>location.replace({script})</script>
<p><a href="{link}">Open OpenClaw</a></p>
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw open`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("--browser", action="store_true", help="open it in your browser")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the address; open it where that was asked for."""
    paths, spec = access.running(Home.from_env(), args.clawid)
    token = identity.load(paths).token
    url = openclaw.url(spec.gateway_port, token)
    if args.json:
        gateway = openclaw.url(spec.gateway_port)
        output.as_json({"clawid": spec.name, "gateway": gateway, "url": url, "token": token})
    else:
        print(url)
    if args.browser:
        import webbrowser

        fsutil.write_atomic(paths.browser_page, page(url).encode(), 0o600)
        if not webbrowser.open(paths.browser_page.as_uri()):
            raise VclawError("No browser could be started.", "Open the printed address yourself.")
    return 0


def page(url: str) -> str:
    """A page that leads to `url` at once, and leaves no entry of its own in the history."""
    script = json.dumps(url).replace("<", "\\u003c")
    return PAGE.format(script=script, link=html.escape(url))
