"""What was heard and tried on the wire: raw frames -> VRRP advertisements, and what got through.

VRRP by RFC 3768 (version 2), RFC 5798 and RFC 9568 (version 3). Nobody on the segment is trusted:
any bytes are either an advertisement, with its flaws noted, or None.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

VRRP = 112  # IP protocol number
MULTICAST = (IPv4Address("224.0.0.18"), IPv6Address("ff02::12"))
ALL_HOPS = 255  # anything less has been through a router (RFC 9568, section 5.1.1.3)

# What our own probes carry where an advertisement has its addresses (node/passage.py).
PROBE_MARK = b"kubeha"

_AUTHENTICATION_HEADER = 51
_ADVERTISEMENT = 1
_ETHERNET = 14
_HEADER = struct.Struct("!BBBBHH")  # version and type, VRID, priority, count, interval, checksum
_V2_INTERVAL_BITS, _V3_INTERVAL_BITS = 0x00FF, 0x0FFF


@dataclass(frozen=True)
class Advert:
    """One virtual router's advertisement, as heard on one interface of one node.

    `mac` is the sender's on the segment, `interval` is in seconds, `count` how often the same one
    was heard. `flaws`: what makes receivers drop it, in words; empty for a valid one.
    """

    interface: str
    mac: str
    source: Address
    destination: Address
    version: int
    vrid: int
    priority: int
    interval: float
    addresses: tuple[Address, ...]
    authenticated: bool = False
    flaws: tuple[str, ...] = ()
    count: int = 1

    @property
    def multicast(self) -> bool:
        return self.destination in MULTICAST


@dataclass(frozen=True)
class Passage:
    """Which VRRP probes of one node arrived at another; `mtu` is the sender's, in bytes.

    `large` fills the MTU, `small` is an ordinary advertisement. None: it could not be tried, and
    `reason` says why.
    """

    small: bool | None
    large: bool | None
    mtu: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Connection:
    """A TCP connection from a load balancer node to an API server.

    `outcome`: connected, refused, timeout, unreachable or error; `words` is the kernel's message.
    """

    outcome: str
    words: str = ""

    @property
    def blocked(self) -> bool:
        return self.outcome in ("timeout", "unreachable", "error")


def advert(interface: str, frame: bytes, count: int = 1) -> Advert | None:
    """Decode an Ethernet frame; None if it holds no VRRP advertisement."""
    kind = frame[12:14]
    packet = frame[_ETHERNET:]
    mac = ":".join(f"{byte:02x}" for byte in frame[6:12])
    if kind == b"\x08\x00":
        found = _ipv4(packet)
    elif kind == b"\x86\xdd":
        found = _ipv6(packet)
    else:
        return None
    return _advert(interface, mac, found, count) if found else None


@dataclass(frozen=True)
class _Message:
    """A VRRP message and what its IP header says of it."""

    source: Address
    destination: Address
    hops: int
    body: bytes


def _ipv4(packet: bytes) -> _Message | None:
    """Without its IPv4 header, and without the authentication header of keepalived's `AH`."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    head, total = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4], "big")
    protocol, body = packet[9], packet[head:total]
    if head < 20 or int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return None
    if protocol == _AUTHENTICATION_HEADER and len(body) >= 2:
        protocol, body = body[0], body[(body[1] + 2) * 4 :]
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    return _Message(source, destination, packet[8], body) if protocol == VRRP else None


def _ipv6(packet: bytes) -> _Message | None:
    if len(packet) < 40 or packet[0] >> 4 != 6 or packet[6] != VRRP:
        return None
    body = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    return _Message(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), packet[7], body)


def _advert(interface: str, mac: str, message: _Message, count: int) -> Advert | None:
    if len(message.body) < _HEADER.size:
        return None
    first, vrid, priority, number, interval, _ = _HEADER.unpack_from(message.body)
    version, kind = first >> 4, first & 0x0F
    if version not in (2, 3) or kind != _ADVERTISEMENT:
        return None
    size = message.source.max_prefixlen // 8
    raw = message.body[_HEADER.size : _HEADER.size + number * size]
    whole = [raw[at : at + size] for at in range(0, len(raw) - size + 1, size)]
    seconds = (
        float(interval & _V2_INTERVAL_BITS) if version == 2
        else (interval & _V3_INTERVAL_BITS) / 100
    )  # fmt: skip
    return Advert(
        interface, mac, message.source, message.destination, version, vrid, priority, seconds,
        tuple(ip_address(each) for each in whole),
        authenticated=version == 2 and interval >> 8 != 0,
        flaws=tuple(_flaws(message, version, complete=len(whole) == number)),
        count=count,
    )  # fmt: skip


def _flaws(message: _Message, version: int, *, complete: bool) -> list[str]:
    found = []
    if message.hops != ALL_HOPS:
        found.append(f"its TTL is {message.hops}, not {ALL_HOPS}")
    if not complete:
        found.append("it is cut off")
    elif not _checksum_holds(message, version):
        found.append("its checksum is wrong")
    return found


def _checksum_holds(message: _Message, version: int) -> bool:
    """Over the message alone in version 2; in version 3 with a pseudo-header for IPv6.

    For IPv4 in version 3 RFC 5798 can be read both ways, RFC 9568 (5.2.8) leaves the pseudo-header
    away, and keepalived sends it: either is right.
    """
    plain = checksum(message.body) == 0
    if version == 2:
        return plain
    with_head = checksum(pseudo_header(message) + message.body) == 0
    return with_head or (plain and isinstance(message.source, IPv4Address))


def pseudo_header(message: _Message) -> bytes:
    """RFC 8200, section 8.1; RFC 9293, section 3.1 for IPv4."""
    ends = message.source.packed + message.destination.packed
    if isinstance(message.source, IPv6Address):
        return ends + struct.pack("!IxxxB", len(message.body), VRRP)
    return ends + struct.pack("!xBH", VRRP, len(message.body))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071); 0 over data that contains its own."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_adverts(answer: Mapping[str, object]) -> tuple[Advert, ...]:
    """What node/listen.py has heard, without what is no advertisement or is a probe of ours."""
    rows = answer.get("frames")
    found = (
        advert(str(row["interface"]), bytes.fromhex(row["frame"]), int(row["count"]))
        for row in (rows if isinstance(rows, list) else ())
    )
    return tuple(each for each in found if each is not None and not _is_probe(each))


def _is_probe(one: Advert) -> bool:
    return b"".join(each.packed for each in one.addresses).startswith(PROBE_MARK)
