"""Builds Debian images from Debian packages with mmdebstrap; no image server is needed.

The result is a raw ext4 file system without a partition table, booted with the kernel and
initrd that are copied out of it; the kernel is unpacked where that can be.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vclaw import fsutil, proc, seed
from vclaw.errors import UsageError, VclawError
from vclaw.home import ImagePaths
from vclaw.images import catalogue, vmlinux
from vclaw.model import ImageRef, host_arch
from vclaw.progress import Progress

LABEL = "vclaw-root"
CMDLINE = f"root=LABEL={LABEL} rw"
"""Kernel arguments that name the root file system."""

DISK_SIZE = 3 * 2**30
"""Bytes of the file system as built; a sparse file, and grown for each claw."""

BUILD_SPACE = 3 * 2**30
"""Bytes a build needs at its peak: archive, unpacked tree and image."""

PACKAGES = (
    "systemd-sysv,udev,dbus,cloud-init,openssh-server,ca-certificates,curl,python3,iproute2,"
    "netplan.io,systemd-resolved,systemd-timesyncd,sudo,git,procps,less,zstd,e2fsprogs,kmod,"
    "locales,cloud-guest-utils,fdisk"
)

INITRAMFS_MODULES = ("virtio_pci", "virtio_blk", "ext4")
"""All that is needed to reach the root file system; a small initrd boots faster."""

LEFT_OUT = ("doc", "man", "locale")
"""Folders of /usr/share that no program needs to run."""

KEYRINGS = Path("/usr/share/keyrings")

PHASES = {
    "I: running apt-get update": "reading package lists",
    "I: downloading packages": "downloading packages",
    "I: extracting archives": "unpacking the base system",
    "I: installing essential": "installing the base system",
    "I: installing remaining": "installing the kernel and the other packages",
    "I: running --customize-hook": "configuring the image",
    "I: creating tarball": "packing",
}
"""How a line of mmdebstrap's output begins -> what is said."""


@dataclass(frozen=True)
class Tools:
    """The programs of a build, found on this host."""

    mmdebstrap: Path
    mke2fs: Path
    tar: Path
    fakeroot: Path | None  # None for root, who needs none


def check(ref: ImageRef) -> Tools:
    """Find what a build needs; raises UsageError that says what is missing."""
    if ref.arch != host_arch():
        raise UsageError(
            f"{ref.name} for {ref.arch} cannot be built on this {host_arch()} host.",
            f"Take an image that is downloaded, such as {catalogue.PREFERRED}, or build on "
            f"a {ref.arch} host.",
        )
    purpose = f"building {ref.name}"
    tools = Tools(
        mmdebstrap=proc.need("mmdebstrap", purpose),
        mke2fs=proc.need("mke2fs", purpose),
        tar=proc.need("tar", purpose),
        fakeroot=None if os.geteuid() == 0 else proc.need("fakeroot", purpose),
    )
    if tools.fakeroot is not None:
        proc.need("newuidmap", f"{purpose} without root")
    if not any(KEYRINGS.glob("debian-archive-keyring.*")):
        raise UsageError(
            f"Debian's signing keys are not installed, and {purpose} needs them.",
            "On Debian or Ubuntu: sudo apt-get install debian-archive-keyring.",
        )
    return tools


def inputs(ref: ImageRef, mirror: str = "") -> str:
    """What an image is built from, in words; image.json keeps it as the source."""
    return f"mmdebstrap {_codename(ref)} {ref.arch}" + (f" {mirror}" if mirror else "")


def argv(
    ref: ImageRef, tools: Tools, archive: Path, hook: tuple[Path, Path], mirror: str = ""
) -> list[str]:
    """The mmdebstrap command that packs the system into the tar file `archive`.

    `hook` is the script that completes the system, and the file it takes. Without a mirror
    mmdebstrap takes its own default.
    """
    script, file = (shlex.quote(str(path)) for path in hook)
    modules = "\\n".join(INITRAMFS_MODULES) + "\\n"
    initramfs = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
        'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vclaw"; '
        f'printf "{modules}" >"$1/etc/initramfs-tools/modules"'
    )
    command = [
        str(tools.mmdebstrap),
        "--variant=apt",
        "--format=tar",
        f"--architectures={ref.arch}",
        f"--include=linux-image-{ref.arch},{PACKAGES}",
        '--aptopt=Apt::Install-Recommends "false"',
        *[f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT],
        f"--essential-hook={initramfs}",
        f'--customize-hook=sh {script} "$1" {file}',
        "--skip=output/dev",
        _codename(ref),
        str(archive),
    ]
    return command + ([mirror] if mirror else [])


