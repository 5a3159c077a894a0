"""Addresses and durations as haproxy.cfg writes them (its manual, sections 2.5 and 11)."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,15})(us|ms|s|m|h|d|)")
_FAMILY = re.compile(r"(?:ipv4|ipv6|tcp|tcp4|tcp6|quic4|quic6|udp|udp4|udp6|mptcp|mptcp4|mptcp6)@")
_PORT = re.compile(r"[+-]?[0-9]{1,5}(?:-[0-9]{1,5})?")
Ip = IPv4Address | IPv6Address


def seconds(text: str) -> float | None:
    """What a duration stands for; without a unit it is in milliseconds. None if it is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


@dataclass(frozen=True)
class Address:
    """Where a `bind` listens or a `server` is. All of it may be unknown (a variable, a name)."""

    text: str
    host: str
    ip: Ip | None
    first_port: int | None = None
    last_port: int | None = None
    local: bool = False  # a UNIX socket, a file descriptor: not on any network

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of the machine."""
        return not self.local and (
            self.host in ("", "*") or (self.ip is not None and self.ip.is_unspecified)
        )

    @property
    def loopback(self) -> bool:
        """Whether only the machine itself can reach it."""
        return self.local or self.host == "localhost" or bool(self.ip and self.ip.is_loopback)

    def has_port(self, port: int) -> bool:
        """Whether the port is the address's, or in its range."""
        first, last = self.first_port, self.last_port
        return first is not None and last is not None and first <= port <= last


def address(text: str) -> Address:
    """Read an address with or without a port; never raises."""
    bare = _FAMILY.sub("", text, count=1)
    if bare.startswith("/") or re.match(r"(?:unix|abns|abnsz|fd|sockpair|uxst|rev|rhttp)@", bare):
        return Address(text, bare, None, local=True)
    host, colon, port = bare.rpartition(":")
    if bare.startswith("[") and bare.endswith("]") or not colon:
        host, port = bare, ""
    elif port and not _PORT.fullmatch(port):
        host, port = (bare, "") if _ip(bare) else (host, "")
    first, last = _ports(port)
    return Address(text, host, _ip(host), first, last)


def _ip(host: str) -> Ip | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None


def _ports(text: str) -> tuple[int | None, int | None]:
    """First and last of a range. A port with a sign is an offset: unknown."""
    if not text or text[0] in "+-":
        return None, None
    first, _, last = text.partition("-")
    return int(first), int(last or first)
