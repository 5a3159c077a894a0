"""Trials of faults: who held the VIP, and what clients saw, around one thing that breaks.

Every trial is short and begins and ends with a healthy endpoint. What is asserted are outcomes and
counts; times are printed.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from endpoint import CLIENTS, NODES, PATIENCE, Endpoint, Seen
from holders import Holders, Watch
from running_lab import RunningLab, wait_for

from kubeha.haproxy import BACKEND
from kubeha.history import Attempt
from kubeha.lab.faults import active
from kubeha.remote import Load

# What two holders may overlap, in seconds.
A_MOMENT = 1.0
# By how much the clocks of a client and of this box may be taken to differ, in seconds.
CLOCKS = 0.05
# Long-lived connections with a request ten times a second, and some without a word.
STREAMS = Load("stream", connections=6, interval=0.1, timeout=PATIENCE)
WATCHES = Load("watch", connections=9, timeout=PATIENCE)

# `make test` tries each row once, `make test-soak` twenty times in a row.
TURNS = pytest.mark.parametrize(
    "turn",
    [
        pytest.param(0, id="once"),
        *(pytest.param(turn, id=f"soak-{turn}", marks=pytest.mark.soak) for turn in range(1, 21)),
    ],
)

# What runs on a node, and what its HAProxy thinks of every API server by /readyz.
_LOOK = """
import csv, io, json, socket, subprocess, sys
units = subprocess.run(["systemctl", "is-active", *sys.argv[2:]], capture_output=True, text=True)
def ask(command):
    asking = socket.socket(socket.AF_UNIX)
    asking.connect("/run/haproxy/admin.sock")
    asking.sendall(command + b"\\n")
    return b"".join(iter(lambda: asking.recv(65536), b"")).decode()
servers, connections = {}, 0
try:
    for row in csv.DictReader(io.StringIO(ask(b"show stat")[2:])):
        if row["pxname"] == sys.argv[1]:
            servers[row["svname"]] = [row["status"], int(row["scur"])]
    known = dict(line.split(": ", 1) for line in ask(b"show info").splitlines() if ": " in line)
    connections = int(known["CurrConns"])
except OSError:
    pass
seen = {"units": units.stdout.split(), "servers": servers, "connections": connections}
print(json.dumps(seen))
"""
_UNITS = ("haproxy", "keepalived", "etcd", "kube-apiserver")


@dataclass
class Trial:
    """One thing that breaks, and all that was seen around it.

    `began`: when it was asked for; it struck a little later. In seconds since 1970.
    """

    endpoint: Endpoint
    holders: Holders
    seen: Seen
    began: float = field(default_factory=time.time)

    @property
    def lab(self) -> RunningLab:
        return self.endpoint.lab

    def strike(self, fault: str, *words: str) -> None:
        """Inject a fault, and note when it was."""
        self.began = time.time()
        self.lab.fault(fault, *words)
        since = [each.since for each in active(self.lab.lab) if each.fault == fault]
        self.seen.strike(since[-1])

    def cut_off(self, node: str) -> None:
        """Since the strike nobody can reach the node, whatever its own kernel says."""
        self.holders.cut_off(node, self.seen.struck)

    def wait_for_move(self, timeout: float = 20) -> str:
        """The node that has taken the VIP since the strike."""
        taken = wait_for(
            "a new holder", lambda: self.holders.taken_after(self.began), timeout=timeout
        )
        return taken[-1]

    def moved_once(self) -> None:
        taken = self.holders.taken_after(self.began)
        assert len(taken) == 1, f"the VIP was taken by {taken}: {self.holders.holds}"
        assert self.holders.now() == taken

    def given_up(self, old: str) -> float:
        """When the old holder's kernel had the VIP no more: what began before went through it."""
        ends = [hold.until for hold in self.holders.holds if hold.node == old]
        return max(end for end in ends if end is not None)

    def never_two_holders(self) -> None:
        """But for a moment: drills measure how long, for a machine of tests may be busy."""
        assert self.holders.rivalry() < A_MOMENT, self.holders.holds

    def stayed(self) -> None:
        taken = self.holders.taken_after(self.began)
        assert taken == [], f"the VIP was taken by {taken}: {self.holders.holds}"

    def count(self, kind: str) -> int:
        return len([one for one in self.seen.history.of(kind) if one.start > self.seen.struck])

    def none_failed(self, *, after: float | None = None) -> None:
        """No new connection failed that began after the strike (or later), and there were some."""
        since = self.seen.struck if after is None else after
        begun = [one for one in self.seen.history.of("version") if one.start > since]
        assert len(begun) > 10
        assert [one for one in begun if not one.ok] == []

    def broken(self, kind: str) -> list[Attempt]:
        """Long-lived connections that had worked and were lost."""
        return [one for one in self.seen.history.of(kind) if one.broken]

    def all_reset(self, load: Load) -> None:
        """Each long-lived connection was lost and got an RST at its next segment.

        One whose request had been acknowledged, and whose answer was lost with the machine, has
        nothing to send: its client waits, as long as it likes. It began before the strike.
        """
        lost = self.broken(load.kind)
        assert len(lost) == load.connections
        later = [one for one in lost if one.start > self.seen.struck + CLOCKS]
        assert later
        assert [one for one in later if one.outcome != "reset"] == []

    def show(self, what: str) -> None:
        """Print the figures: they are not asserted, machines are noisy."""
        struck = self.seen.struck
        self.seen.show(what)
        for hold in self.holders.holds:
            until = "" if hold.until is None else f"{hold.until - struck:.3f} s"
            print(f"{what}: {hold.node} held the VIP {hold.since - struck:.3f} s to {until}")
        print(f"{what}: two holders for {self.holders.rivalry():.3f} s")


@contextmanager
def trial(
    endpoint: Endpoint, what: str, *, loads: Sequence[Load] = (), after: float = 1.5
) -> Iterator[Trial]:
    """Clients at work and the VIP watched while the body runs and `after` seconds more."""
    with (
        Watch(endpoint.lab) as holders,
        endpoint.clients([*CLIENTS, *loads], after=after) as seen,
    ):
        run = Trial(endpoint, holders, seen)
        yield run
    run.show(what)


def look(endpoint: Endpoint, node: str) -> dict[str, Any]:
    """The units of a node, and its HAProxy's servers with status and sessions."""
    machine = endpoint.lab.machine(node)
    done = machine.execute(["python3", "-c", _LOOK, BACKEND, *_UNITS], check=False)
    seen: dict[str, Any] = json.loads(done.stdout or "{}")
    return seen


def servers(endpoint: Endpoint, node: str) -> dict[str, str]:
    """What a node's HAProxy thinks of each API server."""
    known = look(endpoint, node).get("servers", {})
    return {name: known[name][0] for name in NODES if name in known}


def wait_until_whole(endpoint: Endpoint, timeout: float = 120) -> str:
    """Everything runs, every HAProxy has every API server, one node holds the VIP: that one."""
    every_server = dict.fromkeys(NODES, "UP")

    def whole() -> str:
        with ThreadPoolExecutor() as pool:
            seen = list(pool.map(lambda node: look(endpoint, node), NODES))
        well = all(
            each.get("units") == ["active"] * len(_UNITS)
            and {n: s[0] for n, s in each["servers"].items() if n in NODES} == every_server
            for each in seen
        )
        holders = endpoint.holders() if well else []
        return holders[0] if len(holders) == 1 else ""

    return wait_for("everything runs and has one holder", whole, timeout=timeout, every=0.2)
