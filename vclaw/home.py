"""Where vclaw keeps things: its two folders, and the files of what is cached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vclaw import layout
from vclaw.paths import BootFolder, ClawPaths, Folder

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from vclaw.model import ImageRef


class Home:
    """`cache` can be fetched or built again, `data` cannot."""

    def __init__(self, cache: Path, data: Path) -> None:
        self.cache = cache
        self.data = data

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Home:
        """VCLAW_CACHE_DIR and VCLAW_DATA_DIR, each defaulting to VCLAW_HOME, then ~/.vclaw."""
        return cls(Path(layout.cache_folder(env)), Path(layout.data_folder(env)))

    @property
    def images(self) -> Path:
        """One folder for each cached image."""
        return self.cache / "images"

    @property
    def runtimes(self) -> Path:
        """One folder for each built runtime disk."""
        return self.cache / "runtimes"

    @property
    def templates(self) -> Path:
        """One folder for each template."""
        return self.cache / layout.TEMPLATES

    @property
    def locks(self) -> Path:
        """Lock files of images, runtimes and templates."""
        return self.cache / "locks"

    @property
    def digests(self) -> Path:
        """digests.json: sha256 of local image files, so that none is read twice for it."""
        return self.cache / "digests.json"

    @property
    def accelerator(self) -> Path:
        """accelerator.json: the result of the last acceleration trial on this host."""
        return self.cache / "accelerator.json"

    @property
    def approvals(self) -> Path:
        """approvals.json (0600): how far each project's vclaw.yaml may reach into the host."""
        return self.data / "approvals.json"

    @property
    def instances(self) -> Path:
        """One folder for each claw."""
        return self.data / layout.INSTANCES

    @property
    def ports_lock(self) -> Path:
        """Held while a claw chooses ports and puts them on record, so that no other has them."""
        return self.data / "locks" / "ports"

    def image(self, ref: ImageRef) -> ImagePaths:
        """The files of one image."""
        return ImagePaths(self.images / ref.key)

    def runtime(self, key: str) -> RuntimePaths:
        """The files of one runtime disk."""
        return RuntimePaths(self.runtimes / key)

    def template(self, key: str) -> TemplatePaths:
        """The files of one template."""
        return TemplatePaths(self.templates / key)

    def template_failure(self, key: str) -> Path:
        """Why this template could not be made, where it could not."""
        return self.templates / f".{key}.failed"

    def claw(self, name: str) -> ClawPaths:
        """The files of one claw."""
        return ClawPaths(self.instances / name)


class ImagePaths(BootFolder):
    """The files of one cached image, all in `root`."""

    @property
    def image(self) -> Path:
        """The disk image; never changed once it is there."""
        return self.root / "image.img"

    @property
    def meta(self) -> Path:
        """image.json: ref, arch, digest, source, format, sizes, times. Written last."""
        return self.root / "image.json"

    @property
    def sums(self) -> Path:
        """SHA256SUMS as it was downloaded, for images that come with one."""
        return self.root / "SHA256SUMS"

    @property
    def signature(self) -> Path:
        """SHA256SUMS.gpg: the detached signature of `sums`."""
        return self.root / "SHA256SUMS.gpg"

    @property
    def partial(self) -> Path:
        """A download that is not complete yet; resumed by the next fetch."""
        return self.root / "image.img.part"

    @property
    def partial_meta(self) -> Path:
        """image.img.part.json: which content `partial` is a part of."""
        return self.root / "image.img.part.json"

    @property
    def build(self) -> Path:
        """Folder of a build that is under way; what an interrupted one left is no use."""
        return self.root / "build"

    @property
    def refresh(self) -> Path:
        """Folder of a newer image that is not complete yet; the present one stays until it is."""
        return self.root / "refresh"

    @property
    def build_log(self) -> Path:
        """What the last failed build printed."""
        return self.root / "build.log"


class RuntimePaths(Folder):
    """The files of one built runtime disk, all in `root`."""

    @property
    def disk(self) -> Path:
        """Read-only squashfs: node, OpenClaw and what they need."""
        return self.root / "openclaw.squashfs"

    @property
    def manifest(self) -> Path:
        """manifest.json: versions, recipe, digest, npm lock. Written last."""
        return self.root / "manifest.json"


class TemplatePaths(BootFolder):
    """The files of one template, all in `root`."""

    @property
    def meta(self) -> Path:
        """template.json: what it was made of."""
        return self.root / "template.json"

    @property
    def disk(self) -> Path:
        """disk.img: the guest's disk as it was then; claws' disks lie over it."""
        return self.root / "disk.img"

    @property
    def disk_meta(self) -> Path:
        """disk.json: format, size, origin and boot method of disk.img."""
        return self.root / "disk.json"

    @property
    def memory(self) -> Path:
        """The guest's memory; a sparse file."""
        return self.root / "memory"

    @property
    def device(self) -> Path:
        """The state of the hypervisor's devices at that moment."""
        return self.root / "device"

    @property
    def users(self) -> Path:
        """Folder of notes, one a claw whose disk lies over this one's: its path."""
        return self.root / "users"