def build(
    ref: ImageRef, paths: ImagePaths, tools: Tools, progress: Progress, mirror: str = ""
) -> None:
    """Make image.img, vmlinuz and initrd.img in `paths`; takes about a minute.

    Nothing stays of a build that fails or is interrupted but, after a failure, its log.
    """
    progress.say(f"building {ref.name} from Debian packages (about a minute)")
    shutil.rmtree(paths.build, ignore_errors=True)
    paths.build.mkdir()
    fsutil.require_space(paths.build, BUILD_SPACE, f"Building {ref.name}")
    log = paths.build / "build.log"
    try:
        _build(ref, paths, tools, progress, mirror)
    except VclawError as error:
        if log.exists():
            log.replace(paths.build_log)
            error.hint += f"\nThe whole log: {paths.build_log}"
        raise
    finally:
        shutil.rmtree(paths.build, ignore_errors=True)
    paths.build_log.unlink(missing_ok=True)


def _build(ref: ImageRef, paths: ImagePaths, tools: Tools, progress: Progress, mirror: str) -> None:
    archive, tree, disk = (paths.build / name for name in ("root.tar", "tree", "root.ext4"))
    hook = (Path(__file__).with_name("debian.sh"), seed.guest_file_path(seed.SEED_UNIT))
    log = paths.build / "build.log"
    proc.stream(
        argv(ref, tools, archive, hook, mirror),
        log=log,
        on_line=_phases(progress),
        env=_environment(paths, tools),
        what=f"Building {ref.name}",
    )
    progress.say("  making the file system")
    # The kernel mounts its own /dev; the folder for it is left out of the archive with the nodes.
    (tree / "dev").mkdir(parents=True)
    unpack, make = file_system_argvs(tools, archive, tree, disk, paths.build / "owners")
    proc.run(unpack, log=log, what=f"Unpacking {ref.name}")
    archive.unlink()
    proc.run(make, log=log, what=f"Making the file system of {ref.name}")
    kernel = _only(tree / "boot", "vmlinuz-*")
    unpacked = vmlinux.unpack(kernel.read_bytes())
    if unpacked is not None:
        vmlinux.write(kernel, unpacked)
    _move_in(kernel, paths.kernel)
    _move_in(_only(tree / "boot", "initrd.img-*"), paths.initrd)
    _move_in(disk, paths.image)
    fsutil.sync_folder(paths.root)


def file_system_argvs(
    tools: Tools, archive: Path, tree: Path, disk: Path, owners: Path
) -> tuple[list[str], list[str]]:
    """The commands that unpack the tar file and make the ext4 file from it.

    An ordinary user cannot own files as root does: fakeroot keeps the owners in the file
    `owners` between the two commands.
    """
    unpack = [str(tools.tar), "--numeric-owner", "-xpf", str(archive), "-C", str(tree)]
    make = [str(tools.mke2fs), "-q", "-t", "ext4", "-L", LABEL, "-E", "root_owner=0:0"]
    make += ["-d", str(tree), str(disk), f"{DISK_SIZE // 2**20}M"]
    if tools.fakeroot is None:
        return unpack, make
    fakeroot = str(tools.fakeroot)
    return (
        [fakeroot, "-s", str(owners), "--", *unpack],
        [fakeroot, "-i", str(owners), "--", *make],
    )


def _codename(ref: ImageRef) -> str:
    known = catalogue.release(ref.distro, ref.version)
    assert known is not None  # refs.parse() lets no other version through
    return known.codename


def _environment(paths: ImagePaths, tools: Tools) -> dict[str, str]:
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if tools.fakeroot is None:
        # What a killed mmdebstrap leaves is then removed with the build folder. As an ordinary
        # user it works as other uids, which cannot reach into a private home.
        env["TMPDIR"] = str(paths.build)
    return env


def _phases(progress: Progress) -> Callable[[str], None]:
    said: set[str] = set()

    def on_line(text: str) -> None:
        for prefix, phase in PHASES.items():
            if text.startswith(prefix) and phase not in said:
                said.add(phase)
                progress.say(f"  {phase}")

    return on_line


def _only(folder: Path, pattern: str) -> Path:
    """The one file that matches; with several kernels the newest name."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise VclawError(f"The build made no {pattern} in /boot.", "Try again.")
    return found[-1]


def _move_in(source: Path, target: Path) -> None:
    """Sync a file of the build and move it to its place."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    target.unlink(missing_ok=True)
    source.chmod(0o644)
    source.replace(target)
