#!/bin/sh
# Turns the freshly installed packages in "$1" into an image that vclaw can boot; "$2" is the unit
# that applies a claw's settings.
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

# All that cloud-init does for a claw is here from the beginning: the unit that applies the claw's
# settings, and the network. It takes an emulated guest 25 s, so it is off.
install -m 0644 "$2" "$root/etc/systemd/system/"
printf '[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/10-vclaw.network"
chroot "$root" systemctl --quiet enable "${2##*/}" systemd-networkd.service
touch "$root/etc/cloud/cloud-init.disabled"
# Whoever turns it on: the seed is an ISO, no other data source is worth asking for.
mkdir -p "$root/etc/cloud/cloud.cfg.d"
echo 'datasource_list: [NoCloud, None]' >"$root/etc/cloud/cloud.cfg.d/95-vclaw.cfg"

# What looks at every boot for disks and sleep that such a machine never has, and for cloud-init.
mkdir -p "$root/etc/systemd/system-generators"
for generator in cloud-init-generator systemd-cryptsetup-generator systemd-gpt-auto-generator \
    systemd-hibernate-resume-generator systemd-integritysetup-generator \
    systemd-veritysetup-generator; do
    ln -sf /dev/null "$root/etc/systemd/system-generators/$generator"
done

# Units that cost boot time and serve nothing in such a machine: periodic upkeep, consoles that
# nobody types into, and waiting for a network that the seed does not come from.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer man-db.timer \
    e2scrub_all.timer e2scrub_reap.service getty.target \
    systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
