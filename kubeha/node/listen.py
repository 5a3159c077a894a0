"""Listen for VRRP on every Ethernet interface: raw frames, for the operator's side to decode.

Only listens, but for joining the groups 224.0.0.18 and ff02::12, so that network cards and
switches that look at IGMP or MLD pass the advertisements on. The kernel filters: a busy machine's
other traffic never reaches this program. No promiscuous mode: multicast comes to everybody in the
group, and unicast advertisements of other clusters are nobody's business.
"""

import binascii
import ctypes
import select
import socket
import struct
import time
from typing import Any, Dict, List, Tuple

from kubeha.node.wire import Refused, Wire

_ETHERTYPES = {0x0800: 23, 0x86DD: 20}  # where the IP protocol is in a frame of this type
_VRRP, _AUTHENTICATION_HEADER = 112, 51
_PROTOCOLS = (bytes([_VRRP]), bytes([_AUTHENTICATION_HEADER]))
_ETHERNET = 1  # ARPHRD_ETHER
_OUTGOING = 4  # PACKET_OUTGOING of packet(7)
_SO_ATTACH_FILTER = 26
_LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x15, 0x06  # of linux/bpf_common.h
_SNAP = 1514
_LATEST = 0.5  # how long what came in time may take to be read, in seconds
_ALL_VRRP_ROUTERS = (
    (socket.AF_INET, b"\xe0\x00\x00\x12"),
    (socket.AF_INET6, b"\xff\x02" + b"\0" * 13 + b"\x12"),
)

Key = Tuple[str, bytes]


def listen(wire: Wire, seconds: float, most: int) -> Dict[str, Any]:
    """What was heard in `seconds`: at most `most` different frames, and how often each.

    {"frames": [{"interface", "frame" (hex, up to 1,514 bytes), "count"}], "left_out": number of
    frames that were heard but are not among them}.
    """
    heard = {}  # type: Dict[Key, List[Any]]
    left_out = 0
    deadline = time.monotonic() + seconds
    sockets = []  # type: List[socket.socket]
    members = []  # type: List[socket.socket]
    try:
        sockets = [_tap(ethertype) for ethertype in _ETHERTYPES]
        members = _join_everywhere()
        while not wire.gone.is_set():
            left = deadline - time.monotonic()
            ready = select.select(sockets, [], [], max(0, min(left, 0.5)))[0]
            # What came in time is read even by a busy machine that wakes up late.
            if left <= 0 and not ready or left <= -_LATEST:
                break
            left_out += sum(_take(each, heard, most) for each in ready)
    except OSError as error:
        words = "cannot listen on the wire: %s" % (error.strerror or error)
        raise Refused("listen", words) from error
    finally:
        for each in (*sockets, *members):
            each.close()
    return {"frames": [_row(key, seen) for key, seen in heard.items()], "left_out": left_out}


def _tap(ethertype: int) -> socket.socket:
    """A packet socket for VRRP in frames of one type, on all interfaces.

    For one type rather than to all: then a frame with a VLAN tag is given to the interface of
    that VLAN only, and one that comes in through a bridge only to the bridge.
    """
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    try:
        _attach(tap, _program(_ETHERTYPES[ethertype]))
    except BaseException:
        tap.close()
        raise
    return tap


def _program(offset: int) -> bytes:
    """BPF: frames whose IP protocol is VRRP, or AH, as of keepalived's `auth_type AH`."""
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD_BYTE, 0, 0, offset),
            (_JUMP_IF_EQUAL, 1, 0, _VRRP),
            (_JUMP_IF_EQUAL, 0, 1, _AUTHENTICATION_HEADER),
            (_RETURN, 0, 0, 0xFFFF),
            (_RETURN, 0, 0, 0),
        )
    )


def _attach(tap: socket.socket, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count and a pointer, padded as the C compiler does.
    fprog = struct.pack("HL", len(program) // 8, ctypes.addressof(code))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _join_everywhere() -> List[socket.socket]:
    """Join both groups on every interface that can: a member each, to be closed at the end."""
    joined = []
    for index, _ in socket.if_nameindex():
        for family, group in _ALL_VRRP_ROUTERS:
            try:
                joined.append(_join(family, group, index))
            except OSError:
                continue  # down, or without this family: nothing would be heard there either
    return joined


def _join(family: int, group: bytes, index: int) -> socket.socket:
    member = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET:
            request = struct.pack("=4s4si", group, b"\0" * 4, index)  # struct ip_mreqn
            member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = struct.pack("=16si", group, index)  # struct ipv6_mreq
            member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    except BaseException:
        member.close()
        raise
    return member


def _take(tap: socket.socket, heard: Dict[Key, List[Any]], most: int) -> int:
    """Read one frame into `heard`; 1 if there was no more room for it."""
    frame, (interface, _, packet_type, hardware, _) = tap.recvfrom(65536)
    if hardware != _ETHERNET or packet_type == _OUTGOING or not is_vrrp(frame):
        return 0
    key = (interface, without_counters(frame))
    if key in heard:
        heard[key][1] += 1
    elif len(heard) < most:
        heard[key] = [frame[:_SNAP], 1]
    else:
        return 1
    return 0


def is_vrrp(frame: bytes) -> bool:
    """What the filter lets through; some frames may have come before it was in place."""
    offset = _ETHERTYPES.get(struct.unpack("!H", frame[12:14])[0]) if len(frame) > 14 else None
    return offset is not None and frame[offset : offset + 1] in _PROTOCOLS


def without_counters(frame: bytes) -> bytes:
    """The frame without what differs in each of a sender's advertisements.

    That is the identification and the header checksum of IPv4, and the sequence number and the
    digest of an authentication header.
    """
    if frame[12:14] != b"\x08\x00":
        return frame
    head = 14 + (frame[14] & 0x0F) * 4 if len(frame) > 14 else 14
    body = frame[head:]
    if frame[23:24] == bytes([_AUTHENTICATION_HEADER]) and len(body) >= 2:
        body = body[(body[1] + 2) * 4 :]
    return frame[:18] + frame[20:24] + frame[26:head] + body


def _row(key: Key, seen: List[Any]) -> Dict[str, Any]:
    frame, count = seen
    return {"interface": key[0], "frame": binascii.hexlify(frame).decode(), "count": count}
