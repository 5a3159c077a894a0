"""VRRP frames and what they say, and whose MAC address is whose."""

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import bare, cluster

from kubeha.facts import Unreachable, wire
from kubeha.node.passage import packet
from kubeha.world import World

OF = cluster()
V2 = bytes.fromhex(
    "01005e000012020000590665080045c0002c000e0000ff70afe8c6336465e0000012"
    "2133960201019085c633643cc633643d3131313100000000"
)
V6 = bytes.fromhex(
    "33330000001202000059066586dd6c05db99002870fffe80000000000000000000fffe590665"
    "ff02000000000000000000000000001231357802003225bd"
    "fe80000000000000000000000000005320010db8000000000000000000000060"
)
AH = bytes.fromhex(
    "01005e000012020000590665080045c00040000e0000ff33b011c6336465e0000012"
    "70040000c63364650000000e990968c4a2745e4d8b5750cd"
    "2134650102014d57c633643e0000000000000000"
)
TOKEN = wire.PROBE_MARK + bytes(range(9)) + b"\0"


def heard(frame: bytes) -> wire.Advert:
    found = wire.advert("eth0", frame)
    assert found is not None
    return found


def test_a_frame_of_keepalived() -> None:
    one = heard(V2)
    assert (one.version, one.vrid, one.priority, one.interval) == (2, 51, 150, 1.0)
    assert [str(each) for each in one.addresses] == ["198.51.100.60", "198.51.100.61"]
    assert (str(one.source), one.mac) == ("198.51.100.101", "02:00:00:59:06:65")
    assert one.multicast and one.authenticated and one.flaws == ()


def test_ipv6_and_the_authentication_header() -> None:
    assert (heard(V6).interval, heard(V6).flaws, heard(V6).multicast) == (0.5, (), True)
    assert (heard(AH).vrid, heard(AH).flaws) == (52, ())


@pytest.mark.parametrize("frame", [V2, V6, AH])
def test_a_changed_bit_breaks_the_checksum(frame: bytes) -> None:
    changed = frame[:-1] + bytes([frame[-1] ^ 1])
    assert heard(changed).flaws == ("its checksum is wrong",)


def test_a_frame_that_a_router_has_passed_on() -> None:
    assert heard(V2[:22] + b"\x3f" + V2[23:]).flaws == ("its TTL is 63, not 255",)


def test_version_3_over_ipv4_with_and_without_pseudo_header() -> None:
    """RFC 5798 can be read both ways; RFC 9568 leaves the pseudo-header away."""
    with_head = packet("198.51.100.11", "198.51.100.12", 7, b"\xc6\x33\x64\x3c", 0)
    body = with_head[20:26] + b"\0\0" + with_head[28:]
    without = with_head[:26] + struct.pack("!H", wire.checksum(body)) + with_head[28:]
    assert with_head != without
    for each in (with_head, without):
        assert heard(b"\0" * 12 + b"\x08\0" + each).flaws == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_advertisement_or_none(data: bytes) -> None:
    for kind in (b"\x08\x00", b"\x86\xdd", b""):
        assert isinstance(wire.advert("eth0", data[:12] + kind + data), wire.Advert | None)


@given(st.sampled_from([V2, V6, AH]), st.data())
def test_a_damaged_frame_is_an_advertisement_or_none(frame: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame = frame[:at] + bytes([data.draw(st.integers(0, 255))]) + frame[at + 1 :]
    cut = frame[: data.draw(st.integers(0, len(frame)))]
    assert isinstance(wire.advert("eth0", cut), wire.Advert | None)


@given(st.integers(1, 255), st.sampled_from([0, 1400, 1500, 9000]), st.booleans())
def test_our_probes_are_flawless_advertisements(vrid: int, size: int, six: bool) -> None:
    ends = ("2001:db8::11", "2001:db8::12") if six else ("198.51.100.11", "198.51.100.12")
    made = packet(*ends, vrid, TOKEN, size)
    assert len(made) == max(size, len(TOKEN) + (48 if six else 28))
    one = heard(b"\0" * 12 + (b"\x86\xdd" if six else b"\x08\x00") + made)
    assert (one.flaws, one.vrid, one.priority, one.version) == ((), vrid, 1, 3)
    assert (str(one.source), str(one.destination)) == ends


def test_our_probes_are_not_told() -> None:
    ours = b"\0" * 12 + b"\x08\0" + packet("198.51.100.11", "198.51.100.12", 9, TOKEN, 0)
    rows = [{"interface": "eth0", "frame": f.hex(), "count": 2} for f in (ours, V2, b"nonsense")]
    assert [(one.vrid, one.count) for one in wire.parse_adverts({"frames": rows})] == [(51, 2)]
    assert wire.parse_adverts({}) == ()


def test_whose_mac_address_it_is() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.nodes}
    world = World(OF, nodes)
    assert world.machine_with("02:00:00:00:00:02") == "m2"
    assert world.machine_with("02:00:00:00:00:99") is None
    # Every loopback interface has this one.
    assert world.machine_with("00:00:00:00:00:00") is None


def test_a_node_that_cannot_be_asked_is_known_by_who_answers_for_it() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.nodes}
    silent = World(OF, {**nodes, "m2": Unreachable("m2", "refused")})
    assert silent.macs_of("m2") == frozenset()
    answered = replace(silent, neighbours={"m1": {"198.51.100.12": ("02:00:00:00:00:02",)}})
    assert answered.machine_with("02:00:00:00:00:02") == "m2"


def test_addresses_of_ours() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.nodes}
    ours = World(OF, {**nodes, "m2": Unreachable("m2", "refused")}).addresses_of_ours()
    assert {ip_address("198.51.100.11"), ip_address("198.51.100.12")} <= ours
