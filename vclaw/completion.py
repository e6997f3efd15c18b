"""Shell completion: scripts made from the parsers by shtab, and the words that only vclaw knows."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from vclaw.claws import record
from vclaw.home import Home

SHELLS = ("bash", "zsh", "fish")

WORDS = ("claws", "refs", "templates")

ASK = "vclaw completion --words {} 2>/dev/null"
"""What a script runs to learn the words of a kind."""

BASH_COLONS = """
# Readline ends a word at a colon, which is a part of image references and of published ports: the
# words are split anew, and of what completes the last one only the rest is given.
_vclaw() {
  local line=${COMP_LINE:0:COMP_POINT} COMP_WORDS COMP_CWORD
  read -ra COMP_WORDS <<< "$line"
  [[ $line == *[[:space:]] ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _shtab_vclaw
  local word=${COMP_WORDS[COMP_CWORD]}
  [[ $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
}

complete -F _vclaw vclaw
"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of one of `SHELLS` for a parser that knows all verbs."""
    import shtab

    for action in _actions(parser):
        complete = _completer(action)
        if complete is not None:
            action.complete = complete  # type: ignore[attr-defined]  # as shtab wants it
    made = str(shtab.complete(parser, shell)).rstrip() + "\n"
    if shell == "bash":
        return made + BASH_COLONS
    # "(*)" would end the completion after the first of several words.
    return made.replace('"(*):', '"*:') if shell == "zsh" else made


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action


def _completer(action: argparse.Action) -> object | None:
    """What completes a flag's value or a positional, known by its metavar."""
    import shtab

    metavar = str(action.metavar)
    if metavar in ("REF", "TEMPLATE"):
        return shtab.cmd(ASK.format(f"{metavar.lower()}s"))
    if metavar == "CLAWID|REF":
        return shtab.cmd(f"{ASK.format('claws')}; {ASK.format('refs')}")
    # A new claw's name is not one of those there are.
    if metavar == "CLAWID" and not action.option_strings:
        return shtab.cmd(ASK.format("claws"))
    if metavar == "FILE":
        return shtab.FILE
    return shtab.DIRECTORY if metavar == "DIR" else None


def words(home: Home, kind: str) -> list[str]:
    """The CLAWIDs there are, the templates, or the REFs: those supported, and what is cached."""
    if kind == "claws":
        return record.names(home)
    if kind == "templates":
        from vclaw.templates import store

        return store.keys(home)
    from vclaw.images import catalogue

    known = [release.name for release in catalogue.RELEASES]
    return known + sorted(set(_cached(home)) - set(known))


def _cached(home: Home) -> Iterator[str]:
    from vclaw.errors import VclawError
    from vclaw.images import meta

    for path in home.images.glob("*/image.json"):
        try:
            found = meta.load(path)
        except VclawError:
            continue  # `vclaw image ls` shows a damaged one
        if found is not None:
            yield found.ref
