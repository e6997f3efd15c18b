"""vclaw cp: copy files and folders into a claw's guest and back."""

from __future__ import annotations

import argparse
import os
import posixpath
import sys
from dataclasses import dataclass, field
from pathlib import Path

from vclaw import ssh, transfer
from vclaw.claws import access
from vclaw.errors import UsageError, VclawError
from vclaw.home import Home
from vclaw.openclaw import WORKSPACE_DIR

EXAMPLES = """\
One of SRC and DST is CLAWID:PATH; a PATH that is not absolute is below /workspace, and ~/ is the
guest user's home. Folders are copied whole, with modes and times. Where DST is a folder, SRC is
put into it. A link is copied as a link; one that leads out of what is copied stays in the guest.

examples:
  vclaw cp data.csv my-claw:/tmp/
  vclaw cp my-claw:~/report ./report
  vclaw cp ./a:b my-claw:                      a file with a colon in its name
"""

GUEST_HOME = f"/home/{ssh.USER}"

PUT_FOLDER = """
dst=$1
if [ -d "$dst" ]; then dst=${dst%/}/$2; fi
[ -d "$dst" ] || mkdir -- "$dst"
exec tar -xpf - --no-same-owner -C "$dst"
"""

PUT_ITEM = f"""
dst=$1
if [ -d "$dst" ]; then dst=${{dst%/}}/$2; else
    case $dst in */) echo "$dst is no folder" >&2; exit 1 ;; esac
fi
tmp=$(mktemp -d "$(dirname "$dst")/.vclaw-XXXXXXXX")
trap 'rm -rf "$tmp"' EXIT
tar -xpf - --no-same-owner -C "$tmp"
mv -fT "$tmp/{transfer.ITEM}" "$dst"
"""
"""What arrives replaces what was there by a rename: nobody sees a half file."""


@dataclass(frozen=True)
class InGuest:
    """CLAWID:PATH; `path` is absolute, and ends in a slash where it was given so."""

    name: str
    path: str


@dataclass
class _LeftOut:
    """Says what was not copied, and remembers that there was something."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, path: str, reason: str) -> None:
        self.seen.append(path)
        print(f"vclaw: {path!r} was left out: {reason}.", file=sys.stderr)


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `vclaw cp`."""
    parser.epilog = EXAMPLES
    parser.add_argument("src", metavar="SRC")
    parser.add_argument("dst", metavar="DST")


def run(args: argparse.Namespace) -> int:
    """Copy; 1 where something was left out."""
    src, dst = parse(args.src), parse(args.dst)
    left_out = _LeftOut()
    if isinstance(src, str) and isinstance(dst, InGuest):
        _put(src, dst, left_out)
    elif isinstance(src, InGuest) and isinstance(dst, str):
        _get(src, dst, left_out)
    else:
        raise UsageError(
            f"{args.src} and {args.dst} are on the same side.",
            "One of them is CLAWID:PATH, the other a path of this host (./a:b for a colon in it).",
        )
    return 1 if left_out.seen else 0


def parse(text: str) -> InGuest | str:
    """CLAWID:PATH, or a path of this host: that has no colon, or a slash before it."""
    name, colon, path = text.partition(":")
    if not colon or not name or "/" in name:
        if not text:
            raise UsageError("A path is empty.", "vclaw cp SRC CLAWID:DST")
        return text
    if "\0" in path:
        raise UsageError("A path holds a zero byte.", "vclaw cp SRC CLAWID:DST")
    if path == "~" or path.startswith("~/"):
        path = GUEST_HOME + path[1:]
    return InGuest(name, posixpath.join(WORKSPACE_DIR, path))


def _put(text: str, dst: InGuest, left_out: _LeftOut) -> None:
    source = Path(os.path.abspath(text))  # noqa: PTH100 - a link is copied, not followed
    if not os.path.lexists(source):
        raise UsageError(f"There is no {text}.", "Check the name.")
    if not source.name:
        raise UsageError("The whole file system cannot be copied.", "Name a folder in it.")
    paths, spec = access.running(Home.from_env(), dst.name)
    is_folder = source.is_dir() and not source.is_symlink()
    script = PUT_FOLDER if is_folder else PUT_ITEM
    words = ["sh", "-euc", script, "sh", dst.path, source.name]
    with transfer.folder(source.parent, spec.workspace) as parent:
        with ssh.piped(paths, spec, words, send=True) as child:
            assert child.stdin is not None
            try:
                transfer.pack(parent, source.name, child.stdin, left_out)
            except BrokenPipeError:
                pass  # the guest's side ended first, and has said why
            except OSError as error:
                raise VclawError(f"{error.filename or text}: {error.strerror or error}.") from None
        _check(child.returncode, f"{text} could not be copied to {dst.name}:{dst.path}.")


def _get(src: InGuest, text: str, left_out: _LeftOut) -> None:
    source = posixpath.normpath(src.path)
    folder, name = posixpath.split(source)
    if not name:
        raise UsageError("The whole file system cannot be copied.", "Name a folder in it.")
    paths, spec = access.running(Home.from_env(), src.name)
    target = Path(os.path.abspath(text))  # noqa: PTH100 - links are looked at one by one
    if not target.is_dir():
        if text.endswith("/"):
            raise UsageError(f"There is no folder {text}.", "Make it first, or leave out the /.")
        target, name_here = target.parent, target.name
    else:
        name_here = name
    words = ["tar", "-cf", "-", "--format=pax", "--hard-dereference", "-C", folder, "--", name]
    failed = f"{src.name}:{source} could not be copied."
    with transfer.folder(target, spec.workspace) as parent:
        with ssh.piped(paths, spec, words, send=False) as child:
            assert child.stdout is not None
            count = transfer.unpack(child.stdout, name, parent, name_here, left_out)
            if child.stdout.read(2**20):
                raise VclawError(f"More came from {src.name} than an archive.")
        # GNU tar ends its archive well even where it found nothing to put in.
        _check(child.returncode or int(count == 0), failed)


def _check(status: int, failed: str) -> None:
    if status != 0:
        raise VclawError(failed, "What the guest said of it is above.")
