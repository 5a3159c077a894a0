"""Addresses and listening sockets of a node: raw text -> values."""

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface


@dataclass(frozen=True)
class InterfaceAddress:
    """One address on one interface, with its prefix."""

    interface: str
    address: IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class Link:
    """One network interface. `mac` is empty where it has none, `mtu` is in bytes."""

    name: str
    mac: str
    mtu: int
    up: bool
    ethernet: bool


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket."""

    address: str
    port: int
    program: str


def parse_addresses(text: str) -> tuple[InterfaceAddress, ...] | None:
    """`ip -j address show`: every IPv4 and IPv6 address; None if it is not that JSON."""
    try:
        links = json.loads(text)
        return tuple(
            InterfaceAddress(
                # ip(8) calls a veth "eth0@if5" in text but names the peer apart in JSON.
                link["ifname"],
                ip_interface(f"{address['local']}/{address['prefixlen']}"),
            )
            for link in links
            for address in link.get("addr_info", ())
            if "local" in address
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def parse_links(text: str) -> tuple[Link, ...] | None:
    """`ip -j address show`: every interface, with or without an address; None if it is not that."""
    try:
        return tuple(
            Link(
                name=link["ifname"],
                mac=str(link.get("address", "")).lower(),
                mtu=int(link["mtu"]),
                up="LOWER_UP" in link["flags"],
                ethernet=link.get("link_type") == "ether",
            )
            for link in json.loads(text)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


_LISTENER = re.compile(r'users:\(\("(?P<program>[^"]+)"')


def parse_listeners(text: str) -> tuple[Listener, ...]:
    """`ss -H -l -n -t -p`: state, queues, local address:port, peer, users."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 5 or ":" not in fields[3]:
            continue
        address, _, port = fields[3].rpartition(":")
        if port.isdigit():
            user = _LISTENER.search(line)
            found.append(Listener(address, int(port), user["program"] if user else ""))
    return tuple(found)
