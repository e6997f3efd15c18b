"""vclaw agent: one turn of OpenClaw's agent."""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import Any

from vclaw import ssh
from vclaw.claws import access
from vclaw.cli import output
from vclaw.cli.openclaw import LAUNCHER
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home

EXAMPLES = """\
The agent works in /workspace; its turns are one conversation.

examples:
  vclaw agent my-claw "Write a README for this project"
  vclaw agent my-claw "What is 6 times 7?" --json | jq -r '.result.payloads[].text'
"""

LIMIT_SECONDS = 600
"""What OpenClaw gives a turn by itself."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw agent`."""
    parser.epilog = EXAMPLES
    parser.add_argument("clawid", metavar="CLAWID")
    parser.add_argument("message", metavar="MESSAGE")
    parser.add_argument(
        "--timeout-secs", metavar="S", help=f"how long the turn may take (default: {LIMIT_SECONDS})"
    )
    parser.add_argument("--json", action="store_true", help="print OpenClaw's whole answer")


def run(args: argparse.Namespace) -> int:
    """Run the turn; print what the agent answered."""
    if not args.message.strip():
        raise UsageError("The message is empty.", 'vclaw agent CLAWID "MESSAGE"')
    paths, spec = access.running(Home.from_env(), args.clawid)
    words = [*LAUNCHER, "agent", "--agent", "main", f"--message={args.message}", "--json"]
    if args.timeout_secs is not None:
        words.append(f"--timeout={_seconds(args.timeout_secs)}")
    with tempfile.TemporaryFile() as file:
        status = ssh.run(paths, spec, words, stdout=file)
        file.seek(0)
        printed = file.read().decode(errors="replace")
    if status > 128:  # a signal ended it: there is no answer, and the user knows
        return status
    answer = parse(printed)
    if answer is None:
        raise VclawError(
            f"OpenClaw's agent gave no answer (exit status {status}).",
            f"`vclaw logs {spec.name}` shows the gateway's log.",
        )
    if args.json:
        output.as_json(answer)
    elif text(answer):
        print(text(answer))
    if status != 0:
        raise _failure(spec.name, answer, args.timeout_secs or str(LIMIT_SECONDS))
    return 0


def _failure(name: str, answer: dict[str, Any], limit: str) -> VclawError:
    logs = f"`vclaw logs {name}` shows the gateway's log."
    if answer.get("status") == "timeout":
        return VclawError(
            f"The turn ran into its time limit of {limit} s.",
            f"Give it more with --timeout-secs S. {logs}",
        )
    return VclawError(
        f"The turn ended with {answer.get('status', 'an error')}: "
        f"{answer.get('summary', 'no reason given')}.",
        logs,
    )


def _seconds(text: str) -> int:
    """--timeout-secs as OpenClaw takes it, a whole number; raises UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        raise UsageError(f"--timeout-secs is {text!r}.", "Give a whole number of seconds above 0.")
    return int(text)


def parse(printed: str) -> dict[str, Any] | None:
    """The JSON object that `openclaw agent --json` printed, None where it printed none."""
    try:
        value = json.loads(printed)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def text(answer: dict[str, Any]) -> str:
    """The answer for a person: the texts and attachments of `result.payloads`, in order."""
    result = answer.get("result")
    payloads = result.get("payloads") if isinstance(result, dict) else None
    lines: list[str] = []
    for payload in payloads if isinstance(payloads, list) else []:
        if not isinstance(payload, dict):
            continue
        if payload.get("isError") and answer.get("status") == "timeout":
            continue  # it speaks of a setting of OpenClaw's, where vclaw has a flag
        if payload.get("text"):
            lines.append(str(payload["text"]).rstrip())
        urls = payload.get("mediaUrls") or [payload.get("mediaUrl")]
        lines += [f"Attachment: {url}" for url in urls if url]
    return "\n".join(lines)
