"""Batches of nfnetlink(7) for nf_tables: what keeps this node's own advertisements back.

The rule drops nothing but for as long as the set has an element, and the kernel itself takes that
out again: a guard that dies leaves nothing behind that drops anything. As nft(8) would write it:

    table inet kubeha_guard {
        set hushed { type inet_proto; flags timeout; elements = { vrrp timeout 300ms }; }
        chain output {
            type filter hook output priority filter; policy accept;
            meta l4proto @hushed @th,8,8 VRID drop
        }
    }

Constants are those of linux/netfilter/nf_tables.h. A batch is carried out whole or not at all.
"""

import struct
from typing import List

from kubeha.node.guard.frames import VRRP
from kubeha.node.guard.netlink import messages

HUSH_TABLE = "kubeha_guard"

_NF_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWSETELEM = 0, 2, 3, 6, 9, 12
_REQUEST, _CREATE, _APPEND = 0x1, 0x400, 0x800  # NLM_F_...
_NFPROTO_INET = 1
_REGISTER = 1  # NFT_REG_1


def hushing(vrid: int, milliseconds: int) -> bytes:
    """The table in place of one that was left, if any; without an element for 0 milliseconds."""
    element = [_element(milliseconds)] if milliseconds else []
    return _batch(*_no_table(), _table(_NEWTABLE), _set(), _chain(), _rule(vrid), *element)


def no_longer_hushing() -> bytes:
    """No error where the table is not there."""
    return _batch(*_no_table())


def refused(data: bytes) -> int:
    """The error number in what the kernel has answered, or 0."""
    answers = [content for kind, content in messages(data) if kind == 2]  # NLMSG_ERROR
    numbers = [-struct.unpack_from("=i", content)[0] for content in answers]
    return next((number for number in numbers if number), 0)


def _no_table() -> List[bytes]:
    """What is not there cannot be deleted; so it is made first, which is nothing if it is there."""
    return [_table(_NEWTABLE), _table(_DELTABLE)]


def _table(kind: int) -> bytes:
    return _message(kind, _named(1, HUSH_TABLE))


def _set() -> bytes:
    """Of protocol numbers; its elements have an end."""
    return _message(
        _NEWSET,
        _named(1, HUSH_TABLE),
        _named(2, "hushed"),
        _number(3, 0x10),  # NFT_SET_TIMEOUT
        _number(4, 12),  # what nft(8) is to show: inet_proto
        _number(5, 1),  # length of a key
        _number(10, 1),  # an id within this batch
    )


def _element(milliseconds: int) -> bytes:
    key = _nested(1, _attribute(1, struct.pack("B", VRRP)))
    timeout = _attribute(4, struct.pack("!Q", milliseconds))
    elements = _nested(3, _nested(1, key, timeout))
    return _message(_NEWSETELEM, _named(1, HUSH_TABLE), _named(2, "hushed"), elements)


def _chain() -> bytes:
    hook = _nested(4, _number(1, 3), _number(2, 0))  # NF_INET_LOCAL_OUT, priority filter
    accept = _number(5, 1)
    names = _named(1, HUSH_TABLE), _named(3, "output")
    return _message(_NEWCHAIN, *names, hook, accept, _named(7, "filter"))


def _rule(vrid: int) -> bytes:
    """The VRID is the second byte of a VRRP packet, behind whatever IP header."""
    expressions = _nested(
        4,
        _expression("meta", _number(1, _REGISTER), _number(2, 16)),  # NFT_META_L4PROTO
        _expression("lookup", _named(1, "hushed"), _number(2, _REGISTER)),
        _expression(
            "payload",
            _number(1, _REGISTER),
            _number(2, 2),  # NFT_PAYLOAD_TRANSPORT_HEADER
            _number(3, 1),
            _number(4, 1),
        ),
        _expression(
            "cmp",
            _number(1, _REGISTER),
            _number(2, 0),  # NFT_CMP_EQ
            _nested(3, _attribute(1, struct.pack("B", vrid))),
        ),
        _expression("immediate", _number(1, 0), _nested(2, _nested(2, _number(1, 0)))),  # NF_DROP
    )
    return _message(_NEWRULE, _named(1, HUSH_TABLE), _named(2, "output"), expressions)


def _expression(name: str, *data: bytes) -> bytes:
    return _nested(1, _named(1, name), _nested(2, *data))


def _batch(*parts: bytes) -> bytes:
    begin, end = (_packed(kind, 0, 0, _NF_TABLES, b"") for kind in (_BATCH_BEGIN, _BATCH_END))
    return begin + b"".join(parts) + end


def _message(kind: int, *content: bytes) -> bytes:
    flags = {_DELTABLE: 0, _NEWRULE: _CREATE | _APPEND}.get(kind, _CREATE)
    return _packed(_NF_TABLES << 8 | kind, flags, _NFPROTO_INET, 0, b"".join(content))


def _packed(kind: int, flags: int, family: int, resource: int, content: bytes) -> bytes:
    head = struct.pack("=IHHII", 20 + len(content), kind, _REQUEST | flags, 0, 0)
    return head + struct.pack("!BBH", family, 0, resource) + content


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(0x8000 | kind, b"".join(attributes))  # NLA_F_NESTED


def _named(kind: int, name: str) -> bytes:
    return _attribute(kind, name.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
