"""Small drawings: a trial in one line, and the trials of a fault as dots beside the prediction."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubeha.drill_page.lanes import answers
from kubeha.drill_page.reading import FAIL, UNKNOWN, Budget, Fault, Spread, Trial
from kubeha.drill_page.scale import WIDTH, TimeScale, percent, round_step
from kubeha.drill_page.silence import LONG_LIVED
from kubeha.drill_page.timeline import Bar, Quiet, doubles, holder_rows, quiet
from kubeha.drill_page.words import plural, seconds

_COLUMN = 26
_HOLDER_FROM, _HOLDER_STEP = 15, 5
_DOT = 6
_NICE = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)

Place = Callable[[float], float]


@dataclass(frozen=True)
class Strip:
    """A trial in one line: answers above, a line for each node that held the VIP below."""

    trial: Trial
    height: int
    answers: str
    failures: str
    holders: str
    double: tuple[Bar, ...]
    quiet: Quiet | None


def strip(trial: Trial, scale: TimeScale, nodes: Sequence[str]) -> Strip:
    asked = [one for one in trial.attempts if one.kind not in LONG_LIVED]
    failed = sorted({scale(one.start) // _COLUMN * _COLUMN for one in asked if not one.ok})
    rows = list(holder_rows(trial, scale, nodes))
    held = "".join(
        f"M{scale(one.start)} {_HOLDER_FROM + index * _HOLDER_STEP}"
        f"H{max(scale(one.end), scale(one.start) + 4)}"
        for index, row in enumerate(rows)
        for one in trial.holders
        if one.node == row.name
    )
    return Strip(
        trial=trial,
        height=_HOLDER_FROM + len(rows) * _HOLDER_STEP - 2,
        answers=answers(asked, scale, 6, _COLUMN),
        failures="".join(f"M{place} 6h0" for place in failed),
        holders=held,
        double=tuple(doubles(trial, scale)),
        quiet=quiet(trial, scale),
    )


@dataclass(frozen=True)
class Dot:
    left: str
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Mark:
    left: str
    label: str
    late: bool = False


@dataclass(frozen=True)
class Distribution:
    """The silence of each trial as a dot, over the stretch from the expected to the worst."""

    dots: tuple[Dot, ...]
    expected: Mark | None
    worst: Mark | None
    band_left: str
    band_width: str
    stacked: bool
    ticks: tuple[Mark, ...]
    words: str


def common_scale(faults: Iterable[Fault]) -> tuple[Place, tuple[Mark, ...]]:
    """One axis for all faults: the square root of the time, so that 20 ms and 3 s can be told.

    Where nothing was predicted, a silence may be of another order: it does not stretch the axis.
    """
    all_of_them = list(faults)
    predicted = [fault for fault in all_of_them if fault.budget.worst is not None]
    top = max((_largest(fault) for fault in predicted or all_of_them), default=1.0) * 1.04

    def place(value: float) -> float:
        return WIDTH * math.sqrt(max(0.0, min(value, top)) / top)

    shown: list[float] = [0.0]
    for value in _NICE:
        if value <= top and place(value) - place(shown[-1]) > WIDTH * 0.11:
            shown.append(value)
    return place, tuple(Mark(percent(place(value)), f"{value:g}") for value in shown)


def own_scale(fault: Fault) -> tuple[Place, tuple[Mark, ...]]:
    """An axis for one fault, with equal steps."""
    top = _largest(fault) * 1.1
    step = round_step(top, 6)

    def place(value: float) -> float:
        return WIDTH * max(0.0, min(value, top)) / top

    values = [number * step for number in range(math.floor(top / step + 1e-9) + 1)]
    return place, tuple(Mark(percent(place(value)), f"{value:g}") for value in values)


def _largest(fault: Fault) -> float:
    known = [trial.silence for trial in fault.trials if trial.silence is not None]
    spread = [fault.silence.most] if fault.silence else []
    bounds = [fault.budget.worst] if fault.budget.worst else []
    return max([0.05, *known, *spread, *bounds])


def distribution(
    fault: Fault, axis: tuple[Place, tuple[Mark, ...]], *, pixels: int, middle: int
) -> Distribution:
    """All trials of a fault; `pixels` is how wide the drawing will be, about."""
    place, ticks = axis
    budget = fault.budget
    worst = None if budget.worst is None else place(budget.worst)
    expected = None if budget.expected is None else place(budget.expected)
    start = 0.0 if expected is None else expected
    return Distribution(
        dots=tuple(_dots(fault, place, pixels, middle)),
        expected=_mark(expected, budget.expected),
        worst=_mark(worst, budget.worst),
        band_left=percent(start),
        band_width=percent(0 if worst is None else max(0.0, worst - start)),
        stacked=expected is not None and expected < WIDTH * 0.18,
        ticks=ticks,
        words=_words(fault),
    )


def _mark(place: float | None, value: float | None) -> Mark | None:
    if place is None:
        return None
    return Mark(percent(place), seconds(value), late=place > WIDTH / 2)


def _dots(fault: Fault, place: Place, pixels: int, middle: int) -> Iterator[Dot]:
    """A dot for each trial, beside the others where they would lie on each other."""
    known = [(trial.silence, trial) for trial in fault.trials if trial.silence is not None]
    rows: dict[int, float] = {}
    for value, trial in sorted(known, key=lambda each: (each[0], each[1].number)):
        x = place(value) * pixels / WIDTH
        free = [row for row in (0, 1, -1, 2, -2) if x - rows.get(row, -pixels) >= _DOT]
        row = free[0] if free else trial.number % 5 - 2
        rows[row] = x
        yield Dot(
            left=percent(place(value)),
            y=middle + row * (_DOT - 0.5),
            kind=_dot_kind(trial, fault.budget),
            title=f"trial {trial.number}: {seconds(value)}",
        )


def _dot_kind(trial: Trial, budget: Budget) -> str:
    """unknown, bad or good: a circle that is hollow, a diamond, a circle."""
    if trial.verdict == UNKNOWN:
        return UNKNOWN
    return "bad" if trial.verdict == FAIL or late(trial.silence, budget) else "good"


def late(silence: float | None, budget: Budget) -> bool:
    """Was it longer than the worst that was predicted?"""
    return None not in (silence, budget.worst) and silence > budget.worst  # type: ignore[operator]


def _words(fault: Fault) -> str:
    if fault.silence is None:
        return "No silence was measured."
    if fault.count == 1:
        told = f"Silence in the one trial: {seconds(fault.silence.most)}."
    else:
        told = _quantiles(fault.count, fault.silence)
    if fault.budget.worst is None:
        return f"{told} Nothing was predicted."
    return (
        f"{told} Predicted: {seconds(fault.budget.expected)}, at worst "
        f"{seconds(fault.budget.worst)}."
    )


def _quantiles(trials: int, silence: Spread) -> str:
    return (
        f"Silence in {plural(trials, 'trial')}: median {seconds(silence.p50)}, "
        f"nine of ten at most {seconds(silence.p90)}, longest {seconds(silence.most)}."
    )
