#!/bin/sh
# Runs OpenClaw's command line as the gateway runs: same user, environment and state.
# Started by root, since the environment holds secrets and only root may read its file. The file
# is quoted for systemd in a way that a shell reads the same (see quote() in apply.py).
set -eu
unset SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID
set -a
. /run/vclaw/openclaw.env
set +a
exec setpriv --reuid=claw --regid=claw --init-groups /opt/openclaw/bin/openclaw "$@"
