"""Claims, ARP, neighbour advertisements and VRRP, as they are on the wire."""

import struct
from typing import Optional

from kubeha.node.guard.events import Answer, Claim

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
# IEEE 802: "Local Experimental EtherType 1".
ETHERTYPE_CLAIM = 0x88B5
BROADCAST = b"\xff" * 6
VRRP, ICMPV6 = 112, 58
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_CLAIM = struct.Struct("!4sBBBxI16s16s")
_MAGIC = b"kha1"
_HOLDS, _MUTE, _ASKS = 1, 2, 4


def pack_claim(claim: Claim) -> bytes:
    flags = _HOLDS * claim.holds | _MUTE * claim.mute | _ASKS * claim.asks
    held = min(int(claim.held * 1000), 0xFFFFFFFF)
    vip, address = claim.vip.ljust(16, b"\0"), claim.address.ljust(16, b"\0")
    return _CLAIM.pack(_MAGIC, claim.vrid, flags, claim.rank, held, vip, address)


def unpack_claim(data: bytes, size: int) -> Optional[Claim]:
    """`size`: of the addresses, 4 or 16. None for anything that is no claim."""
    if len(data) < _CLAIM.size or data[:4] != _MAGIC:
        return None
    _, vrid, flags, rank, held, vip, address = _CLAIM.unpack_from(data)
    holds, mute, asks = bool(flags & _HOLDS), bool(flags & _MUTE), bool(flags & _ASKS)
    return Claim(vrid, vip[:size], address[:size], rank, holds, mute, asks, held / 1000)


def arp(operation: int, mac: bytes, sender: bytes, target: bytes) -> bytes:
    return _ARP.pack(1, 0x0800, 6, 4, operation, mac, sender, b"\0" * 6, target)


def arp_sender(data: bytes) -> Optional[Answer]:
    """Who says in this ARP packet which address it has."""
    if len(data) < _ARP.size:
        return None
    hardware, protocol, _, _, _, mac, sender = _ARP.unpack_from(data)[:7]
    if (hardware, protocol) != (1, 0x0800) or sender == b"\0" * 4:
        return None
    return Answer(sender, mac)


def advertised(data: bytes) -> Optional[Answer]:
    """The target of a neighbour advertisement in an IPv6 packet, and the MAC that it gives."""
    if len(data) < 64 or data[6] != ICMPV6 or data[40] != 136 or data[7] != 255:
        return None
    options = data[64:]
    while len(options) >= 8 and options[1]:
        if options[0] == 2:
            return Answer(data[48:64], options[2:8])
        options = options[options[1] * 8 :]
    return None


def advert_vrid(data: bytes, version: int) -> Optional[int]:
    """The VRID of a VRRPv3 advertisement; IPv4 with its header, IPv6 without, as from a socket."""
    if version == 4:
        if len(data) < 20 or data[8] != 255 or data[9] != VRRP:
            return None
        data = data[(data[0] & 15) * 4 :]
    return data[1] if len(data) >= 8 and data[0] == 0x31 else None


def solicitation(address: bytes, mac: bytes) -> bytes:
    """ICMPv6: who has this address?"""
    return struct.pack("!BBHI", 135, 0, 0, 0) + address + b"\x01\x01" + mac


def advertisement(address: bytes, mac: bytes) -> bytes:
    """ICMPv6, unsolicited: this address is mine, whatever your cache says."""
    return struct.pack("!BBHI", 136, 0, 0, 0x20000000) + address + b"\x02\x01" + mac
