"""What is closed to a claw and what is not, decided without a network."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from tests.unit import golden
from vclaw.model import INTERNET, NONE
from vclaw.wall import network

GOLDEN = Path(__file__).with_name("golden")

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
{}
"""
DEFAULT = "eth0\t00000000\t010200C0\t{}\t0\t0\t0\t{}\t0\t0\t0"


@pytest.mark.parametrize("mode", [INTERNET, NONE])
def test_the_rules_are_the_golden_ones(mode: str) -> None:
    golden.check(network.rules(mode, ["192.0.2.0/24"]), GOLDEN / f"{mode}.nft")


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "127.0.0.53", "0.0.0.0", "224.0.0.251", "255.255.255.255"),
    ],
)
def test_an_address_that_is_not_the_internets_is_closed(address: str) -> None:
    networks = [ipaddress.ip_network(text) for text in network.CLOSED]
    assert any(ipaddress.ip_address(address) in item for item in networks)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "9.9.9.9"])
def test_the_internet_is_open(address: str) -> None:
    networks = [ipaddress.ip_network(text) for text in network.CLOSED]
    assert not any(ipaddress.ip_address(address) in item for item in networks)


def test_the_hosts_networks_are_those_of_its_interfaces() -> None:
    pairs = [
        ("192.0.2.7", "255.255.255.0"),
        ("192.0.2.8", "255.255.255.0"),
        ("198.51.100.9", None),
        ("203.0.113.5", "0.0.0.0"),
    ]
    assert network.host_networks(pairs) == ["192.0.2.0/24", "198.51.100.9/32", "203.0.113.5/32"]


def test_pasta_opens_the_allowed_ports_of_the_host_and_no_others() -> None:
    words = network.pasta(Path("/usr/bin/pasta"), "/proc/7/ns/net", (11434, 8000))
    golden.check("\n".join(words) + "\n", GOLDEN / "pasta.txt")
    none = network.pasta(Path("/usr/bin/pasta"), "/proc/7/ns/net", ())
    assert none[none.index("--tcp-ns") + 1] == "none"


@pytest.mark.parametrize(
    ("mode", "allowed", "needed"),
    [(INTERNET, (), True), (NONE, (), False), (NONE, (11434,), True)],
)
def test_pasta_runs_only_where_something_is_to_be_reached(
    mode: str, allowed: tuple[int, ...], needed: bool
) -> None:
    assert network.needs_pasta(mode, allowed) is needed


@pytest.mark.parametrize(
    ("row", "there"),
    [
        (DEFAULT.format("0003", "00000000"), True),
        (DEFAULT.format("0002", "00000000"), False),
        (DEFAULT.format("0003", "00000080"), False),
        ("", False),
    ],
    ids=["up", "down", "half of the world", "none"],
)
def test_a_default_route_is_found_in_the_kernels_table(row: str, there: bool) -> None:
    assert network.has_default_route(ROUTES.format(row)) is there
