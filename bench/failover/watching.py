"""Who held the VIP when: the kernels' own notices of addresses, from all nodes at once."""

import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from tempfile import TemporaryFile
from typing import IO

from kubeha.lab.machine import Machine

_NOTICE = re.compile(r"^\[(?P<at>[^]]+)\] (?P<gone>Deleted )?\d+: eth0\s+inet6? (?P<what>[^/ ]+)")


# Who has held the VIP from a time (seconds since 1970) on.
Timeline = list[tuple[float, frozenset[str]]]


@dataclass(frozen=True, order=True)
class Notice:
    """A node got the VIP on eth0, or lost it; `at` in seconds since 1970."""

    at: float
    node: str
    has: bool


@dataclass
class Watch:
    """What was noticed; complete at the end of the watch."""

    notices: list[Notice] = field(default_factory=list)


@contextmanager
def watching(machines: Sequence[Machine], vip: str) -> Iterator[Watch]:
    """Note every change of the VIP on these machines.

    `ip monitor` runs in the machine's network namespace but outside of the machine, so that it
    neither freezes nor dies with it.
    """
    watch = Watch()
    logs = {machine.name: TemporaryFile("w+") for machine in machines}
    monitors = [_monitor(machine, logs[machine.name]) for machine in machines]
    try:
        yield watch
        # What has happened is read before the end.
        time.sleep(0.2)
    finally:
        for monitor in monitors:
            monitor.terminate()
            monitor.wait()
        for name, log in logs.items():
            log.seek(0)
            watch.notices += parse(log, name, vip)
            log.close()
        watch.notices.sort()


def _monitor(machine: Machine, log: IO[str]) -> subprocess.Popen[str]:
    command = ["ip", "-n", machine.namespace, "-o", "-ts", "monitor", "address"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, text=True)


def parse(lines: Iterable[str], node: str, vip: str) -> list[Notice]:
    """The notices of the VIP in what `ip -o -ts monitor address` has printed."""
    found = (_NOTICE.match(line) for line in lines)
    return [
        Notice(datetime.fromisoformat(one["at"]).timestamp(), node, not one["gone"])
        for one in found
        if one is not None and one["what"] == vip
    ]


def holders(notices: Sequence[Notice], first: str, died: Mapping[str, float]) -> Timeline:
    """Who held the VIP from when on; `first` did from the beginning.

    `died`: when a machine was cut off. What its kernel still has does not count.
    """
    events = [each for each in notices if each.at < died.get(each.node, float("inf"))]
    events += [Notice(at, node, False) for node, at in died.items()]
    timeline: Timeline = [(float("-inf"), frozenset({first}))]
    for event in sorted(events):
        now = timeline[-1][1]
        changed = now | {event.node} if event.has else now - {event.node}
        if changed != now:
            timeline.append((event.at, changed))
    return timeline


def new_holder_after(timeline: Timeline, struck: float, old: str) -> float | None:
    """Seconds until another node had the VIP; None if none ever did."""
    return next((at - struck for at, names in timeline if at >= struck and names - {old}), None)


def longest(timeline: Timeline, end: float, fits: Callable[[int], bool]) -> float:
    """The longest stretch, in seconds, in which the number of holders was as `fits` wants it."""
    ends = [*(at for at, _ in timeline[1:]), end]
    most = current = 0.0
    for (at, names), until in zip(timeline, ends, strict=True):
        current = current + until - at if fits(len(names)) else 0.0
        most = max(most, current)
    return most


def moves(timeline: Timeline) -> int:
    """How often a node got the VIP."""
    return sum(bool(now - before) for (_, before), (_, now) in pairwise(timeline))
