"""Makes a partitioned qcow2 that GRUB boots from BIOS, laid out as an Ubuntu cloud image.

The content is a given ext4 file system, without what vclaw puts into its own images, so that
cloud-init does its work; the layout is Ubuntu's: GPT, partition 14 for GRUB's
core image, partition 1 for the root file system, last on the disk so that it can grow. Needs
neither root nor loop devices: sfdisk, dd, debugfs and qemu-img work on the plain file. The
programs come from fdisk, e2fsprogs, grub-common, grub-pc-bin and qemu-utils.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

from vclaw.errors import VclawError
from vclaw.proc import need, run

GRUB = Path("/usr/lib/grub/i386-pc")
"""Where grub-pc-bin keeps boot.img and the modules."""

SECTOR = 512
CORE_START, CORE_SECTORS = 2048, 2048
ROOT_START = CORE_START + CORE_SECTORS
BACKUP_GPT_SECTORS = 2048
"""Layout in sectors: 1 MiB for the GPT, 1 MiB for core.img, the root, 1 MiB for the GPT's copy."""

BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
LINUX_FILESYSTEM = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

OURS = (
    "/etc/cloud/cloud-init.disabled",
    "/etc/systemd/network/10-vclaw.network",
    "/etc/systemd/system-generators/cloud-init-generator",
    "/etc/systemd/system/vclaw-seed.service",
    "/etc/systemd/system/multi-user.target.wants/vclaw-seed.service",
)
"""Files of an image that vclaw builds, which no cloud image has."""

MODULES = ("biosdisk", "part_gpt", "ext2", "linux", "normal", "search", "search_label")


def make(root_ext4: Path, out: Path) -> None:
    """Write `out`, a qcow2 whose root partition holds a copy of the raw ext4 file `root_ext4`.

    The file system needs a label and the links /vmlinuz and /initrd.img; it is copied, never
    changed. Raises UsageError where a program is missing, VclawError where one fails.
    """
    label = run([need("e2label", "the test image"), root_ext4]).strip()
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        disk, core, config = (Path(folder, name) for name in ("disk", "core.img", "grub.cfg"))
        config.write_text(grub_cfg(label))
        _make_core(core, label)
        _partition(disk, root_ext4.stat().st_size)
        _copy_with_holes(root_ext4, disk, ROOT_START * SECTOR)
        _edit(disk, config)
        with disk.open("r+b") as file:
            file.write(boot_code((GRUB / "boot.img").read_bytes()))
            file.seek(CORE_START * SECTOR)
            file.write(core_image(core.read_bytes()))
        image = Path(folder, "image.qcow2")
        qemu_img = need("qemu-img", "the test image")
        run([qemu_img, "convert", "-f", "raw", "-O", "qcow2", disk, image])
        image.replace(out)


def grub_cfg(label: str) -> str:
    """GRUB's menu: one entry that boots at once."""
    return f"""\
set timeout=0
menuentry "Linux" {{
    search --no-floppy --label --set=root {label}
    linux /vmlinuz root=LABEL={label} ro console=tty1 console=ttyS0
    initrd /initrd.img
}}
"""


def partition_table(root_bytes: int) -> str:
    """The disk's partitions as a script for sfdisk(8); starts and sizes in sectors."""
    return (
        "label: gpt\n"
        f"14 : start={CORE_START}, size={CORE_SECTORS}, type={BIOS_BOOT}\n"
        f"1 : start={ROOT_START}, size={root_bytes // SECTOR}, type={LINUX_FILESYSTEM}\n"
    )


def boot_code(boot_img: bytes) -> bytes:
    """The MBR's first 440 bytes: boot.img told where core.img starts.

    The address is a little-endian u64 at 0x5c (GRUB_BOOT_MACHINE_KERNEL_SECTOR); the MBR's
    own partition table follows the 440 bytes and stays sfdisk's.
    """
    code = bytearray(boot_img[:440])
    struct.pack_into("<Q", code, 0x5C, CORE_START)
    return bytes(code)


def core_image(core: bytes) -> bytes:
    """core.img told where the rest of itself lies.

    Its first sector (diskboot.img) ends with a list of blocks to load, of which one is used:
    u64 first sector, u16 number of sectors, u16 real-mode segment to load them at, which is
    GRUB_BOOT_MACHINE_KERNEL_SEG (0x800) and one sector.
    """
    if len(core) > CORE_SECTORS * SECTOR:
        raise VclawError(f"core.img has {len(core)} bytes and does not fit.", "Use fewer modules.")
    image = bytearray(core)
    rest = -(-len(core) // SECTOR) - 1
    struct.pack_into("<QHH", image, 0x1F4, CORE_START + 1, rest, 0x820)
    return bytes(image)


def _make_core(core: Path, label: str) -> None:
    early = core.with_name("early.cfg")
    early.write_text(
        f"search --no-floppy --label --set=root {label}\nset prefix=($root)/boot/grub\n"
    )
    grub_mkimage = need("grub-mkimage", "the test image")
    files: list[str | Path] = ["-d", GRUB, "-o", core, "-c", early, "-p", "/boot/grub"]
    run([grub_mkimage, "-O", "i386-pc", *files, *MODULES])


def _copy_with_holes(source: Path, disk: Path, offset: int) -> None:
    files = [f"if={source}", f"of={disk}", f"seek={offset}"]
    run(["dd", *files, "oflag=seek_bytes", "bs=1M", "conv=notrunc,sparse"])


def _partition(disk: Path, root_bytes: int) -> None:
    with disk.open("wb") as file:
        file.truncate((ROOT_START + BACKUP_GPT_SECTORS) * SECTOR + root_bytes)
    sfdisk = need("sfdisk", "the test image")
    script = partition_table(root_bytes).encode()
    subprocess.run([sfdisk, "--quiet", disk], input=script, check=True, capture_output=True)


def _edit(disk: Path, config: Path) -> None:
    """Write /boot/grub/grub.cfg and remove OURS; debugfs reports no failure, so it is read back."""
    debugfs = need("debugfs", "the test image")
    filesystem = f"{disk}?offset={ROOT_START * SECTOR}"
    commands = config.with_name("commands")
    # /dev is for a file system packed without it: the initrd mounts the root read-only, and
    # could not make the folder that it moves /dev to.
    steps = ["mkdir /dev", "mkdir /boot/grub", *(f"rm {path}" for path in OURS)]
    steps += ["cd /boot/grub", f"write {config} grub.cfg"]
    commands.write_text("".join(f"{step}\n" for step in steps))
    log = run([debugfs, "-w", "-f", commands, filesystem])
    if config.read_text() not in run([debugfs, "-R", "cat /boot/grub/grub.cfg", filesystem]):
        raise VclawError("debugfs did not write grub.cfg.", log)
    for path in OURS:
        if "Type:" in run([debugfs, "-R", f"stat {path}", filesystem]):
            raise VclawError(f"debugfs did not remove {path}.", log)
