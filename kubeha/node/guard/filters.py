"""Classic BPF: what the kernel throws away does not wake the guard (filter.h)."""

import struct
from typing import List, Tuple

from kubeha.node.guard.frames import ETHERTYPE_IPV6, ICMPV6, VRRP

Program = List[Tuple[int, int, int, int]]

_LD_W, _LD_H, _LD_B, _JEQ, _RET = 0x20, 0x28, 0x30, 0x15, 0x06
_PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE
OUTGOING = 4  # PACKET_OUTGOING of packet(7)


def arp_filter(vip: bytes) -> Program:
    """ARP replies, which only come to those who asked, and whatever speaks for the VIP."""
    address = struct.unpack("!I", vip)[0]
    return [
        (_LD_H, 0, 0, 20),
        (_JEQ, 2, 0, 2),
        (_LD_W, 0, 0, 28),
        (_JEQ, 0, 1, address),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]


def advertisement_filter() -> Program:
    return [
        (_LD_B, 0, 0, 20),
        (_JEQ, 0, 3, ICMPV6),
        (_LD_B, 0, 0, 54),
        (_JEQ, 0, 1, 136),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]


def own_vrrp_filter(version: int) -> Program:
    """VRRP packets that this machine sends."""
    return [
        (_LD_W, 0, 0, _PACKET_TYPE),
        (_JEQ, 0, 5, OUTGOING),
        (_LD_H, 0, 0, 12),
        (_JEQ, 0, 3, 0x0800 if version == 4 else ETHERTYPE_IPV6),
        (_LD_B, 0, 0, 23 if version == 4 else 20),
        (_JEQ, 0, 1, VRRP),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]
