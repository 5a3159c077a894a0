"""Messages of rtnetlink(7)."""

import struct
from typing import List, Optional, Tuple

from kubeha.node.guard.events import spelled

NEWADDR, DELADDR, GETADDR, NEWLINK, DELLINK, DONE = 20, 21, 22, 16, 17, 3
LINK_AND_ADDRESSES = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_INET, _INET6 = 2, 10  # AF_INET, AF_INET6


def messages(data: bytes) -> List[Tuple[int, bytes]]:
    """Types and contents of the netlink messages in what a socket gave."""
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            break
        found.append((kind, data[16:length]))
        data = data[(length + 3) & ~3 :]
    return found


def interface_address(content: bytes) -> Tuple[int, bytes]:
    """Interface index and address of an RTM_NEWADDR or RTM_DELADDR."""
    found = dict(attributes(content[8:]))
    address = found.get(2) or found.get(1) or b""  # IFA_LOCAL, IFA_ADDRESS
    return struct.unpack_from("=I", content, 4)[0], address


def attributes(data: bytes) -> List[Tuple[int, bytes]]:
    """Kinds and values of the attributes that follow a message's fixed part."""
    found = []
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found.append((kind, data[4:length]))
        data = data[(length + 3) & ~3 :]
    return found


def link_change(kind: int, content: bytes, index: int, mac: bytes) -> Optional[str]:
    """Why a guard of this interface has to start anew: it is gone, or has another MAC address now.

    A bridge or bond changes its own with its ports; with the old one the guard would poison caches.
    """
    if len(content) < 16 or struct.unpack_from("=i", content, 4)[0] != index:
        return None
    if kind == DELLINK:
        return "is gone"
    now = dict(attributes(content[16:])).get(1, mac)  # IFLA_ADDRESS
    return None if now == mac else "has another MAC address now: %s" % spelled(now)


def address_message(kind: int, flags: int, index: int, address: bytes) -> bytes:
    family = _INET if len(address) == 4 else _INET6
    content = struct.pack("=BBBBI", family, len(address) * 8, 0, 0, index)
    for attribute in (2, 1):
        content += struct.pack("=HH", 4 + len(address), attribute) + address
    return struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content


def addresses_wanted(version: int) -> bytes:
    """Asks for all addresses of the machine: NLM_F_REQUEST | NLM_F_DUMP."""
    content = struct.pack("=BBBBI", _INET if version == 4 else _INET6, 0, 0, 0, 0)
    return struct.pack("=IHHII", 16 + len(content), GETADDR, 0x301, 1, 0) + content
