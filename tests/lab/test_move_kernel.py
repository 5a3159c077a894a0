"""What a planned move asks of the kernel, IPv4 and IPv6: without Kubernetes, HAProxy, keepalived.

An echo server stands for HAProxy, and the address is moved by hand. Chains of former holders, too.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from endpoint import NODES
from moving_clients import HANDOVER, nothing_left, other, status
from running_lab import RunningLab, wait_for

from kubeha.guard import program
from kubeha.node.handover.kernel import host_prefix

PORT = 9443
SERVER = """
import socket, sys, threading
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind(("", int(sys.argv[2])))
server.listen(100)
def serve(end):
    with end:
        end.sendall(socket.gethostname().encode() + b"\\n")
        while True:
            data = end.recv(4096)
            if data in (b"", b"bye"):
                return
            end.sendall(data)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
# The server ends it first, so its kernel keeps the ports in TIME-WAIT.
ENDED_BY_SERVER = """
import socket, sys
source = ("", int(sys.argv[3]))
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10, source) as end:
    end.recv(100)
    end.sendall(b"bye")
    end.recv(100)
"""
# Says who answered, then how long its echoes came; ends after its standard input has.
CLIENT = """
import select, socket, sys, time
source = ("", int(sys.argv[3])) if len(sys.argv) > 3 else None
end = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10, source)
end.settimeout(5)
who = end.recv(100).decode().strip()
print(who, flush=True)
count = 0
try:
    over = False
    while not over:
        over = bool(select.select([sys.stdin], [], [], 0.1)[0])
        text = b"x" * (count % 3000 + 1)
        end.sendall(text)
        left = len(text)
        while left:
            got = len(end.recv(4096))
            if not got:
                raise EOFError
            left -= got
        count += 1
    print("lived", count, flush=True)
except (OSError, EOFError) as error:
    print("broke", type(error).__name__, flush=True)
"""


