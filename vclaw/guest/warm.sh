#!/bin/sh
# Reads the files that a gateway start opens into the page cache, once per boot.
# VCLAW_WARM is set where the guest is emulated: there a cold start misses OpenClaw's own
# five-second limit for its worker; with hardware acceleration the reading would only delay.
set -eu
[ "${VCLAW_WARM:-0}" = 1 ] || exit 0
stamp=/run/vclaw-warm/done
[ ! -e "$stamp" ] || exit 0
cd /opt/openclaw
# First what a start opens, in the order in which the disk holds it; then the rest, node itself
# included: what is read later waits for an emulated disk and unpacks whole blocks for a few bytes.
xargs -d '\n' cat <warm.list >/dev/null
find . -type f -exec cat {} + >/dev/null
touch "$stamp"
