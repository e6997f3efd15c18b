"""Ports of the loopback."""

from __future__ import annotations

import socket

import pytest

from vclaw import ports
from vclaw.errors import UsageError


def test_a_listened_port_is_taken_and_then_free_again() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(UsageError, match=f"Port {port}"):
            ports.require_free(port)
    assert ports.is_free(port)
    ports.require_free(port)


def test_a_port_whose_connections_fade_away_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as QEMU does
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the address for a minute
            client.recv(1)
    assert ports.is_free(port)


def test_the_next_free_port_avoids_what_it_shall() -> None:
    first = ports.any_free(())
    found = ports.next_free(first, {first, first + 1})
    assert found > first + 1
    assert ports.is_free(found)


def test_no_port_above_the_last_is_tried() -> None:
    with pytest.raises(UsageError, match="No port from 65535"):
        ports.next_free(65535, {65535})


def test_any_free_port_avoids_what_it_shall() -> None:
    assert ports.any_free(range(1, 40_000)) >= 40_000


def test_a_port_that_an_outgoing_connection_may_get_is_not_chosen() -> None:
    assert all(20_000 <= ports.any_free(()) < 32_768 for _ in range(50))


@pytest.mark.parametrize("text", ["8080:80", "127.0.0.1:8080:80", "localhost:8080:80"])
def test_a_forward_is_parsed(text: str) -> None:
    assert str(ports.forward(text)) == "8080:80"