@dataclass
class Segment:
    """Three machines with an address that moves."""

    lab: RunningLab
    vip: str
    addresses: dict[str, str]

    @property
    def v6(self) -> bool:
        return ":" in self.vip

    def run(self, name: str, *argv: str, input: str | None = None) -> str:
        return self.lab.machine(name).execute(list(argv), input=input).stdout

    def listens(self, name: str) -> bool:
        return str(PORT) in self.run(name, "ss", "-H", "-l", "-n", "-t")

    def hold(self, name: str, verb: str) -> None:
        more = ["nodad"] if self.v6 and verb == "add" else []
        self.run(name, "ip", "address", verb, host_prefix(self.vip), "dev", "eth0", *more)

    def join(self, name: str, formers: dict[str, str], seconds: float) -> dict[str, Any]:
        """`formers`: name -> the move's id."""
        asked = {
            former: {"id": move, "address": self.addresses[former], "seconds": seconds}
            for former, move in formers.items()
        }
        request = {"me": name, "vip": self.vip, "port": PORT, "interface": "eth0", "formers": asked}
        answer = json.loads(self.run(name, HANDOVER, "join", input=json.dumps(request)))
        assert answer["able"], answer
        return answer

    def move(self, old: str, new: str, formers: dict[str, str], seconds: float = 60.0) -> None:
        """Prepare everybody, the former holder last, then move the address."""
        for name in (*(each for each in NODES if each != old), old):
            self.join(name, formers, seconds)
        self.hold(old, "del")
        self.hold(new, "add")
        self.forget()

    def forget(self) -> None:
        """As gratuitous ARP does: and the next question is answered by the new holder alone."""
        for name in (*NODES, "c1"):
            self.run(name, "ip", "neighbour", "flush", "to", self.vip, "dev", "eth0")

    @contextmanager
    def client(
        self, name: str, answered_by: str, *source_port: str
    ) -> Iterator[subprocess.Popen[str]]:
        """A connection that says something ten times a second."""
        argv = ["python3", "-c", CLIENT, self.vip, str(PORT), *source_port]
        machine = self.lab.machine(name)
        with subprocess.Popen(
            machine.enter(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == answered_by
                yield process
            finally:
                process.kill()

    def crowd(self, stack: ExitStack, answered_by: str) -> dict[str, subprocess.Popen[str]]:
        """One on every machine."""
        names = ("c1", *NODES)
        return {name: stack.enter_context(self.client(name, answered_by)) for name in names}


def end(clients: dict[str, subprocess.Popen[str]]) -> dict[str, str]:
    """Tell clients to end; how each fared."""
    said = {name: each.communicate("\n", timeout=20)[0] for name, each in clients.items()}
    return {name: words.split()[0] for name, words in said.items()}


@pytest.fixture(params=["4", "6"], ids=["ipv4", "ipv6"])
def segment(machines: RunningLab, request: pytest.FixtureRequest) -> Iterator[Segment]:
    family = request.param
    if family == "6":
        found = Segment(machines, "fd00:51::10", {n: f"fd00:51::1{n[1]}" for n in NODES})
        for name, address in {**found.addresses, "c1": "fd00:51::99"}.items():
            found.run(name, "ip", "address", "replace", f"{address}/64", "dev", "eth0", "nodad")
    else:
        addresses = {name: machines.machine(name).address for name in NODES}
        found = Segment(machines, "198.51.100.200", addresses)
    for name in NODES:
        found.run(name, "mkdir", "-p", "/etc/kubeha", "/run/kubeha")
        put = f"cat >{HANDOVER} && chmod 755 {HANDOVER}"
        found.run(name, "sh", "-c", put, input=program("handover"))
        found.run(name, "sysctl", "-q", "-w", "net.ipv4.conf.eth0.rp_filter=1")
        command = ["systemd-run", "-q", "--unit=echo", "--collect", "python3", "-c", SERVER]
        found.run(name, *command, family, str(PORT))
    found.hold("m1", "add")
    found.forget()
    wait_for("the servers listen", lambda: all(found.listens(n) for n in NODES), timeout=20)
    yield found
    for name in NODES:
        machine = machines.machine(name)
        machine.execute(["systemctl", "stop", "echo", "kubeha-handover"], check=False)
        vip = host_prefix(found.vip)
        machine.execute(["ip", "address", "del", vip, "dev", "eth0"], check=False)
        found.run(name, "sysctl", "-q", "-w", "net.ipv4.conf.eth0.rp_filter=0")


def on_lo(segment: Segment, name: str) -> bool:
    return segment.vip in segment.run(name, "ip", "-o", "address", "show", "dev", "lo")


def test_connections_live_on_through_the_former_holder(segment: Segment) -> None:
    before = {name: _settings(segment, name) for name in NODES}
    with ExitStack() as stack:
        clients = segment.crowd(stack, "m1")
        segment.move("m1", "m2", {"m1": "a"})
        assert on_lo(segment, "m1")
        new = {name: stack.enter_context(segment.client(name, "m2")) for name in ("c1", "m2", "m3")}
        assert status(segment.lab, "m1")["connections"] == 4
        assert set(end(clients).values()) == {"lived"}
        assert set(end(new).values()) == {"lived"}
    nothing_left(segment.lab)
    assert {name: _settings(segment, name) for name in NODES} == before


def _settings(segment: Segment, name: str) -> tuple[str, str, bool]:
    settings = segment.run(name, "sysctl", "net.ipv4.conf")
    return settings, segment.run(name, "nft", "list", "ruleset"), on_lo(segment, name)


def test_three_moves_in_a_row_and_nothing_goes_in_circles(segment: Segment) -> None:
    """m1, m2, m3 and back to m1: the connections of all of them live at the same time."""
    with ExitStack() as stack:
        clients = {"m1": segment.crowd(stack, "m1")}
        segment.move("m1", "m2", {"m1": "a"})
        outside = ("c1", "m3")
        clients["m2"] = {n: stack.enter_context(segment.client(n, "m2")) for n in outside}
        segment.move("m2", "m3", {"m1": "a", "m2": "b"})
        clients["m3"] = {"c1": stack.enter_context(segment.client("c1", "m3"))}
        segment.move("m3", "m1", {"m1": "a", "m2": "b", "m3": "c"})
        wait_for("m1 has it on its card alone", lambda: not on_lo(segment, "m1"), timeout=10)
        _stray(segment)
        packets = _passed_on(segment)
        fared = {(who, name): how for who in clients for name, how in end(clients[who]).items()}
    assert set(fared.values()) == {"lived"}, fared
    # One copy a packet and former holder: in a circle there would be hundreds of thousands.
    assert packets < 20_000
    nothing_left(segment.lab)


def _stray(segment: Segment) -> None:
    """A packet of a connection that nobody knows: what would go round for ever."""
    raw = (
        "import socket,struct;s=socket.socket(socket.AF_INET6 if ':' in V else socket.AF_INET,"
        "socket.SOCK_RAW,socket.IPPROTO_TCP);"
        "s.sendto(struct.pack('!HHLLBBHHH',40000,P,1,1,80,16,1000,0,0),(V,0))"
    )
    code = f"V={segment.vip!r};P={PORT};{raw}"
    for _ in range(3):
        segment.run("c1", "python3", "-c", code)


def _passed_on(segment: Segment) -> int:
    """Packets that matched any of our rules on any node."""
    total = 0
    for name in NODES:
        words = segment.run(name, "nft", "list", "ruleset").split()
        total += sum(int(n) for word, n in zip(words, words[1:], strict=False) if word == "packets")
    return total


def test_a_port_that_the_new_holder_still_keeps_in_time_wait(segment: Segment) -> None:
    """A client asks much, so its ports come round again before the servers have forgotten them."""
    port = "23456" if segment.v6 else "23454"
    ended = ["python3", "-c", ENDED_BY_SERVER, segment.vip, str(PORT), port]
    segment.run("c1", *ended)
    segment.hold("m1", "del")
    segment.hold("m2", "add")
    segment.forget()
    with segment.client("c1", "m2", port) as client:
        kept = segment.run("m1", "ss", "-H", "-t", "-n", "state", "time-wait", "dport", port)
        assert segment.vip in kept, "too late to show anything"
        segment.move("m2", "m1", {"m2": "a"})
        assert end({"c1": client}) == {"c1": "lived"}


def test_a_former_holder_forgets_where_the_vip_was_before(segment: Segment) -> None:
    """While it has the VIP itself, its kernel takes no news of it: its own clients went astray."""
    segment.hold("m1", "del")
    segment.hold("m2", "add")
    segment.forget()
    with segment.client("m3", "m2"):
        segment.hold("m2", "del")
        segment.hold("m3", "add")
    for name in ("m1", "m2", "m3"):
        segment.join(name, {"m3": "a"}, seconds=60.0)
    segment.hold("m3", "del")
    segment.hold("m1", "add")
    nothing_left(segment.lab)
    with segment.client("m3", "m1") as client:
        assert end({"m3": client}) == {"m3": "lived"}


def test_a_dead_former_holder_is_given_up_and_clients_get_a_reset(segment: Segment) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(segment.client("c1", "m1"))
        segment.move("m1", "m2", {"m1": "a"})
        segment.run("m1", "systemctl", "kill", "--signal=KILL", "kubeha-handover.service")
        wait_for("m1 has undone it", lambda: not on_lo(segment, "m1"), timeout=20)
        nothing_left(segment.lab, [other("m1"), "m3"])
        assert client.stdout is not None
        words = client.stdout.readline()
    assert words.split() == ["broke", "ConnectionResetError"]


def test_the_deadline_closes_what_is_left(segment: Segment) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(segment.client("c1", "m1"))
        segment.move("m1", "m2", {"m1": "a"}, seconds=2.0)
        assert client.stdout is not None
        words = client.stdout.readline()
    assert words.split() == ["broke", "ConnectionResetError"]
    nothing_left(segment.lab)
    last = status(segment.lab, "m1")["last"]
    assert last["why"] == "deadline" and last["closed"] >= 1
