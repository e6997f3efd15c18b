"""Takes a local image file into the cache."""

from __future__ import annotations

import hashlib
import os

from vclaw import fsutil
from vclaw.errors import VclawError
from vclaw.home import ImagePaths
from vclaw.images import formats
from vclaw.model import ImageRef
from vclaw.progress import Progress

CHUNK = 2**20
ZEROS = bytes(CHUNK)


def copy(ref: ImageRef, paths: ImagePaths, progress: Progress) -> None:
    """Copy the file of `ref` to `paths.image`, which keeps no block of zeros.

    Raises VclawError where it is no disk image, or is not what it was when `ref` was made.
    """
    assert ref.path is not None  # a ref with distro "file" has one
    formats.inspect(ref.path, bootable=True)
    stat = ref.path.stat()
    fsutil.require_space(paths.root, stat.st_blocks * 512, f"Copying {ref.path}")
    digest = hashlib.sha256()
    label = f"copying {ref.path.name}"
    with (
        fsutil.replacing(paths.image) as temporary,
        ref.path.open("rb", buffering=0) as source,
        temporary.open("wb", buffering=0) as target,
        progress.task(label, stat.st_size) as task,
    ):
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            if chunk == ZEROS:
                target.seek(len(chunk), os.SEEK_CUR)
            else:
                fsutil.write_all(target, chunk)
            task.advance(len(chunk))
        target.truncate(target.tell())
        if digest.hexdigest() != ref.version:
            raise VclawError(
                f"{ref.path} changed while it was copied.", "Try again when it is complete."
            )
