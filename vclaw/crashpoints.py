"""The steps between two effects, by name, so that a test can end a command at each of them.

VCLAW_CRASH_AT=disk.copied:2:KILL sends this process SIGKILL when it reaches `disk.copied` for the
second time. Unset, which it is for everybody but tests/chaos, a step costs one comparison.
"""

from __future__ import annotations

import os

POINTS = {
    "file.written": "a file is whole under its temporary name",
    "file.placed": "a file has its name, and its folder is not synced yet",
    "lock.held": "a lock is had, and its file names this process",
    "claw.folder": "a new claw's folder is there, and nothing is in it",
    "claw.keys": "a key pair of a new claw is made, and its identity is not stored",
    "claw.described": "a claw's files are written, claw.json last",
    "disk.unlisted": "what an interrupted copy left is no disk any more",
    "disk.copied": "the image is copied under a temporary name, and not grown",
    "disk.placed": "instance.img is whole, and disk.json does not say so",
    "template.booted": "a template's guest is warm, and nothing of it is kept",
    "template.saved": "a template's files are whole, under no name of its own",
    "template.unlisted": "a template is about to be removed: template.json is gone",
    "clone.fresh": "a disk over a template's is there, and disk.json does not say so",
    "clone.loaded": "the saved guest is in a claw's machine, and stands still",
    "clone.begun": "the saved guest is about to go on, or goes on already",
    "clone.released": "the saved guest goes on, and does not know who it is",
    "clone.introduced": "the guest knows who it is, and clone.json does not say so",
    "seed.unmarked": "the old seed is not valid any more, and no new one is there",
    "seed.written": "the new seed is there, and its digest is not",
    "boot.cleared": "the sockets of the last run are gone",
    "boot.spawned": "there is a process, not recorded, that waits to become the hypervisor",
    "boot.recorded": "the process is recorded and still waits",
    "boot.released": "the process becomes the hypervisor",
    "boot.answered": "the hypervisor's monitor answers",
    "suspend.noted": "suspended.json is there, and the guest still runs",
    "suspend.paused": "the guest stands still",
    "resume.running": "the guest runs again, with an old clock and a closed gateway",
    "resume.undone": "clock and gateway are as before, and suspended.json is still there",
    "save.begun": "the guest that is to be saved is about to give the host's folders back",
    "save.released": "the guest runs without the host's folders and without OpenClaw",
    "save.paused": "that guest stands still, and nothing of it is saved",
    "save.written": "its memory is on the disk, and saved.json does not say so",
    "save.noted": "saved.json is there, and the guest's machine still is",
    "save.ended": "the saved guest's machine has ended, and run.json still names it",
    "save.dropped": "saved.json is gone, and the memory that it was about is not",
    "restore.loaded": "the saved guest is in a machine, stands still, and saved.json is there",
    "restore.running": "the saved guest goes on, with an old clock and without OpenClaw",
    "fork.copied": "a twin's disk, state and memory are there, and not who it is",
    "fork.described": "a twin is whole, and has not begun",
    "stop.asked": "the guest was asked to shut down",
    "stop.ended": "the machine has ended, and run.json still names it",
    "remove.stopped": "the claw that is removed has stopped",
    "remove.kept": "the state that is to be kept lies in its new place",
    "remove.renamed": "the claw is no claw any more, and its files are still there",
    "image.begun": "what a damaged image left is gone, and nothing has come",
    "image.received": "a part of a download has come",
    "image.complete": "a download is whole and verified, under its partial name",
    "image.placed": "image.img is there, and image.json is not",
    "image.unlisted": "an image is about to be removed or replaced: image.json is gone",
    "prune.unlisted": "what prune removes is not in the cache any more, and still on the disk",
}
"""Name -> what has just happened when a command reaches it."""

_PLAN = os.environ.get("VCLAW_CRASH_AT", "")
_seen = 0


def reach(point: str) -> None:
    """Tell that the step `point` of POINTS is reached."""
    if _PLAN:
        _reached(point)


def _reached(point: str) -> None:
    global _seen
    import signal

    name, count, signame = _PLAN.split(":")
    _seen += name == point
    if name == point and _seen == int(count):
        os.kill(os.getpid(), signal.Signals[f"SIG{signame}"])
