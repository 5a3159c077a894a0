"""What the guard reads from the wire and from netlink: bytes in, values out."""

import socket
import struct

import pytest
from simulated_guards import ADDRESSES, MACS, VIP, claim

from kubeha.node.guard.events import Answer
from kubeha.node.guard.frames import (
    advert_vrid,
    advertised,
    advertisement,
    arp,
    arp_sender,
    pack_claim,
    solicitation,
    unpack_claim,
)
from kubeha.node.guard.netlink import (
    DELADDR,
    DELLINK,
    NEWLINK,
    address_message,
    interface_address,
    link_change,
    messages,
)
from kubeha.node.guard.nfnetlink import hushing, no_longer_hushing, refused


def test_a_claim_survives_the_wire() -> None:
    for said in (claim(1, held=1.5, mute=True), claim(2, holds=False)._replace(asks=True)):
        assert unpack_claim(pack_claim(said) + b"\0" * 10, 4) == said
    assert unpack_claim(b"something else", 4) is None
    assert unpack_claim(b"x" * 60, 4) is None


def test_an_arp_frame_tells_who_has_which_address() -> None:
    assert arp_sender(arp(2, MACS[0], VIP, ADDRESSES[1])) == Answer(VIP, MACS[0])
    assert arp_sender(arp(1, MACS[0], b"\0" * 4, VIP)) is None
    assert arp_sender(b"short") is None


def test_a_recorded_advertisement() -> None:
    """keepalived 2.2.7, unicast, VRID 10, priority 247."""
    packet = bytes.fromhex(
        "45c0002004f00000ff70613fc633640cc633640b310af601000a59b0c633640a"
    )  # fmt: skip
    assert advert_vrid(packet, 4) == 10
    assert advert_vrid(packet[20:], 6) == 10
    assert advert_vrid(packet[:8] + b"\x40" + packet[9:], 4) is None
    assert advert_vrid(b"", 4) is None


def test_a_neighbour_advertisement_tells_the_same() -> None:
    vip = socket.inet_pton(socket.AF_INET6, "2001:db8::10")
    head = struct.pack("!IHBB", 0x60000000, 32, 58, 255) + b"\0" * 32
    body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + vip + b"\x02\x01" + MACS[0]
    assert advertised(head + body) == Answer(vip, MACS[0])
    assert advertised(head + advertisement(vip, MACS[0])) == Answer(vip, MACS[0])
    assert advertised(head + solicitation(vip, MACS[0])) is None
    assert advertised(head[:7] + b"\x40" + head[8:] + body) is None
    assert advertised((head + body)[:70]) is None


def test_a_recorded_change_of_addresses() -> None:
    """RTM_NEWADDR of 198.51.100.10/32 on interface 2, as Linux sends it."""
    content = struct.pack("=BBBBI", 2, 32, 128, 0, 2)
    for kind in (1, 2):
        content += struct.pack("=HH", 8, kind) + VIP
    data = struct.pack("=IHHII", 16 + len(content), 20, 0, 0, 0) + content
    assert messages(data + data) == [(20, content), (20, content)]
    assert interface_address(content) == (2, VIP)
    assert messages(b"\0" * 20) == []


def test_an_address_to_be_removed_is_read_as_it_was_written() -> None:
    ((kind, content),) = messages(address_message(DELADDR, 1, 2, VIP))
    assert (kind, interface_address(content)) == (DELADDR, (2, VIP))


@pytest.mark.parametrize("before", [[], [(3, b"eth0\0"), (4, b"\xdc\x05\0\0")]])
def test_a_card_whose_mac_address_changes_is_noticed(before: list[tuple[int, bytes]]) -> None:
    """RTM_NEWLINK comes for much else, too, and for other interfaces."""
    content = struct.pack("=BBHiII", 0, 0, 1, 2, 0x11043, 0)
    for kind, value in [*before, (1, MACS[0])]:
        content += struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
    assert link_change(NEWLINK, content, 2, MACS[0]) is None
    assert link_change(NEWLINK, content, 3, MACS[1]) is None
    assert link_change(NEWLINK, content[:16], 2, MACS[1]) is None
    told = link_change(NEWLINK, content, 2, MACS[1])
    assert told == "has another MAC address now: 02:00:00:00:00:0b"
    assert link_change(DELLINK, content, 2, MACS[0]) == "is gone"
    assert link_change(DELLINK, content, 3, MACS[0]) is None


def test_a_batch_for_the_packet_filter_is_carried_out_as_a_whole() -> None:
    """What the kernel makes of it: tests/lab/test_guard_kernel.py."""
    for batch in (hushing(10, 300), hushing(10, 0), no_longer_hushing()):
        kinds = [kind for kind, _ in messages(batch)]
        assert (kinds[0], kinds[-1]) == (0x10, 0x11)
        assert {kind >> 8 for kind in kinds[1:-1]} == {10}
        assert sum(16 + len(content) for _, content in messages(batch)) == len(batch)
    assert struct.pack("!Q", 300) in hushing(10, 300)
    assert len(messages(hushing(10, 300))) == len(messages(hushing(10, 0))) + 1


def test_what_the_kernel_answers_to_it() -> None:
    def answer(number: int) -> bytes:
        return struct.pack("=IHHIIi", 36, 2, 0, 0, 0, number) + b"\0" * 16

    assert refused(answer(-2)) == 2
    assert refused(answer(0) + answer(-95)) == 95
    assert refused(answer(0)) == refused(b"") == 0
