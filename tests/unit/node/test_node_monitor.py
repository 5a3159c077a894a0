"""What the monitor and the strike read: the kernel's messages, HAProxy's table, processes."""

import os
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from kubeha.node import monitor, strike
from kubeha.node.monitor import Addresses, servers

STAT = (
    "# pxname,svname,status,type,bck\n"
    "kube-endpoint,FRONTEND,OPEN,0,\n"
    "kube-apiserver,m1,UP,2,0\n"
    "kube-apiserver,m2,DOWN 1/3,2,0\n"
    "kube-apiserver,m1_tcp,UP,2,1\n"
    "kube-apiserver,BACKEND,UP,1,\n"
    "kube-apiserver-tcp,m1,DOWN,2,0\n"
)


def test_only_the_api_servers_themselves_are_told() -> None:
    assert list(servers(STAT)) == [("m1", "UP"), ("m2", "DOWN")]


@pytest.mark.parametrize("text", ["", "\n", "no table", "# pxname\n"])
def test_what_is_no_table_has_no_servers(text: str) -> None:
    assert list(servers(text)) == []


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, *, up: bool, loopback: bool = False, family: int = 0) -> bytes:
    flags = (0x10000 if up else 0) | (0x8 if loopback else 0)
    return message(16, struct.pack("=BBHiII", family, 0, 1, index, flags, 0))


def address(kind: int, index: int, packed: bytes) -> bytes:
    attribute = struct.pack("=HH", 4 + len(packed), 2) + packed
    return message(kind, struct.pack("=BBBBI", 2, 32, 0, 0, index) + attribute)


VIP = bytes([198, 51, 100, 10])


@pytest.fixture
def seen() -> Addresses:
    """Not yet asked of this machine's kernel: told by the test."""
    addresses = Addresses("198.51.100.10")
    yield addresses
    addresses.__exit__()


def test_the_vip_counts_where_there_is_a_carrier(seen: Addresses) -> None:
    seen._take(link(2, up=True) + address(20, 2, VIP))
    assert seen.holding
    seen._take(link(2, up=False))
    assert not seen.holding
    seen._take(link(2, up=True))
    assert seen.holding
    seen._take(address(21, 2, VIP))
    assert not seen.holding


def test_on_loopback_it_is_not_held(seen: Addresses) -> None:
    """There it serves the connections that a planned move has left here."""
    seen._take(link(1, up=True, loopback=True) + address(20, 1, VIP))
    assert not seen.holding


def test_other_addresses_and_bridges_say_nothing(seen: Addresses) -> None:
    seen._take(link(2, up=True) + address(20, 2, VIP))
    seen._take(address(21, 2, bytes([198, 51, 100, 11])))
    seen._take(link(2, up=False, family=7))
    assert seen.holding


def test_broken_messages_are_left_alone(seen: Addresses) -> None:
    for data in (b"", b"\0" * 40, message(20, b"")[:12], address(20, 2, VIP)[:-3]):
        seen._take(data)
    assert not seen.holding


def test_this_kernel_s_own_addresses() -> None:
    """The dump of a real kernel: loopback has 127.0.0.1, and that is none."""
    with Addresses("127.0.0.1") as addresses:
        assert not addresses.holding
        assert addresses._where and addresses._up
        assert addresses.wait(0.01) in (True, False)


def test_a_haproxy_that_is_not_there_is_gone(tmp_path: Path) -> None:
    assert monitor._look(str(tmp_path / "admin.sock")) == {("haproxy", ""): "gone"}


def test_a_program_is_found_by_its_name_and_its_death_awaited(tmp_path: Path) -> None:
    name = "kubeha-victim"
    (tmp_path / name).symlink_to("/bin/sleep")
    with subprocess.Popen([str(tmp_path / name), "60"]) as victim:
        while victim.pid not in strike._of_program(name):
            time.sleep(0.01)
        before = time.monotonic()
        strike._deal({"signal": "KILL", "program": name}, [victim.pid])
        assert strike._await_death([victim.pid]) >= before
        assert victim.wait() == -signal.SIGKILL
    assert strike._of_program(name) == []
    strike._deal({"signal": "KILL", "program": name}, [victim.pid])


def test_nobody_to_signal_is_refused() -> None:
    with pytest.raises(strike.Refused, match="no process of it runs"):
        strike._targets({"signal": "STOP", "program": "kubeha-nobody"})


def test_a_process_that_is_there_is_alive() -> None:
    assert strike._alive(os.getpid()) and not strike._alive(2**22 + 1)
