"""What a claw may reach, as nftables rules and pasta's command line: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from vclaw.model import INTERNET

DNS = "169.254.1.1"
"""A name server's address that means the host's own: pasta answers for it, as podman has it."""

CLOSED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # carriers' NAT, and Tailscale
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, and the clouds' metadata at 169.254.169.254
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Networks that are not the internet, from IANA's special-purpose registry (RFC 6890)."""

SHORTEST_PREFIX = 8
"""An interface with a wider network names no neighbours but the whole world."""


def host_networks(addresses: Iterable[tuple[str, str | None]]) -> list[str]:
    """The networks that this host is part of, from its interfaces' (address, netmask) pairs."""
    found = set()
    for address, mask in addresses:
        network = ipaddress.IPv4Network(f"{address}/{mask or 32}", strict=False)
        if network.prefixlen < SHORTEST_PREFIX:
            network = ipaddress.IPv4Network(address)
        found.add(network)
    return [str(network) for network in sorted(found)]


def rules(network: str, host: Sequence[str]) -> str:
    """The nftables rules of a claw's namespace; `host` are the networks this host is part of.

    The loopback is the namespace's own: what answers there was let in. Whatever is closed is
    refused, not dropped, so that a program in the guest need not wait for it.
    """
    return "\n".join(
        [
            "table inet vclaw {",
            "  set closed {",
            "    type ipv4_addr",
            "    flags interval",
            "    auto-merge",
            f"    elements = {{ {', '.join([*CLOSED, *host])} }}",
            "  }",
            "  chain output {",
            "    type filter hook output priority filter; policy drop",
            '    oifname "lo" accept',
            *([_indented(line) for line in _internet()] if network == INTERNET else []),
            "    meta l4proto tcp reject with tcp reset",
            "    reject with icmpx type admin-prohibited",
            "  }",
            "}",
            "",
        ]
    )


def _internet() -> list[str]:
    return [
        f"ip daddr {DNS} udp dport 53 accept",
        f"ip daddr {DNS} tcp dport 53 accept",
        "meta nfproto ipv4 ip daddr != @closed accept",
    ]


def _indented(line: str) -> str:
    return f"    {line}"


def needs_pasta(network: str, host_ports: Sequence[int]) -> bool:
    """Whether anything beyond the namespace is to be reached at all."""
    return network == INTERNET or bool(host_ports)


def pasta(program: Path, netns: str, host_ports: Sequence[int]) -> list[str]:
    """pasta's command line for the network namespace at the path `netns`.

    The guest's 10.0.2.2 is the namespace's loopback; of it `host_ports` lead to the host's.
    IPv4 alone: QEMU's user network, as it is used here, has nothing else.
    """
    return [
        str(program),
        *("--foreground", "--quiet", "--ipv4-only"),
        *("--config-net", "--no-map-gw"),
        *("--dns-forward", DNS),
        *("--tcp-ports", "none"),
        *("--udp-ports", "none"),
        *("--tcp-ns", ",".join(map(str, host_ports)) or "none"),
        *("--udp-ns", "none"),
        *("--netns", netns),
    ]


def has_default_route(table: str) -> bool:
    """Whether /proc/net/route's text has an IPv4 default route that is up (route(8))."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return any(
        len(row) > 7 and row[1] == "00000000" and row[7] == "00000000" and int(row[3], 16) & 1
        for row in rows
    )
