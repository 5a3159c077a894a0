"""Does the kernel keep advertisements back as the guard asks it to? Without machines.

Each in a network namespace of its own, where a raw socket stands for keepalived: it is refused to
send what is dropped.
"""

import json
import subprocess
import sys
from ipaddress import ip_address

import pytest

from kubeha.facts.nft_rules import parse_nft
from kubeha.facts.packet_filter import VRRP, Packet, dropped

# Says which of the VRIDs 10 and 11 pass, and how nft(8) shows the rules.
BEGINNING = """
import json, socket, subprocess, sys, time
from kubeha.node.guard.hushing import Hushing, commit
from kubeha.node.guard.nfnetlink import hushing, no_longer_hushing

ADDRESS = sys.argv[1]
FAMILY = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

def pass_now(*vrids):
    with socket.socket(FAMILY, socket.SOCK_RAW, 112) as sock:
        return [vrid for vrid in vrids if passes(sock, vrid)]

def passes(sock, vrid):
    try:
        sock.sendto(bytes([0x31, vrid, 0, 1, 0, 10, 0, 0]), (ADDRESS, 0))
        return True
    except PermissionError:
        return False

def nft(*arguments):
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True)
    return done.stdout

def tell(**what):
    print(json.dumps(what))
"""
BOTH = pytest.mark.parametrize("address", ["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])


def inside(script: str, address: str = "127.0.0.1") -> dict[str, object]:
    """What a script in a namespace of its own tells."""
    command = ["unshare", "--net", sys.executable, "-c", BEGINNING + script, address]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


@BOTH
def test_advertisements_of_one_router_are_dropped_until_the_kernel_forgets(address: str) -> None:
    told = inside(
        """
before = pass_now(10, 11)
# Longer than the guard's: a busy machine may take its time to try.
commit(hushing(10, 2000))
meanwhile = pass_now(10, 11)
deadline = time.monotonic() + 30
while not pass_now(10) and time.monotonic() < deadline:
    time.sleep(0.01)
tell(before=before, meanwhile=meanwhile, after=pass_now(10, 11), rules=nft("list", "ruleset"))
""",
        address,
    )
    assert told["before"] == [10, 11]
    assert told["meanwhile"] == [11]
    assert told["after"] == [10, 11]
    assert "elements" not in str(told["rules"])


def test_nothing_is_dropped_while_it_is_tried_and_nothing_is_left() -> None:
    told = inside(
        """
commit(hushing(10, 0))
tried = pass_now(10)
hushing = Hushing(10)
hushing.prepare()
prepared = nft("list", "ruleset")
hushing.hush(True)
hushed = pass_now(10)
hushing.hush(False)
tell(tried=tried, prepared=prepared, hushed=hushed, after=pass_now(10), left=nft("list", "ruleset"))
"""
    )
    assert told == {"tried": [10], "prepared": "", "hushed": [], "after": [10], "left": ""}


def test_a_second_time_counts_from_then_and_what_was_left_or_flushed_does_not_matter() -> None:
    told = inside(
        """
commit(hushing(10, 1))
commit(hushing(10, 60000))
time.sleep(0.05)
again = pass_now(10)
rules = nft("list", "ruleset").count("drop")
nft("flush", "ruleset")
flushed = pass_now(10)
commit(hushing(10, 60000))
anew = pass_now(10)
commit(no_longer_hushing())
commit(no_longer_hushing())
tell(again=again, rules=rules, flushed=flushed, anew=anew, after=pass_now(10))
"""
    )
    assert told == {"again": [], "rules": 1, "flushed": [10], "anew": [], "after": [10]}


def test_rules_of_others_stay_as_they_are() -> None:
    told = inside(
        """
nft("add table inet filter { chain output { type filter hook output priority 0; }; }")
before = nft("list", "ruleset")
hushing = Hushing(10)
hushing.prepare()
hushing.hush(True)
hushing.hush(False)
tell(same=nft("list", "ruleset") == before)
"""
    )
    assert told == {"same": True}


def test_who_may_not_do_it_is_told_so() -> None:
    told = inside(
        """
import ctypes
assert ctypes.CDLL(None).prctl(24, 12, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_NET_ADMIN
program = "from kubeha.node.guard.hushing import Hushing; Hushing(10).prepare()"
done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
tell(error=done.stderr.splitlines()[-1])
"""
    )
    assert told == {"error": "PermissionError: [Errno 1] Operation not permitted"}


@BOTH
def test_it_is_no_filter_that_anybody_is_warned_of(address: str) -> None:
    """Not even while it drops: that ends by itself."""
    told = inside('commit(hushing(10, 60000))\ntell(json=nft("-j", "list", "ruleset"))\n', address)
    tables = parse_nft(str(told["json"]))
    assert tables is not None and [table.name for table in tables] == ["kubeha_guard"]
    source = ip_address(address)
    packet = Packet(VRRP, source, source, None, "eth0", ("output", "postrouting"))
    assert dropped(tables, packet) is None
