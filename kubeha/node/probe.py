"""Ask the wire who has an address: ARP for IPv4 (RFC 826, 5227), NDP for IPv6 (RFC 4861).

Every answer counts: two different MAC addresses mean two holders. A machine does not answer
itself, so whoever holds the address is never seen from its own probe.
"""

import os
import select
import socket
import struct
import time
from typing import Callable, Container, Dict, List, Optional, Set, Tuple

from kubeha.node.wire import Refused, Wire

_ETH_ALEN = 6
_ETHERTYPE_ARP = 0x0806
_ARP_REQUEST, _ARP_REPLY = 1, 2
_OUTGOING = 4  # PACKET_OUTGOING of packet(7)
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")

_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136
_SOURCE_ADDRESS, _TARGET_ADDRESS = 1, 2
_LATEST = 0.5  # how long what came in time may take to be read, in seconds
_ALL_HOPS = 255  # RFC 4861 section 7.1: anything less has been through a router.

Wanted = Dict[bytes, str]  # packed address -> as it was asked for
Answer = Tuple[bytes, bytes]  # packed address, MAC
Found = Dict[bytes, Set[str]]


def probe(
    wire: Wire, interface: str, address: str, count: int, timeout: float, sender: Optional[str]
) -> List[str]:
    """MAC addresses that answer for `address` on `interface`, sorted.

    `count` questions, spread over `timeout` seconds. `sender` is the IPv4 address to ask as;
    without one the question is a probe from 0.0.0.0, which changes nobody's ARP cache (RFC 5227).
    """
    return ask(wire, interface, [address], count, timeout, sender)[address]


def ask(
    wire: Wire,
    interface: str,
    addresses: List[str],
    count: int,
    timeout: float,
    sender: Optional[str] = None,
) -> Dict[str, List[str]]:
    """The same for many addresses of one family at once: address -> MAC addresses."""
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    wanted = {socket.inet_pton(family, address): address for address in addresses}
    try:
        if family == socket.AF_INET6:
            found = _neighbours(wire, interface, wanted, count, timeout)
        else:
            found = _arp(wire, interface, wanted, count, timeout, sender or "0.0.0.0")
    except OSError as error:
        raise Refused("probe", "%s: %s" % (interface, error.strerror or error)) from error
    return {name: sorted(found.get(address, ())) for address, name in wanted.items()}


def _arp(
    wire: Wire, interface: str, wanted: Wanted, count: int, timeout: float, sender: str
) -> Found:
    kind = socket.htons(_ETHERTYPE_ARP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, kind) as asking:
        asking.bind((interface, _ETHERTYPE_ARP))
        mine = asking.getsockname()[4]
        if len(mine) != _ETH_ALEN:
            raise Refused("probe", "%s: not an Ethernet interface" % interface)
        head = _BROADCAST + mine + struct.pack("!H", _ETHERTYPE_ARP)

        def send() -> None:
            for address in wanted:
                asking.send(head + arp_question(mine, sender, address))

        return _ask(wire, asking, send, lambda data: arp_answer(data, wanted), count, timeout)


def arp_question(mac: bytes, sender: str, wanted: bytes) -> bytes:
    """An ARP request; from 0.0.0.0 it is a probe."""
    known = socket.inet_aton(sender)
    return _ARP.pack(1, 0x0800, 6, 4, _ARP_REQUEST, mac, known, b"\0" * 6, wanted)


def arp_answer(frame: bytes, wanted: Container[bytes]) -> Optional[Answer]:
    """Address and MAC of the sender if an Ethernet frame is an ARP reply for a wanted address."""
    if len(frame) < 14 + _ARP.size:
        return None
    fields = _ARP.unpack_from(frame, 14)
    hardware, protocol, _, _, operation, mac, sender = fields[:7]
    if (hardware, protocol, operation) != (1, 0x0800, _ARP_REPLY) or sender not in wanted:
        return None
    return sender, bytes(mac)


def _neighbours(wire: Wire, interface: str, wanted: Wanted, count: int, timeout: float) -> Found:
    index = socket.if_nametoindex(interface)
    mac = _mac_of(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _ALL_HOPS)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _ALL_HOPS)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)

        def send() -> None:
            for address in wanted:
                group = b"\xff\x02" + b"\0" * 9 + b"\x01\xff" + address[13:]
                to = (socket.inet_ntop(socket.AF_INET6, group), 0, 0, index)
                asking.sendto(solicitation(address, mac), to)

        return _ask(wire, asking, send, lambda data: neighbour_answer(data, wanted), count, timeout)


def solicitation(wanted: bytes, mac: bytes) -> bytes:
    """A neighbour solicitation; the kernel fills the checksum in (RFC 3542 section 3.1)."""
    head = struct.pack("!BBHI", _NEIGHBOUR_SOLICITATION, 0, 0, 0)
    return head + wanted + struct.pack("!BB", _SOURCE_ADDRESS, 1) + mac


def neighbour_answer(data: bytes, wanted: Container[bytes]) -> Optional[Answer]:
    """A wanted address and the MAC that a neighbour advertisement gives for it."""
    if len(data) < 24 or data[0] != _NEIGHBOUR_ADVERTISEMENT or data[8:24] not in wanted:
        return None
    options = data[24:]
    while len(options) >= 8 and options[1]:
        if options[0] == _TARGET_ADDRESS:
            return data[8:24], options[2:8]
        options = options[options[1] * 8 :]
    return None


def _ask(
    wire: Wire,
    asking: socket.socket,
    send: Callable[[], None],
    answer: Callable[[bytes], Optional[Answer]],
    count: int,
    timeout: float,
) -> Found:
    """Ask `count` times and gather the answers until `timeout` seconds are over."""
    found = {}  # type: Found
    begin = time.monotonic()
    questions = [begin + timeout * number / count for number in range(count)]
    while not wire.gone.is_set():
        now = time.monotonic()
        if questions and questions[0] <= now:
            send()
            del questions[0]
        until = questions[0] if questions else begin + timeout
        # A busy machine may come here late: what has arrived by then is read all the same.
        if not select.select([asking], [], [], max(0, until - now))[0]:
            if now >= begin + timeout:
                break
            continue
        data, source = asking.recvfrom(2048)
        # A packet socket also sees what this machine sends: its own replies to others.
        if asking.family == socket.AF_PACKET and source[2] == _OUTGOING:
            continue
        heard = answer(data)
        if heard is not None:
            mac = ":".join("%02x" % byte for byte in heard[1])
            found.setdefault(heard[0], set()).add(mac)
        if now >= begin + timeout + _LATEST:
            break
    return found


def _mac_of(interface: str) -> bytes:
    path = os.path.join("/sys/class/net", interface, "address")
    try:
        with open(path) as file:
            return bytes.fromhex(file.read().strip().replace(":", ""))
    except ValueError:
        raise Refused("probe", "%s: not an Ethernet interface" % interface) from None
