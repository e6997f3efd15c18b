"""vclaw.yaml: the flags of `vclaw run`, kept in the project and checked strictly."""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vclaw.errors import UsageError
from vclaw.settings import COMMAND_LINE_ONLY, Setting

if TYPE_CHECKING:
    import yaml

FILE_NAME = "vclaw.yaml"

MOST_BYTES = 256 * 1024
"""A file of settings is no larger; the guest may have written it, so it is not trusted."""

FORMS = {
    "text": (re.compile(r".+"), "a text"),
    "path": (re.compile(r".+"), "a path"),
    "whole": (re.compile(r"[0-9]{1,10}"), "a whole number"),
    "seconds": (re.compile(r"[0-9]{1,10}(\.[0-9]+)?"), "a number of seconds"),
}
"""Kind of a setting -> what its text looks like, and how to say that."""

EXAMPLES = {
    "image": "ubuntu:24.04",
    "name": "my-claw",
    "workspace": ".",
    "port": "18789",
    "publish": "8080:80",
    "network": "internet",
    "allow-host-port": "11434",
    "cpus": "2",
    "memory-mib": "4096",
    "disk-gib": "20",
    "openclaw-version": "latest",
    "env": "ANTHROPIC_API_KEY",
    "env-file": ".env",
    "ca-cert": "./company-ca.pem",
    "model": "anthropic/claude-sonnet-4-5",
    "model-base-url": "http://127.0.0.1:1234/v1",
    "state": "../openclaw-state",
    "ready-timeout-secs": "900",
}

EXAMPLE_OF_KIND = {
    "text": "text",
    "path": "./path",
    "whole": "1",
    "seconds": "60",
    "switch": "true",
}

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Item:
    """One value as it was written, and its line, counted from 1."""

    text: str
    line: int
    off: bool = False  # a switch that is false, as if the file did not have it


@dataclass(frozen=True)
class ProjectFile:
    """A checked vclaw.yaml: key -> its values in their order (one, but for repeatable keys)."""

    path: Path
    entries: Mapping[str, tuple[Item, ...]]
    lines: Mapping[str, int]  # key -> its line
    digest: str = ""  # sha256:<hex> of what was read

    @property
    def folder(self) -> Path:
        """The project's folder; relative paths start there."""
        return self.path.parent

    def value(self, setting: Setting) -> Any:
        """As argparse would give it: a text, a list, True; None where the file says nothing."""
        if setting.key not in self.entries:
            return None
        texts = [item.text for item in self.entries[setting.key]]
        if setting.repeatable:
            return texts
        return texts[0] == "true" if setting.kind == "switch" else texts[0]

    def source(self, key: str) -> str:
        """`vclaw.yaml:LINE`, "" where the file does not say this."""
        return f"{self.path.name}:{self.lines[key]}" if key in self.lines else ""


def parse(text: str, path: Path, settings: Mapping[str, Setting]) -> ProjectFile:
    """Check the text of a vclaw.yaml; pure.

    Values are taken as they are written: YAML would read 2222:22 as a number of base 60.
    Raises UsageError with file, line and what was meant.
    """
    root = _compose(text, path)
    entries: dict[str, tuple[Item, ...]] = {}
    lines: dict[str, int] = {}
    if root is None or root.tag == f"{_TAG}null":
        return ProjectFile(path, entries, lines)
    if _kind(root) != "mapping":
        _refuse(path, _line(root), "settings are written as KEY: VALUE", _hint_of(settings))
    for key_node, value_node in root.value:
        line = _line(key_node)
        if _kind(key_node) != "scalar":
            _refuse(path, line, f"a key is {_shown(key_node)}", _hint_of(settings))
        key = str(key_node.value)
        setting = settings.get(key)
        if setting is None:
            _unknown(path, line, key, settings)
        if key in entries:
            _refuse(path, line, f"{key} is there twice", f"Line {lines[key]} has it too.")
        entries[key] = _values(path, setting, value_node)
        lines[key] = line
    return ProjectFile(path, entries, lines)


def _compose(text: str, path: Path) -> yaml.Node | None:
    import yaml

    hint = "Write it as YAML: KEY: VALUE on lines of their own. `vclaw init` writes an example."
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "not understood"
        _refuse(path, mark.line + 1 if mark else 1, f"this is no YAML ({problem})", hint)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        _refuse(path, line, "there is a character that YAML does not allow", hint)
    except RecursionError:
        _refuse(path, 1, "it is nested too deeply", hint)


def _values(path: Path, setting: Setting, node: yaml.Node) -> tuple[Item, ...]:
    if not setting.repeatable:
        return (_scalar(path, setting, node),)
    if _kind(node) != "sequence":
        example = _example(setting)
        _refuse(
            path,
            _line(node),
            f"{setting.key} is {_shown(node)}, and a list was meant",
            f"Write it as a list: {setting.key}: [{example}]",
        )
    return tuple(_scalar(path, setting, item) for item in node.value)


