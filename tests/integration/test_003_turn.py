"""A turn of the agent and a person's browser, against the very OpenClaw of a claw on this host.

What a claw adds is proven in tests/vm; here it takes a minute, and Ollama's protocol is tried too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import browser, model_server, native_gateway
from tests.support.model_server import ModelServer
from tests.support.native_gateway import NativeGateway
from vclaw import proc, runtime
from vclaw.cli import agent
from vclaw.home import Home
from vclaw.model import ClawSpec, ImageRef, host_arch
from vclaw.progress import Silent

SECONDS = 600.0
"""For one turn on a host that does much else: alone it takes ten."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime disk's files; the disk is built where this user has none yet."""
    home = Home.from_env()
    runtime.build(home, runtime.DEFAULT_VERSION, host_arch(), Silent())
    disk = home.runtime(runtime.key(runtime.DEFAULT_VERSION, host_arch())).disk
    folder = tmp_path_factory.mktemp("unpacked") / "runtime"
    proc.run(["unsquashfs", "-q", "-n", "-d", folder, disk])
    return folder


@pytest.fixture(scope="module", params=["lmstudio", "ollama"])
def gateway(
    request: pytest.FixtureRequest, unpacked: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NativeGateway]:
    """A ready gateway whose model is that of a server on this host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = tmp_path_factory.mktemp("gateway") / "root"
    with ModelServer() as server:
        spec = ClawSpec(
            name="native",
            image=ImageRef("debian", "12", host_arch()),
            openclaw_version=runtime.DEFAULT_VERSION,
            workspace=root / "workspace",
            cpus=1,
            memory_mib=2048,
            disk_gib=1,
            gateway_port=port,
            ssh_port=0,
            model=f"{request.param}/{model_server.MODEL}",
            model_base_url=server.base_url,
        )
        with native_gateway.running(unpacked, root, spec) as made:
            yield made


def test_a_turn_writes_a_file_in_the_workspace(gateway: NativeGateway) -> None:
    message = "please write made.txt: from the model"
    words = ("agent", "--agent", "main", f"--message={message}", "--json")
    done = gateway.openclaw(*words, seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    answer = agent.parse(done.stdout)
    assert answer is not None
    assert agent.text(answer) == model_server.DONE
    assert (gateway.workspace / "made.txt").read_text() == "from the model\n"
    assert [path.name for path in gateway.workspace.iterdir()] == ["made.txt"]


def test_the_browser_gets_an_answer(gateway: NativeGateway) -> None:
    word = f"heron-{gateway.spec.gateway_port}"
    reply = model_server.said(word)
    browser.talk(gateway.url, f"please say {word}", reply, "control-ui-native.png", SECONDS)


def test_the_browser_is_not_let_in_with_a_wrong_token(gateway: NativeGateway) -> None:
    with pytest.raises(AssertionError, match="in vain: the gateway lets the browser in"):
        browser.talk(gateway.url + "x", "hello", "never", "control-ui-native-refused.png", 20)
