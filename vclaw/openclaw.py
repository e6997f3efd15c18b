"""The part of OpenClaw's configuration that vclaw decides.

Keys as in OpenClaw's configuration reference (openclaw.json); an unknown key makes the gateway
exit with 78, so every key here was run.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from typing import Any

    from vclaw.model import ClawSpec

STATE_DIR = "/var/lib/openclaw"
"""OpenClaw's state folder in the guest; on the host it is the claw's `state`."""

WORKSPACE_DIR = "/workspace"
"""The user's project in the guest."""

CONTROL_UI_DIR = "/opt/openclaw/lib/openclaw/node_modules/openclaw/dist/control-ui"
"""The Control UI's files on the runtime disk."""


def config(spec: ClawSpec) -> dict[str, Any]:
    """openclaw.json's settings for a claw."""
    from vclaw import llm
    from vclaw.model import GATEWAY_GUEST_PORT

    return {
        "gateway": {
            "mode": "local",
            "port": GATEWAY_GUEST_PORT,
            # QEMU's forwards arrive at the guest's network address, not at its loopback.
            "bind": "lan",
            "auth": {"mode": "token"},
            # The Control UI is opened at the host's port, which the guest cannot guess.
            "controlUi": {
                "allowedOrigins": [
                    f"http://127.0.0.1:{spec.gateway_port}",
                    f"http://localhost:{spec.gateway_port}",
                ],
                # Named, the folder is served as it is. Otherwise a start copies its 54 MB into the
                # state folder; an emulated gateway is busy with that for minutes after it is
                # ready, and no suspension is granted meanwhile.
                "root": CONTROL_UI_DIR,
            },
        },
        "agents": {
            "defaults": {
                # OpenClaw's own notes stay in its state; its tools work in the project.
                "workspace": f"{STATE_DIR}/workspace",
                "cwd": WORKSPACE_DIR,
                "skipBootstrap": True,
                "heartbeat": {"every": "0m"},
                **llm.agent_settings(spec.model),
            }
        },
        # The only way to the calls behind suspend and resume for a client that is not on the
        # guest's own loopback: HTTP, with the gateway's token.
        "plugins": {"entries": {"admin-http-rpc": {"enabled": True}}},
        "models": {
            "catalogRefresh": {"enabled": False},
            **llm.provider_settings(spec.model, spec.model_base_url),
        },
        "update": {"checkOnStart": False},
        "telemetry": {"enabled": False},
        "discovery": {"mdns": {"mode": "off"}},
    }


def url(gateway_port: int, token: str = "") -> str:
    """The Control UI's address; with a token it signs the browser in."""
    return f"http://127.0.0.1:{gateway_port}/" + (f"#token={token}" if token else "")
