"""What one has to know in three seconds, and the row of each fault."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubeha.drill_page.reading import FAIL, PASS, UNKNOWN, Fault, Result
from kubeha.drill_page.strip import late
from kubeha.drill_page.words import NOTHING, count, plural, seconds, share, span

_MOST_NAMES = 6
_MOST_REASONS = 8
VERDICT = {PASS: "passed", FAIL: "failed", UNKNOWN: "unknown"}


@dataclass(frozen=True)
class Headline:
    verdict: str
    text: str
    below: str
    names: tuple[tuple[str, str], ...] = ()
    more_names: int = 0


@dataclass(frozen=True)
class Figure:
    """A number that people quote."""

    value: str
    unit: str
    name: str
    detail: str


def headline(result: Result) -> Headline:
    """The worst verdict, of how many drills, and which ones they are (anchor and name)."""
    faults = result.faults
    trials = sum(fault.count for fault in faults)
    below = f"{plural(trials, 'trial')} of {plural(len(faults), 'fault')}"
    for verdict, said in ((FAIL, "failed"), (UNKNOWN, "could not be judged")):
        names = [
            (anchor(index), fault.name)
            for index, fault in enumerate(faults, 1)
            if fault.verdict == verdict
        ]
        if names:
            text = f"{_of(len(names), len(faults))} {said}"
            more = max(0, len(names) - _MOST_NAMES)
            return Headline(verdict, text, below, tuple(names[:_MOST_NAMES]), more)
    if not faults:
        return Headline(UNKNOWN, "Nothing was drilled", below)
    return Headline(PASS, f"{_of(len(faults), len(faults))} passed", below)


def anchor(index: int) -> str:
    """Where on the page the fault of that number is."""
    return f"fault-{index}"


def _of(some: int, whole: int) -> str:
    if whole == 1:
        return "The drill"
    return (
        f"All {count(whole)} drills" if some == whole else f"{count(some)} of {count(whole)} drills"
    )


def figures(result: Result) -> tuple[Figure, ...]:
    faults = result.faults
    heard = [fault for fault in faults if fault.silence]
    quiet = max(
        [fault for fault in heard if fault.budget.worst is not None] or heard,
        key=lambda fault: fault.silence.most if fault.silence else 0.0,
        default=None,
    )
    twice = max(faults, key=lambda fault: fault.two_holders, default=None)
    most = quiet.silence.most if quiet and quiet.silence else None
    return (
        _duration(most, "longest silence for new connections", quiet.name if quiet else ""),
        _sum("requests failed", [f.failed for f in faults], [f.requests for f in faults]),
        _sum(
            "long-lived connections broken",
            [f.broken for f in faults],
            [f.connections for f in faults],
        ),
        _duration(
            twice.two_holders if twice else None,
            "two holders at once, at the longest",
            twice.name if twice and twice.two_holders > 0 else "never",
        ),
    )


def _duration(value: float | None, name: str, detail: str) -> Figure:
    text, _, unit = seconds(value).partition("\N{NO-BREAK SPACE}")
    return Figure(text, unit, name, detail)


def _sum(name: str, some: Sequence[int], whole: Sequence[int]) -> Figure:
    return Figure(count(sum(some)), "", name, f"of {count(sum(whole))}")


@dataclass(frozen=True)
class Row:
    """Figures of a fault, as the table shows them."""

    fault: Fault
    anchor: str
    passed: str
    median: str
    nine_of_ten: str
    longest: str
    predicted: str
    late: bool
    failed: str
    broken: str
    new_holder: str
    two_holders: str
    moves: str
    wrong_moves: bool


def row(fault: Fault, index: int) -> Row:
    quiet, holder = fault.silence, fault.new_holder
    return Row(
        fault=fault,
        anchor=anchor(index),
        passed=f"{count(fault.passed)}/{count(fault.count)}",
        median=seconds(quiet.p50 if quiet else None),
        nine_of_ten=seconds(quiet.p90 if quiet else None),
        longest=seconds(quiet.most if quiet else None),
        predicted=seconds(fault.budget.worst),
        late=late(quiet.most if quiet else None, fault.budget),
        failed=share(fault.failed, fault.requests),
        broken=share(fault.broken, fault.connections),
        new_holder=seconds(holder.most) if holder else NOTHING,
        two_holders=_two_holders(fault),
        moves=span(fault.moves),
        wrong_moves=_wrong_moves(fault),
    )


def _two_holders(fault: Fault) -> str:
    if not fault.recorded:
        return NOTHING
    return seconds(fault.two_holders) if fault.two_holders > 0 else "never"


def _wrong_moves(fault: Fault) -> bool:
    """Did the VIP move when it should have stayed, or more than once?"""
    if fault.budget.expected is None and fault.verdict == PASS:
        # Nothing was predicted: after a power cut of everything it goes anywhere.
        return False
    allowed = 1 if fault.budget.moves is None else int(fault.budget.moves)
    return any(moves > allowed for moves in fault.moves)


def reasons(fault: Fault) -> list[tuple[str, str]]:
    """Why trials did not pass: the words, and the trials that they are said of."""
    said: dict[str, list[int]] = {}
    for trial in fault.trials:
        if trial.verdict != PASS:
            for reason in trial.reasons or (f"{VERDICT[trial.verdict]}, no reason is given",):
                said.setdefault(reason, []).append(trial.number)
    alone = len(fault.trials) == 1
    shown = [(reason, "" if alone else _numbers(numbers)) for reason, numbers in said.items()]
    more = len(shown) - _MOST_REASONS
    return shown[:_MOST_REASONS] + ([(f"{more} more reasons", "at the trials")] if more > 0 else [])


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {shown}{more}"
