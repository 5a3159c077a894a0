"""What clients did in a trial, as drawings: one lane for each kind of client.

A drawing is a handful of SVG paths, its x from 0 to WIDTH and its y in pixels. Whatever would fall
on the same few pixels is drawn once, so that a lane has a bounded size.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from kubeha.drill_page.reading import Attempt, Trial
from kubeha.drill_page.scale import WIDTH, TimeScale
from kubeha.drill_page.silence import LONG_LIVED
from kubeha.drill_page.words import count, moment, seconds, share

NAMES = {
    "version": "New connections",
    "read": "Authenticated reads",
    "stream": "Long-lived connections",
    "watch": "Watches",
}
_ONE = {
    "version": "new connection",
    "read": "authenticated read",
    "stream": "long-lived connection",
    "watch": "watch",
}
_WAIT_HEIGHT = 52
_ANSWERS = 8
# Places that share a mark.
_COLUMN = 6
_CROSS_COLUMN = 25
# A result has every success around the strike; before and after, where none is missing, one in so
# many seconds (drills/result.py).
_IN_FULL, _THINNED = (-1.0, 3.0), 0.27
# A request on an open connection that takes longer than this shows as a wait, in seconds.
_LONG_WAIT = 0.2
_ROW, _TALLEST = 5.0, 90


@dataclass(frozen=True)
class Level:
    """A line for a length of waiting."""

    y: int
    label: str


@dataclass(frozen=True)
class Cross:
    left: str
    y: int
    title: str


@dataclass(frozen=True)
class Asking:
    """New connections: how long each waited, by its start, and when answers came."""

    name: str
    note: str
    bad: bool
    height: int
    floor: int
    levels: tuple[Level, ...]
    waits: str
    failures: str
    crosses: tuple[Cross, ...]
    answers: str


@dataclass(frozen=True)
class Living:
    """Long-lived connections: one line each, a dot where it was lost."""

    name: str
    note: str
    bad: bool
    height: int
    stroke: str
    alive: str
    waiting: str
    lost: str


def asking_lanes(trial: Trial, scale: TimeScale) -> list[Asking]:
    kinds = _by_kind(trial)
    return [_asking(kind, kinds[kind], scale) for kind in kinds if kind not in LONG_LIVED]


def living_lanes(trial: Trial, scale: TimeScale) -> list[Living]:
    kinds = _by_kind(trial)
    return [_living(kind, kinds[kind], scale) for kind in kinds if kind in LONG_LIVED]


def _by_kind(trial: Trial) -> Mapping[str, Sequence[Attempt]]:
    kinds: dict[str, list[Attempt]] = {kind: [] for kind in NAMES}
    for one in trial.attempts:
        kinds.setdefault(one.kind, []).append(one)
    return {kind: attempts for kind, attempts in kinds.items() if attempts}


def _asking(kind: str, attempts: Sequence[Attempt], scale: TimeScale) -> Asking:
    failed = [one for one in attempts if not one.ok]
    top = max(1.0, max(one.seconds for one in attempts))
    return Asking(
        name=NAMES.get(kind, kind),
        note=_outcomes(failed) if failed else "none failed",
        bad=bool(failed),
        height=_WAIT_HEIGHT + 4 + _ANSWERS,
        floor=_WAIT_HEIGHT,
        levels=tuple(
            Level(_height(wait, top), f"{wait:g}\N{NO-BREAK SPACE}s")
            for wait in (1.0, 10.0, 60.0)
            if wait <= top
        ),
        waits=_stems((one for one in attempts if one.ok), scale, top),
        failures=_stems(failed, scale, top),
        crosses=tuple(_crosses(failed, scale, top)),
        answers=answers(attempts, scale, _WAIT_HEIGHT + 4 + _ANSWERS // 2),
    )


def _outcomes(failed: Sequence[Attempt]) -> str:
    """3 failed: 2 timeout, 1 refused."""
    kinds = Counter(one.outcome for one in failed).most_common(4)
    return f"{count(len(failed))} failed: " + ", ".join(f"{n} {outcome}" for outcome, n in kinds)


def _height(wait: float, top: float) -> int:
    """The y of a wait: its square root, so that both 10 ms and 10 s can be seen."""
    return round(_WAIT_HEIGHT * (1 - math.sqrt(wait / top))) + 1


def _stems(attempts: Iterable[Attempt], scale: TimeScale, top: float) -> str:
    """A stem for each attempt at its start; of those in one column, the one that waited most."""
    longest: dict[int, float] = {}
    for one in attempts:
        column = scale(one.start) // _COLUMN
        longest[column] = max(longest.get(column, 0.0), one.seconds)
    return "".join(
        f"M{column * _COLUMN} {_WAIT_HEIGHT}V{min(_height(wait, top), _WAIT_HEIGHT - 2)}"
        for column, wait in sorted(longest.items())
    )


def _crosses(failed: Sequence[Attempt], scale: TimeScale, top: float) -> Iterator[Cross]:
    """Marks on failed attempts that lie apart, each with words on all that it stands for."""

    def column(one: Attempt) -> int:
        return scale(one.start) // _CROSS_COLUMN

    for _, group in groupby(sorted(failed, key=lambda one: one.start), key=column):
        marked = list(group)
        worst = max(marked, key=lambda one: one.seconds)
        yield Cross(
            left=scale.percent(worst.start),
            y=max(_height(worst.seconds, top), 5),
            title=_title(worst) + (f", and {len(marked) - 1} more" if len(marked) > 1 else ""),
        )


def _title(one: Attempt) -> str:
    return f"{moment(one.start)}, {one.source}: {one.outcome} after {seconds(one.seconds)}"


def answers(attempts: Iterable[Attempt], scale: TimeScale, y: int, width: int = _COLUMN) -> str:
    """When answers came. Those that lie close to each other are one line."""
    runs: list[list[float]] = []
    for end in sorted(one.end for one in attempts if one.ok):
        place = scale(end)
        if runs and _joined(runs[-1][2], end, (place - runs[-1][1]) / width):
            runs[-1][1:] = [place, end]
        else:
            runs.append([place, place, end])
    return "".join(f"M{a} {y}H{min(max(b, a + width), WIDTH)}" for a, b, _ in runs)


def _joined(earlier: float, later: float, widths: float) -> bool:
    """Is there nothing to be seen between two answers, or are those between them left out?"""
    thinned = not _IN_FULL[0] <= later <= _IN_FULL[1]
    return widths <= 2 or (thinned and later - earlier <= _THINNED)


def _living(kind: str, attempts: Sequence[Attempt], scale: TimeScale) -> Living:
    rows = _rows(attempts)
    broken = sum(one.broken for one in attempts)
    others = [one for one in attempts if not one.ok and not one.broken]
    height = max(10, min(_TALLEST, round(len(rows) * _ROW)))
    step = height / len(rows)
    alive: list[str] = []
    waiting: list[str] = []
    lost: list[str] = []
    for index, row in enumerate(rows):
        y = f"{(index + 0.5) * step:.1f}".removesuffix(".0")
        for piece in _life(kind, row):
            if isinstance(piece, float):
                lost.append(f"M{scale(piece)} {y}h0")
            else:
                start, end = scale(piece[0]), scale(piece[1])
                (waiting if piece[2] else alive).append(f"M{start} {y}H{max(end, start + 1)}")
    note = f"{share(broken, len(rows))} broken" if broken else "none broken"
    return Living(
        name=NAMES.get(kind, kind),
        note=note + (f"; {_outcomes(others)}" if others else ""),
        bad=bool(broken),
        height=height,
        stroke=f"{min(2.5, max(0.6, step * 0.5)):.1f}",
        alive="".join(alive),
        waiting="".join(waiting),
        lost="".join(lost),
    )


def _rows(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """The attempts of each connection, in the order of time."""
    rows: dict[tuple[str, int, str], list[Attempt]] = {}
    for one in sorted(attempts, key=lambda one: (one.start, one.end)):
        key = (one.source, len(one.connection), one.connection)
        rows.setdefault(key, []).append(one)
    return [rows[key] for key in sorted(rows)]


def _life(kind: str, row: Sequence[Attempt]) -> Iterator[tuple[float, float, bool] | float]:
    """Pieces (begin, end, waiting) of a connection's life, and the times at which it was lost."""
    since: float | None = None
    for one in row:
        whole = kind == "watch"
        since = one.start if since is None else since
        if one.ok and not whole and one.seconds < _LONG_WAIT:
            continue
        until = one.end if whole else one.start
        yield since, until, False
        if not whole:
            yield one.start, one.end, True
        if not one.ok:
            yield one.end
        since = one.end if one.ok and not whole else None
    if since is not None and row:
        yield since, max(since, row[-1].end), False


def failures(trial: Trial, most: int) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Rows of words on the failed attempts, and how many more there are."""
    failed = sorted((one for one in trial.attempts if not one.ok), key=lambda one: one.start)
    rows = tuple(
        (
            moment(one.start),
            seconds(one.seconds),
            one.source,
            _ONE.get(one.kind, one.kind) + (f" {one.connection}" if one.kind in LONG_LIVED else ""),
            one.outcome,
        )
        for one in failed[:most]
    )
    return rows, max(0, len(failed) - most)
