"""A VRRP speaker that nobody asked for: `rogue_vrrp.py SECONDS INTERVAL VERSION VRID PRIORITY
SOURCE VIP [DESTINATION...]`.

Advertises a virtual router as its master would (RFC 3768: version 2, RFC 9568: version 3), every
INTERVAL seconds for SECONDS, whatever it hears: by multicast, or to each DESTINATION. Only the
standard library and only this file, started with `python -I -S` in a stranger's network namespace.
"""

import ipaddress
import socket
import struct
import sys
import time
from collections.abc import Mapping

PROTOCOL = 112
GROUP4, GROUP6 = "224.0.0.18", "ff02::12"
INTERFACE = "eth0"


def advertisement(version: int, vrid: int, priority: int, interval: float, vip: str) -> bytes:
    """An advertisement whose checksum is 0 yet. `interval`: seconds, whole ones in version 2."""
    address = ipaddress.ip_address(vip).packed
    if version == 2:
        # Authentication type 0, and 8 bytes of authentication data.
        head = struct.pack("!BBBBBBH", 0x21, vrid, priority, 1, 0, round(interval), 0)
        return head + address + bytes(8)
    centiseconds = round(interval * 100)
    return struct.pack("!BBBBHH", 0x31, vrid, priority, 1, centiseconds, 0) + address


def with_checksum(packet: bytes, pseudo_header: bytes = b"") -> bytes:
    """The packet with its Internet checksum (RFC 1071), over a pseudo header in version 3."""
    data = pseudo_header + packet
    words = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:6] + struct.pack("!H", ~total & 0xFFFF) + packet[8:]


def pseudo_header(source: str, destination: str, length: int) -> bytes:
    """What version 3 over IPv4 has in its checksum besides the packet (RFC 9568, 5.2.8)."""
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return addresses + struct.pack("!BBH", 0, PROTOCOL, length)


def sender4(source: str) -> socket.socket:
    """A socket that sends as VRRP wants it: with TTL 255, from this address."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    raw.bind((source, 0))
    return raw


def sender6(source: str) -> socket.socket:
    """The same over IPv6, from a link-local address; the kernel makes the checksum."""
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, PROTOCOL)
    index = socket.if_nametoindex(INTERFACE)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
    raw.bind((source, 0, 0, index))
    return raw


def speak(
    raw: socket.socket, packets: Mapping[str, bytes], interval: float, seconds: float
) -> None:
    """Send each its packet until the time is over; a moment without a link is no reason to end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for destination, packet in packets.items():
            try:
                raw.sendto(packet, (destination, 0))
            except OSError as error:
                print(error, file=sys.stderr, flush=True)
        time.sleep(interval)


def main(arguments: list[str]) -> int:
    seconds, interval = float(arguments[0]), float(arguments[1])
    version, vrid, priority = map(int, arguments[2:5])
    source, vip, *destinations = arguments[5:]
    packet = advertisement(version, vrid, priority, interval, vip)
    if ipaddress.ip_address(vip).version == 6:
        packets = dict.fromkeys(destinations or [GROUP6], packet)
        speak(sender6(source), packets, interval, seconds)
        return 0
    packets = {}
    for each in destinations or [GROUP4]:
        header = pseudo_header(source, each, len(packet)) if version == 3 else b""
        packets[each] = with_checksum(packet, header)
    speak(sender4(source), packets, interval, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
