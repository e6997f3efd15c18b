#!/bin/sh
# Turns the freshly installed packages in "$1" into an image that vclaw can boot.
# Run by mmdebstrap as a customize hook, after the packages are in place.
set -eu
root=$1

# The kernel is booted from outside the disk, so its modules must stay: hold every version.
kernels=$(chroot "$root" dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' \
    'linux-image-*' | sed -n 's/^ii *//p')
chroot "$root" apt-mark hold $kernels >/dev/null

# The file system fills the disk at boot, whatever its size is.
printf 'LABEL=vclaw-root / ext4 defaults,x-systemd.growfs 0 1\n' >"$root/etc/fstab"

# Nobody logs in as root by password; keys alone open the door.
chroot "$root" usermod --password '*' root

# What must differ between two machines is made by each of them.
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" \
    "$root/var/lib/systemd/random-seed"
: >"$root/etc/machine-id"
# sshd has no host key before the seed brings one, and would be started again and again.
mkdir -p "$root/etc/systemd/system/ssh.service.d"
printf '[Unit]\nConditionPathExists=/etc/ssh/ssh_host_ed25519_key\n' \
    >"$root/etc/systemd/system/ssh.service.d/vclaw.conf"
echo vclaw >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vclaw\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

echo 'LANG=C.UTF-8' >"$root/etc/default/locale"

# The seed is an ISO, always: no other data source is worth asking for.
mkdir -p "$root/etc/cloud/cloud.cfg.d"
echo 'datasource_list: [NoCloud, None]' >"$root/etc/cloud/cloud.cfg.d/95-vclaw.cfg"

# Units that cost boot time and serve nothing in such a machine: periodic upkeep, consoles that
# nobody types into, and waiting for a network that the seed does not come from.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer man-db.timer \
    e2scrub_all.timer e2scrub_reap.service getty.target \
    systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
