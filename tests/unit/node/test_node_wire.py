"""What the node program asks, sends and hears on the wire: its pure parts, and real sockets."""

import errno
import os
import socket
import struct
import sys
import threading
import time
from contextlib import closing, suppress
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from test_program import ask

from kubeha.facts.wire import PROBE_MARK
from kubeha.node import connect as connecting
from kubeha.node import listen as listening
from kubeha.node import passage as passages
from kubeha.node import probe
from kubeha.node.wire import Wire

OWN = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("020000000002")
ADDRESS = socket.inet_aton("198.51.100.12")
V2 = bytes.fromhex(
    "01005e000012020000590665080045c0002c000e0000ff70afe8c6336465e0000012"
    "2133960201019085c633643cc633643d3131313100000000"
)


def wire() -> Wire:
    return Wire(BytesIO(), StringIO())  # type: ignore[arg-type]


def test_an_arp_reply_tells_address_and_mac() -> None:
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, OTHER, ADDRESS, OWN, b"\0" * 4)
    frame = OWN + OTHER + b"\x08\x06" + body
    assert probe.arp_answer(frame, {ADDRESS: "m2"}) == (ADDRESS, OTHER)
    assert probe.arp_answer(frame, {}) is None
    assert probe.arp_answer(frame[:30], {ADDRESS: "m2"}) is None
    question = probe.arp_question(OTHER, "198.51.100.12", ADDRESS)
    assert probe.arp_answer(OWN + OTHER + b"\x08\x06" + question, {ADDRESS: "m2"}) is None


def test_a_neighbour_advertisement_tells_address_and_mac() -> None:
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::12")
    told = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + address + b"\x02\x01" + OTHER
    assert probe.neighbour_answer(told, {address: "m2"}) == (address, OTHER)
    assert probe.neighbour_answer(told, {ADDRESS: "m2"}) is None
    assert probe.neighbour_answer(told[:24], {address: "m2"}) is None
    assert probe.neighbour_answer(probe.solicitation(address, OWN), {address: "m2"}) is None


def test_repeated_advertisements_are_one_frame() -> None:
    """Identification and header checksum differ from one to the next."""
    later = V2[:18] + b"\x12\x34" + V2[20:24] + b"\xab\xcd" + V2[26:]
    assert listening.without_counters(later) == listening.without_counters(V2)
    other_priority = V2[:36] + b"\x64" + V2[37:]
    assert listening.without_counters(other_priority) != listening.without_counters(V2)


@pytest.mark.parametrize(
    ("frame", "is_one"),
    [
        (V2, True),
        (V2[:23] + b"\x33" + V2[24:], True),
        (V2[:23] + b"\x06" + V2[24:], False),
        (V2[:12] + b"\x86\xdd" + V2[14:20] + b"\x70" + V2[21:], True),
        (V2[:12] + b"\x08\x06" + V2[14:], False),
        (V2[:13], False),
        (b"", False),
    ],
)
def test_what_is_vrrp(frame: bytes, is_one: bool) -> None:
    assert listening.is_vrrp(frame) is is_one


def test_the_peers_own_mac_is_used_if_it_answers() -> None:
    assert passages._destination("02:00:00:00:00:02", []) == OTHER
    both = ["02:00:00:00:00:01", "02:00:00:00:00:02"]
    assert passages._destination("02:00:00:00:00:02", both) == OTHER
    assert passages._destination("02:00:00:00:00:99", both) == OWN
    assert passages._destination(None, both) == OWN
    assert passages._destination(None, []) is None


def test_a_probe_is_recognised_by_what_it_carries() -> None:
    mark = PROBE_MARK + b"12345678"
    heard: dict[int, set[str]] = {}
    for size, room in ((b"\0", 0), (b"\1", 1500)):
        made = passages.packet("198.51.100.11", "198.51.100.12", 9, mark + b"\7" + size, room)
        passages._note(made, mark, heard)
        # A raw IPv6 socket gives no IP header.
        six = passages.packet("2001:db8::1", "2001:db8::2", 9, mark + b"\5" + size, room)
        passages._note(six[40:], mark, heard)
    passages._note(V2[14:], mark, heard)
    passages._note(made, PROBE_MARK + b"another.", heard)
    passages._note(b"\0" * 28 + mark, mark, heard)
    assert heard == {7: {"small", "large"}, 5: {"small", "large"}}


def test_a_segment_full_of_advertisements_ends_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is always something to read, and the peer's probes never come."""
    monkeypatch.setattr(passages, "_PATIENCE", 0.2)
    monkeypatch.setattr(passages, "_LATEST", 0.1)
    there, here = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.setblocking(False)
    ended = threading.Event()

    def flood() -> None:
        while not ended.wait(0.001):
            with suppress(BlockingIOError):
                there.send(V2[14:])

    missing = passages._Probe(
        {"number": 0, "address": "198.51.100.11"},
        {"number": 1, "address": "198.51.100.12", "interface": "none", "mac": None},
        9,
        (PROBE_MARK + b"12345678").hex(),
        {},
    )
    flooding = threading.Thread(target=flood, daemon=True)
    with closing(there), closing(here):
        flooding.start()
        begin = time.monotonic()
        try:
            heard = passages._exchange(wire(), here, [missing], PROBE_MARK + b"12345678")
        finally:
            ended.set()
            flooding.join()
    assert heard == {} and time.monotonic() - begin < 1.5


def test_connections_that_are_made_refused_and_not_answered() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        with closing(socket.create_server(("127.0.0.1", 0))) as gone:
            free = gone.getsockname()[1]
        found = connecting.connect(
            wire(),
            {
                "there": ["127.0.0.1", server.getsockname()[1]],
                "not there": ["127.0.0.1", free],
                "no such network": ["255.255.255.255", 6443],
            },
            1.0,
        )
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "there": "connected",
        "not there": "refused",
        "no such network": "unreachable",
    }


def test_a_kernel_without_the_family_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ipv6.disable=1."""

    def refuse(family: int, kind: int) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(connecting.socket, "socket", refuse)
    found = connecting.connect(wire(), {"six": ["2001:db8::1", 6443]}, 0.2)
    assert found == {"six": ("error", "Address family not supported by protocol")}


def test_a_server_that_answers_no_handshake_times_out() -> None:
    """Its queue is full: the kernel drops what comes, as a firewall would."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):
            found = connecting.connect(wire(), {"busy": ["127.0.0.1", port]}, 0.6)
    assert found == {"busy": ("timeout", "no answer")}


def test_without_raw_sockets_the_node_refuses_and_says_why(tmp_path: Path) -> None:
    """As a hardened sshd makes it: CAP_NET_RAW is not in the bounding set."""
    python = tmp_path / "python3"
    drop = "setpriv --bounding-set=-net_raw --inh-caps=-net_raw" if os.geteuid() == 0 else ""
    python.write_text(f'#!/bin/sh\nexec {drop} {sys.executable} "$@"\n')
    python.chmod(0o755)
    (answer,) = ask(str(python), {"op": "listen", "seconds": 0.1, "most": 8})
    assert answer["error"]["kind"] == "listen"
    assert "Operation not permitted" in answer["error"]["message"]