def _scalar(path: Path, setting: Setting, node: yaml.Node) -> Item:
    plain = _kind(node) == "scalar"
    tag = node.tag.removeprefix(_TAG)
    hint = f"Write for example: {setting.key}: {_example(setting)}"
    if setting.repeatable:
        hint = f"Write for example: {setting.key}: [{_example(setting)}]"
    if setting.kind == "switch":
        if not (plain and tag == "bool" and node.value.lower() in ("true", "false")):
            problem = f"{setting.key} is {_shown(node)}, and true or false was meant"
            _refuse(path, _line(node), problem, hint)
        off = node.value.lower() == "false"
        return Item(node.value.lower(), _line(node), off)
    form, meaning = FORMS[setting.kind]
    known = tag in ("str", "int", "float", "timestamp")
    # What cannot be printed could draw over the question that asks for approval.
    if not (plain and known and form.fullmatch(node.value) and node.value.isprintable()):
        problem = f"{setting.key} is {_shown(node)}, and {meaning} was meant"
        if plain and tag == "bool":
            hint = f'Put it in quotes: "{node.value}"'
        _refuse(path, _line(node), problem, hint)
    return Item(node.value, _line(node))


def _shown(node: yaml.Node) -> str:
    if _kind(node) == "mapping":
        return "a table"
    if _kind(node) == "sequence":
        return "a list"
    if node.tag == f"{_TAG}null":
        return "empty"
    return repr(node.value if len(node.value) <= 60 else node.value[:60] + "…")


def _unknown(path: Path, line: int, key: str, settings: Mapping[str, Setting]) -> NoReturn:
    if key in COMMAND_LINE_ONLY:
        problem = f"{key} is given on the command line only"
        _refuse(path, line, problem, f"Remove the line, and write --{key} there.")
    near = difflib.get_close_matches(key.lower().replace("_", "-"), settings, 1)
    hint = f"Did you mean {near[0]}?" if near else _hint_of(settings)
    _refuse(path, line, f"there is no setting {key[:60]!r}", hint)


def _hint_of(settings: Mapping[str, Setting]) -> str:
    return f"The settings are: {', '.join(settings)}."


def _refuse(path: Path, line: int, problem: str, hint: str) -> NoReturn:
    raise UsageError(f"{path}, line {line}: {problem}.", hint) from None


def _kind(node: Any) -> str:
    """scalar, sequence or mapping, as PyYAML's classes of nodes call themselves."""
    return str(node.id)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def read(path: Path, settings: Mapping[str, Setting]) -> ProjectFile:
    """Read and check a file; its paths become absolute, with every link followed.

    Raises UsageError; FileNotFoundError where there is none.
    """
    import hashlib

    text = read_text(path)
    file = parse(text, path.parent.resolve() / path.name, settings)
    entries = {
        key: tuple(replace(item, text=_anchored(settings[key], item.text, file)) for item in items)
        for key, items in file.entries.items()
    }
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return replace(file, entries=entries, digest=digest)


def _anchored(setting: Setting, text: str, file: ProjectFile) -> str:
    """A path as an absolute one: what is shown and approved is then what is used."""
    if setting.kind == "path" or (setting.key == "image" and "/" in text):
        return os.path.realpath(file.folder / os.path.expanduser(text))  # noqa: PTH111
    return text


def read_text(path: Path) -> str:
    """The text of a file that the guest may have made: no link, pipe or device, nothing huge.

    Raises UsageError; FileNotFoundError where there is none.
    """
    hint = "Make it a readable text file."
    try:
        # Without O_NONBLOCK a named pipe would be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is not a regular file.", hint)
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path} has more than {MOST_BYTES // 1024} KiB.", hint)
        return data.decode()
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8.", hint) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(
                f"{path} is a link, which the guest may have made.",
                "Put the file itself there, if you trust it.",
            ) from None
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint) from None


def template(settings: Mapping[str, Setting]) -> str:
    """A vclaw.yaml whose settings are all there and all commented out; pure."""
    lines = [
        "# The flags of `vclaw run`, for everybody who works on this project.",
        "# Flags win over this file. `vclaw config show` prints what counts, and why.",
        "# Relative paths start at this folder. The agent in the virtual machine can write this",
        "# file: what reaches into the host is used only after you approved it (`vclaw allow`).",
    ]
    for setting in settings.values():
        lines += ["", f"# {setting.help}" if setting.help else "#"]
        if setting.repeatable:
            lines += [f"#{setting.key}:", f"#  - {_example(setting)}"]
        else:
            lines.append(f"#{setting.key}: {_example(setting)}")
    return "\n".join(lines) + "\n"


def _example(setting: Setting) -> str:
    return EXAMPLES.get(setting.key, EXAMPLE_OF_KIND[setting.kind])
