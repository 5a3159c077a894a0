"""How long a trial is watched: until nothing has gone wrong for longer than any client waits.

The rule is the same for all. An attempt that is under way for long counts as gone wrong until it
has ended, so that nothing which hangs is taken for quiet. Pure: it is told what time it is.
"""

from collections import deque
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

# Seconds without anything wrong, more than a client's patience: whatever hangs has failed by then.
QUIET = 13.0
# Seconds after which watching ends in any case; enough for the slowest configuration to have
# failed for the last time, about 50 s after a crash.
MOST = 60.0
# What takes longer than this hangs. A first packet that was lost costs 1 s.
HANGS = 2.0
# A box that takes longer than this for a new connection (median, 99 %) before anything happens has
# other work, and the trial does not count. Only what is before the event decides.
USUAL = 3.0
USUAL_MEDIAN = 0.05
USUAL_P99 = 0.3


class Client:
    """What one machine of clients has still under way, told by what it has reported.

    New connections are numbered and begin by the clock, `rate` a second; long-lived ones report
    each request, one every `interval` seconds. Times are those of the machine's own clock.
    """

    def __init__(self, rate: float, connections: int, interval: float) -> None:
        self._rate = rate
        self._interval = interval
        self._begin: float | None = None
        self._lowest = 0
        self._done: set[int] = set()
        self._heard = dict.fromkeys(range(connections), float("-inf"))

    def wrong(self, clock: float, rows: Sequence[Sequence[Any]]) -> bool:
        """Take a report (see history.attempts_from): has something failed, or does it hang?"""
        if self._begin is None:
            self._begin = clock
        for kind, number, _, end, *_ in rows:
            if kind == "version":
                self._done.add(number)
            else:
                self._heard[number] = end
        while self._lowest in self._done:
            self._done.remove(self._lowest)
            self._lowest += 1
        return any(outcome != "ok" or lost for *_, outcome, _, lost in rows) or self._hangs(
            clock, self._begin
        )

    def _hangs(self, clock: float, begin: float) -> bool:
        due = (clock - begin - HANGS) * self._rate
        # All long-lived connections begin within a second.
        latest = min(max(end, begin + 1.0) for end in self._heard.values())
        return self._lowest < int(due) or clock - latest > HANGS + self._interval


class Trouble:
    """When something was wrong for the last time, in seconds since 1970, and what is usual now."""

    def __init__(self, rate: float, connections: int, interval: float) -> None:
        self._settings = (rate, connections, interval)
        self._clients: dict[str, Client] = {}
        self._successes: deque[tuple[float, float]] = deque(maxlen=2000)
        self.last = float("-inf")

    def told(self, source: str, clock: float, rows: Sequence[Sequence[Any]], now: float) -> None:
        """A machine's report; `rate` and `connections` are those of one machine."""
        client = self._clients.setdefault(source, Client(*self._settings))
        if client.wrong(clock, rows):
            self.last = now
        self._successes += [
            (now, end - start)
            for kind, _, start, end, outcome, *_ in rows
            if (kind, outcome) == ("version", "ok")
        ]

    def calm(self, now: float) -> bool:
        """Has nothing been wrong for a while, and were new connections as quick as they are?"""
        latencies = [seconds for at, seconds in self._successes if at > now - USUAL]
        return self.last < now - USUAL and not disturbed(latencies)


def disturbed(latencies: Sequence[float]) -> bool:
    """Is this, in seconds, what a box with other work needs for a new connection?"""
    if len(latencies) < 2:
        return True
    return median(latencies) > USUAL_MEDIAN or quantiles(latencies, n=100)[98] > USUAL_P99


def end(moved: float, last: float) -> float:
    """When to stop watching: quiet for long enough since the move, or at the latest."""
    return min(max(moved, last) + QUIET, moved + MOST)
