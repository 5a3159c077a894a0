"""What was recorded in a trial -> who held the VIP when, and what clients missed.

All times are seconds relative to the strike. What changed is known from the nodes' kernels; a node
that nobody can reach holds nothing, whatever stands on its interface.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kubeha.history import Attempt, silences

# Clients of new connections; they measure the silence.
NEW = "version"
LONG_LIVED = ("stream", "watch")
# A node that gives way to another one within this time has not moved the VIP, in seconds.
BRIEF = 0.1


@dataclass(frozen=True)
class Change:
    """Something that a node told: `what` is "holds", "server" or "haproxy" (node/monitor.py)."""

    at: float
    node: str
    what: str
    name: str
    value: str | int


@dataclass(frozen=True)
class Interval:
    """Something that was so from `begin` to `end`; None: until the end of the trial or longer."""

    node: str
    name: str
    value: str
    begin: float
    end: float | None = None

    def overlaps(self, begin: float, end: float) -> bool:
        return self.begin < end and (self.end is None or self.end > begin)


def intervals(changes: Iterable[Change], what: str) -> tuple[Interval, ...]:
    """What each (node, name) was, one after the other, in the order of their beginnings."""
    found: list[Interval] = []
    now: dict[tuple[str, str], Change] = {}
    for change in sorted(changes, key=lambda each: each.at):
        if change.what != what:
            continue
        key = (change.node, change.name)
        before = now.get(key)
        if before is not None and before.value == change.value:
            continue
        if before is not None:
            found.append(_between(before, change.at))
        now[key] = change
    found += [_between(change, None) for change in now.values()]
    return tuple(sorted(found, key=lambda each: (each.begin, each.node, each.name)))


def _between(change: Change, end: float | None) -> Interval:
    return Interval(change.node, change.name, str(change.value), change.at, end)


@dataclass(frozen=True)
class Absence:
    """A time in which a node could not be reached by anybody; `end` None: not yet over."""

    node: str
    begin: float
    end: float | None


def holders(changes: Iterable[Change], absences: Sequence[Absence] = ()) -> tuple[Interval, ...]:
    """Who held the VIP when, as seen on the wire."""
    held = [each for each in intervals(changes, "holds") if each.value == "1"]
    for absence in absences:
        held = [part for each in held for part in _without(each, absence)]
    return tuple(sorted(held, key=lambda each: (each.begin, each.node)))


def _without(held: Interval, absence: Absence) -> list[Interval]:
    """The parts of an interval that lie outside of an absence."""
    until = absence.end
    if held.node != absence.node or not held.overlaps(absence.begin, until or float("inf")):
        return [held]
    parts = []
    if held.begin < absence.begin:
        parts.append(Interval(held.node, held.name, held.value, held.begin, absence.begin))
    if until is not None and (held.end is None or held.end > until):
        parts.append(Interval(held.node, held.name, held.value, until, held.end))
    return parts


def moves(held: Sequence[Interval]) -> int:
    """How often the VIP came to another node.

    Where two have it, clients follow the one that took it last, for that one announced itself last.
    One that has it for a moment beside another one, and gives way, has not moved it: that is what
    the time with two holders tells.
    """
    held = [each for each in held if not any(_gave_way(each, other) for other in held)]
    edges = {each.begin for each in held} | {each.end for each in held if each.end is not None}
    there = [node for at in sorted(edges) if (node := _current(held, at))]
    return sum(before != after for before, after in pairwise(there))


def _gave_way(one: Interval, other: Interval) -> bool:
    """Was it there for a moment only, while the other one was there before and after?"""
    if one.end is None or one.end - one.begin > BRIEF:
        return False
    return other.begin < one.begin and (other.end is None or other.end > one.end)


def _current(held: Sequence[Interval], at: float) -> str | None:
    """The node that clients reach at that time."""
    there = [each for each in held if each.begin <= at and (each.end is None or each.end > at)]
    return max(there, key=lambda each: each.begin).node if there else None


def new_holder(held: Sequence[Interval], old: str) -> float | None:
    """When another node took the VIP, in seconds after the strike.

    Never before it: two nodes' clocks are known to some milliseconds only.
    """
    taken = (each.begin for each in held if each.node != old)
    return max(0.0, first) if (first := min(taken, default=None)) is not None else None


def two_holders(held: Sequence[Interval], begin: float, end: float) -> float:
    """For how many seconds more than one node held the VIP."""
    edges = {begin, end}
    for each in held:
        edges |= {min(max(edge, begin), end) for edge in (each.begin, each.end or end)}
    total = 0.0
    for since, until in pairwise(sorted(edges)):
        total += (until - since) * (sum(each.overlaps(since, until) for each in held) > 1)
    return total


def pause(attempts: Sequence[Attempt], since: float = 0.0) -> float:
    """The longest time in which a machine of clients began nothing, from `since` on.

    Clients begin by the clock and wait for nobody: a gap tells of their own machine.
    """
    starts: dict[str, list[float]] = {}
    for each in sorted(attempts):
        if each.kind == NEW:
            starts.setdefault(each.source, []).append(each.start)
    gaps = (b - a for row in starts.values() for a, b in pairwise(row) if b > since)
    return max(gaps, default=0.0)


def silence(attempts: Sequence[Attempt]) -> float | None:
    """The longest time without an answer to a new connection that was under way at the strike or
    came after it; None without such clients.

    After the last one has begun nobody asks any more: one that waits in vain ends much later.
    """
    new = [each for each in attempts if each.kind == NEW]
    last = max((each.start for each in new), default=0.0)
    stretches = (min(each.end, last) - each.start for each in silences(new, 0.0))
    return max(stretches, default=None)
