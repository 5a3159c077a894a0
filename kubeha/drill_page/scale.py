"""From seconds to places on the page.

A place is a whole number from 0 to WIDTH. Drawings are stretched to the width of their column, so
that texts, which are not drawn, keep their size on any screen.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH = 2000
_STEPS = (1, 2, 5)
# Shares of the width for what was before the strike, and after the moments that matter.
_BEFORE, _AFTER = 0.08, 0.26
# Names of times nearer than this would run into each other, on a wide screen and on a small one.
_NEAR, _NEAR_ON_SMALL = 0.04, 0.11
# A trial this many times longer than the moments that matter is drawn at two speeds.
_FOLD_FROM = 2.0


@dataclass(frozen=True)
class Tick:
    place: int
    label: str
    minor: bool = False

    @property
    def percent(self) -> str:
        return percent(self.place)

    @property
    def edge(self) -> str:
        """A class for what would stick out at an end of the axis."""
        if self.place < WIDTH * 0.01:
            return " first"
        return " last" if self.place > WIDTH * 0.985 else ""


@dataclass(frozen=True)
class TimeScale:
    """Time to place, in straight pieces: slow around the strike, faster before and after."""

    times: tuple[float, ...]
    places: tuple[float, ...]

    def __call__(self, time: float) -> int:
        piece = bisect_right(self.times, time, 1, len(self.times) - 1)
        t0, t1 = self.times[piece - 1 : piece + 1]
        x0, x1 = self.places[piece - 1 : piece + 1]
        place = x0 + (x1 - x0) * (time - t0) / (t1 - t0)
        return round(min(max(place, 0.0), WIDTH))

    def percent(self, time: float) -> str:
        return percent(self(time))

    @property
    def faster(self) -> list[tuple[float, float]]:
        """Stretches of places where time runs faster than where it runs slowest."""
        speeds = [(t1 - t0) / (x1 - x0) for t0, t1, x0, x1 in self._pieces()]
        return [
            (x0, x1)
            for speed, (_, _, x0, x1) in zip(speeds, self._pieces(), strict=True)
            if speed > min(speeds) * 1.01
        ]

    @property
    def points(self) -> str:
        """Where the speed changes, for the script: time@percent, parted by blanks."""
        pairs = zip(self.times, self.places, strict=True)
        return " ".join(f"{time:.4f}@{place * 100 / WIDTH:.2f}" for time, place in pairs)

    def ticks(self) -> list[Tick]:
        """Times to name, each piece at its own step; minor ones have no room on a small screen."""
        named = [(self(time), _label(time)) for time in self._named()]
        apart = _apart(named, WIDTH * _NEAR)
        major = _apart(apart, WIDTH * _NEAR_ON_SMALL)
        return [Tick(place, label, (place, label) not in major) for place, label in apart]

    def _named(self) -> Iterator[float]:
        for t0, t1, x0, x1 in self._pieces():
            yield from _round_times(t0, t1, max(1, round((x1 - x0) / WIDTH * 11)))

    def _pieces(self) -> Iterator[tuple[float, float, float, float]]:
        return zip(self.times, self.times[1:], self.places, self.places[1:], strict=False)


def _apart(named: Sequence[tuple[int, str]], least: float) -> list[tuple[int, str]]:
    """Of places with names those that do not run into each other; the strike is among them."""
    kept = [each for each in named if each[1] == "0"][:1]
    for each in named:
        if all(abs(each[0] - other[0]) >= least for other in kept):
            kept.append(each)
    return sorted(kept)


def percent(place: float) -> str:
    return f"{place * 100 / WIDTH:.2f}".rstrip("0").rstrip(".") + "%"


def time_scale(begin: float, end: float, matters: float) -> TimeScale:
    """A scale of a trial in which everything that matters happens until `matters`."""
    focus = round_up(max(matters * 1.6, 0.5))
    lead = focus * 0.12
    if end - begin <= (focus + lead) * _FOLD_FROM:
        return TimeScale((begin, end), (0, WIDTH))
    times, places = [begin], [0.0]
    if begin < -2 * lead:
        times.append(-lead)
        places.append(WIDTH * _BEFORE)
    return TimeScale((*times, focus, end), (*places, WIDTH * (1 - _AFTER), WIDTH))


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7 and their tenfolds."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 7, 10) if step * power >= value * 0.999)


def round_step(room: float, count: int) -> float:
    """The least round step that divides the room into at most so many parts."""
    power = 10.0 ** math.floor(math.log10(room / count))
    return next(step * power for step in (*_STEPS, 10) if step * power >= room / count * 0.999)


def _round_times(begin: float, end: float, count: int) -> Sequence[float]:
    """About so many round times; one at least, unless there is not a tenth of a second."""
    step = round_step(end - begin, count)
    first, last = math.ceil(begin / step - 1e-9), math.floor(end / step + 1e-9)
    if first > last and step > 0.1:
        return _round_times(begin, end, count + 1)
    return [number * step for number in range(first, last + 1)]


def _label(time: float) -> str:
    return f"{time:+g}".replace("-", "\N{MINUS SIGN}") if abs(time) > 1e-9 else "0"
