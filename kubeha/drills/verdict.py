"""The verdict on a trial: pass, fail with the reasons, or unknown.

The trial only records; all judging is here and can be done again. What could not be seen is not
judged well: a trial with a blind spot may fail, but it does not pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kubeha.drills.catalogue import Fault, May, Moves
from kubeha.drills.timeline import (
    LONG_LIVED,
    NEW,
    Absence,
    Change,
    Interval,
    holders,
    intervals,
    moves,
    new_holder,
    pause,
    silence,
    two_holders,
)
from kubeha.history import Attempt

# How long neighbours may take to believe a gratuitous ARP or a neighbour advertisement, in seconds.
ANNOUNCED = 0.1
# How well we know the clocks of the nodes and of the clients, in seconds.
CLOCKS = 0.02


# By when HAProxy has marked a server that hangs down, at the latest: two checks, each waiting
# for its time-out, an interval before them and a shorter one between them, in seconds.
MARKED_DOWN = 8.0


class Verdict(StrEnum):
    """Ordered by weight when they are merged: a failure outweighs what could not be found out."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several trials: fail beats unknown, unknown beats pass; of none, unknown."""
    for weight in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS):
        if weight in verdicts:
            return weight
    return Verdict.UNKNOWN


@dataclass(frozen=True)
class Recording:
    """Everything that was seen in one trial, times relative to the strike.

    `fell`: when the blow was complete. `node`: the victim ("" for all, or the segment). `holder`:
    who held the VIP before. `lost`: why something could not be seen. `unhealthy`: what was wrong
    when the end was awaited.
    """

    node: str
    holder: str
    begin: float
    end: float
    fell: float
    healed: float | None
    attempts: Sequence[Attempt]
    changes: Sequence[Change]
    absences: Sequence[Absence] = ()
    lost: Sequence[str] = ()
    unhealthy: Sequence[str] = ()


@dataclass(frozen=True)
class Judged:
    """The verdict, and the figures that it rests on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    held: tuple[Interval, ...] = ()
    silence: float | None = None
    requests: int = 0
    failed: int = 0
    connections: int = 0
    broken: int = 0
    new_holder: float | None = None
    two_holders: float = 0.0
    moves: int = 0


def judge(seen: Recording, fault: Fault, worst: float | None) -> Judged:
    """Compare what was seen with what the fault's promises and the budget allow.

    `worst`: the longest silence that the budget allows, in seconds; None: any.
    """
    held = holders(seen.changes, seen.absences)
    new = [each for each in seen.attempts if each.kind == NEW]
    lived = [each for each in seen.attempts if each.kind in LONG_LIVED]
    figures = Judged(
        verdict=Verdict.UNKNOWN,
        reasons=(),
        held=held,
        silence=silence(seen.attempts),
        requests=len(new),
        failed=sum(not each.ok for each in new),
        connections=lives(lived),
        broken=sum(each.broken for each in lived),
        new_holder=new_holder(held, seen.holder),
        two_holders=two_holders(held, seen.begin, seen.end),
        moves=moves(held),
    )
    paused = tuple(_paused(seen, figures, worst))
    unseen = (*seen.lost, *paused, *_untold(seen, fault))
    failures = tuple(_failures(seen, fault, figures, None if paused else worst))
    verdict = Verdict.FAIL if failures else Verdict.UNKNOWN if unseen else Verdict.PASS
    return replace(figures, verdict=verdict, reasons=(*failures, *unseen))


def _paused(seen: Recording, figures: Judged, worst: float | None) -> Iterator[str]:
    """A silence that may be the clients' own: their machine did not run."""
    paused = pause(seen.attempts)
    if worst is not None and (figures.silence or 0.0) > worst and paused > worst / 2:
        yield (
            f"the clients' own machine stood still for {seconds(paused)}:"
            f" {seconds(figures.silence)} of silence cannot be judged"
        )


def _failures(seen: Recording, fault: Fault, figures: Judged, worst: float | None) -> Iterator[str]:
    """Each promise that was not kept, in words."""
    yield from _moves(fault, figures)
    if figures.two_holders > fault.two_holders:
        yield (
            f"two nodes held the VIP for {figures.two_holders * 1000:.0f} ms,"
            f" {fault.two_holders * 1000:.0f} ms are allowed"
        )
    if fault.within is not None and (figures.new_holder or 0.0) > fault.within:
        came, wanted = seconds(figures.new_holder), seconds(fault.within)
        yield f"the next holder came after {came}; promised: within {wanted}"
    yield from _after_boot(seen, fault, figures)
    yield from _left_hanging(seen, fault, figures)
    yield from _failed(seen, fault, figures)
    if figures.broken and not fault.streams_break:
        yield f"{figures.broken} of {figures.connections} long-lived connections broke"
    if worst is not None and figures.silence is not None and figures.silence > worst:
        yield f"{seconds(figures.silence)} of silence, the budget allows {seconds(worst)}"
    yield from (f"not healthy afterwards: {each}" for each in seen.unhealthy)


def _moves(fault: Fault, figures: Judged) -> Iterator[str]:
    wanted = {Moves.NO: (0, 0), Moves.ONCE: (1, 1), Moves.AT_MOST_ONCE: (0, 1)}.get(fault.moves)
    if wanted and not wanted[0] <= figures.moves <= wanted[1]:
        times = {0: "did not move", 1: "moved once"}.get(
            figures.moves, f"moved {figures.moves} times"
        )
        yield f"the VIP {times}; expected: {fault.moves}"


def _back(seen: Recording) -> float | None:
    """When the first machine told something again after the healing."""
    if seen.healed is None:
        return None
    return min((each.at for each in seen.changes if each.at > seen.healed), default=None)


def _after_boot(seen: Recording, fault: Fault, figures: Judged) -> Iterator[str]:
    """All machines were off: somebody has to hold the VIP soon after the first one is back."""
    back = _back(seen)
    if fault.within_boot is None or back is None:
        return
    first = min((each.begin for each in figures.held if each.begin >= 0.0), default=None)
    if first is None or first - back > fault.within_boot:
        came = "never" if first is None else f"after {seconds(first - back)}"
        yield (
            f"a holder came {came}, counted from the first machine that was back;"
            f" promised: within {seconds(fault.within_boot)}"
        )


def _left_hanging(seen: Recording, fault: Fault, figures: Judged) -> Iterator[str]:
    """Long-lived connections that should have been cut, but were left in the dark.

    A request that the old holder has acknowledged may wait for its answer. What is sent after it
    has let go is answered by the new holder with a reset.
    """
    if figures.new_holder is not None and fault.may_fail is not May.ANY:
        since = max(seen.fell, _let_go(seen, figures), _held_on(seen, figures)) + CLOCKS
        left = [
            each for each in seen.attempts
            if each.kind == "stream" and each.outcome == "timeout" and each.start > since
        ]  # fmt: skip
        if left:
            yield (
                "left hanging rather than reset, although sent after the old holder was lost:"
                f" {len(left)} of the requests on long-lived connections"
            )
    if fault.cut_within is not None:
        late = [each.end for each in _cut(seen) if each.end > fault.cut_within]
        if late:
            yield (
                f"{len(late)} idle watches were cut as late as {seconds(max(late))};"
                f" promised: within {seconds(fault.cut_within)}"
            )


def _cut(seen: Recording) -> list[Attempt]:
    """Idle watches that were there before the strike and broke after it."""
    watches = (each for each in seen.attempts if each.kind == "watch" and each.broken)
    return [each for each in watches if each.start < 0.0 < each.end]


def _untold(seen: Recording, fault: Fault) -> Iterator[str]:
    """Promises of which nothing was seen, kept or not."""
    if fault.cut_within is not None and not _cut(seen):
        yield (
            "no idle watch was cut: whether none went through the lost machine, or one still"
            " hangs, cannot be told"
        )
    if fault.within_boot is not None and _back(seen) is None:
        yield "no machine told anything after the healing"


def lives(attempts: Sequence[Attempt]) -> int:
    """How many long-lived connections there were: one that broke was opened again."""
    last: dict[tuple[str, str, int], Attempt] = {}
    count = 0
    for each in sorted(attempts):
        key = (each.source, each.kind, each.connection)
        count += key not in last or last[key].broken
        last[key] = each
    return count


def _let_go(seen: Recording, figures: Judged) -> float:
    """When clients lost the old holder: it gave the VIP up, or another one was announced.

    0 where nothing moved. What was under way then is lost with it.
    """
    if figures.new_holder is None:
        return 0.0
    ends = (each.end for each in figures.held if each.node == seen.holder and each.end is not None)
    return min([figures.new_holder, *(end for end in ends if end >= 0.0)])


def _held_on(seen: Recording, figures: Judged) -> float:
    """Until when the old holder answered as well, after another one had the VIP; or 0."""
    new = figures.new_holder or 0.0
    mine = [each for each in figures.held if each.node == seen.holder and each.begin < 0.0]
    return max((each.end for each in mine if each.end is not None and each.end > new), default=0.0)


def _marked_down(seen: Recording) -> float:
    """When the holder's HAProxy stopped to send anybody to the server; 0: it never did."""
    downs = (
        each.begin
        for each in intervals(seen.changes, "server")
        if (each.node, each.name) == (seen.holder, seen.node) and each.value.startswith("DOWN")
    )
    return min(MARKED_DOWN, min((at for at in downs if at >= 0.0), default=0.0))


def _failed(seen: Recording, fault: Fault, figures: Judged) -> Iterator[str]:
    """Requests that failed although they should not have."""
    since = {
        May.NONE: float("-inf"),
        May.IN_FLIGHT: max(seen.fell, _let_go(seen, figures)) + CLOCKS,
        May.UNTIL_DOWN: max(seen.fell, _marked_down(seen)) + CLOCKS,
        May.UNTIL_MOVED: (figures.new_holder or 0.0) + ANNOUNCED,
        May.ANY: float("inf"),
    }[fault.may_fail]
    wrong = [
        each for each in seen.attempts if each.kind == NEW and not each.ok and each.start > since
    ]
    if wrong:
        first = wrong[0]
        yield (
            f"{len(wrong)} of {figures.requests} new connections failed that should not have;"
            f" the first, {first.start:+.2f} s from the strike: {first.outcome}"
        )


def seconds(value: float | None) -> str:
    """A time for people: `0.34 s`, and `62 ms` below a tenth of a second."""
    if value is None:
        return "-"
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"
