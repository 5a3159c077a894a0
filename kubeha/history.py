"""What clients saw of the endpoint, and how long they had to do without.

Pure: attempts come in, figures come out. All times are seconds since 1970 on the operator's clock,
so that histories of several machines can be laid side by side, whatever their own clocks say.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

OK = "ok"


@dataclass(frozen=True, order=True)
class Attempt:
    """One thing that a client tried: a request, or the life of a watch.

    `outcome` is "ok" or a word for what went wrong: refused, timeout, reset, eof, tls,
    unreachable, http-STATUS, not-http, ended (a watch that the server closed), error. `broken`
    says that a long-lived connection, which had worked, was lost. `connection` numbers the
    attempts of a kind, or its long-lived connections; `source` is the node of the client.
    """

    start: float
    end: float
    kind: str
    outcome: str
    connection: int = 0
    broken: bool = False
    detail: str = ""
    source: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome == OK

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class History:
    """Attempts in the order of their starts. Use `history` or `merge`."""

    attempts: tuple[Attempt, ...] = ()

    def of(self, kind: str) -> tuple[Attempt, ...]:
        return tuple(attempt for attempt in self.attempts if attempt.kind == kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted({attempt.kind for attempt in self.attempts}))

    @property
    def failures(self) -> tuple[Attempt, ...]:
        return tuple(attempt for attempt in self.attempts if not attempt.ok)

    def cut_off(self, at: float) -> tuple[Attempt, ...]:
        """Failures of what had begun at that time (seconds since 1970) or before.

        What was under way through a machine that dies is lost with it, whatever takes over; what
        begins later need not fail.
        """
        return tuple(attempt for attempt in self.failures if attempt.start <= at)


def history(attempts: Iterable[Attempt]) -> History:
    """A history of attempts that come in any order."""
    return History(tuple(sorted(attempts)))


def merge(*histories: History) -> History:
    """All that several clients saw; the order of the arguments does not matter."""
    return history(attempt for one in histories for attempt in one.attempts)


def attempts_from(rows: Iterable[Sequence[Any]], offset: float, source: str) -> list[Attempt]:
    """Attempts from what the node program sends.

    A row is [kind, connection, start, end, outcome, detail, broken] with times on the node's
    monotonic clock; `offset` is what brings that clock to seconds since 1970.
    """
    return [
        Attempt(
            start=start + offset,
            end=end + offset,
            kind=kind,
            outcome=outcome,
            connection=connection,
            broken=broken,
            detail=detail,
            source=source,
        )
        for kind, connection, start, end, outcome, detail, broken in rows
    ]


@dataclass(frozen=True)
class Silence:
    """A stretch of time without a success, in seconds since 1970."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class KindSummary:
    """Figures of one kind of client; latencies in seconds, of successes only.

    `silence` is the longest time without a success (see `silences`). For watches, which do not
    ask repeatedly, there is no silence and no latency, but the longest life of one.
    `first_success` is how long after the fault the first request that was made after it had its
    answer: None without a fault or without such an answer.
    """

    kind: str
    count: int
    failed: int
    outcomes: Mapping[str, int]
    broken: int
    silence: Silence | None
    worst_latency: float | None
    median_latency: float | None
    longest_life: float | None = None
    first_success: float | None = None


@dataclass(frozen=True)
class Summary:
    """Figures of a history, by kind; `around` is the time of the fault, if there was one."""

    kinds: Mapping[str, KindSummary]
    around: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; a silence has its seconds spelt out."""
        values = asdict(self)
        for kind, summary in self.kinds.items():
            if summary.silence is not None:
                values["kinds"][kind]["silence"]["seconds"] = summary.silence.seconds
        return values


def summarise(history: History, around: float | None = None) -> Summary:
    """Figures per kind; with `around` (seconds since 1970), of what ended at that time or later."""
    kinds = {kind: _summarise_kind(kind, history.of(kind), around) for kind in history.kinds}
    return Summary(kinds, around)


def silences(attempts: Sequence[Attempt], since: float | None = None) -> list[Silence]:
    """The stretches between successes, for attempts of one kind.

    A success counts at its end, when the client has its answer. The observation begins with the
    first start of any attempt and ends with the last end of any; both close a stretch, so that
    with no success at all the whole observation is one silence. With `since`, stretches that end
    before it are left out; the one that is under way at that time counts as a whole, for a client
    waited all that time.
    """
    if not attempts:
        return []
    begin = min(attempt.start for attempt in attempts)
    end = max(attempt.end for attempt in attempts)
    points = [begin, *sorted(attempt.end for attempt in attempts if attempt.ok), end]
    stretches = (Silence(a, b) for a, b in zip(points, points[1:], strict=False))
    return [stretch for stretch in stretches if since is None or stretch.end >= since]


def _summarise_kind(kind: str, attempts: Sequence[Attempt], around: float | None) -> KindSummary:
    seen = [one for one in attempts if around is None or one.end >= around]
    waits = [one.seconds for one in seen if one.ok]
    quiet = silences(attempts, around)
    watch = kind == "watch"
    return KindSummary(
        kind=kind,
        count=len(seen),
        failed=sum(not one.ok for one in seen),
        outcomes=dict(sorted(Counter(one.outcome for one in seen).items())),
        broken=sum(one.broken for one in seen),
        silence=None if watch else max(quiet, key=lambda one: one.seconds, default=None),
        worst_latency=None if watch else max(waits, default=None),
        median_latency=median(waits) if waits and not watch else None,
        longest_life=max((one.seconds for one in seen), default=None) if watch else None,
        first_success=None if watch else _first_success(seen, around),
    )


def _first_success(attempts: Sequence[Attempt], around: float | None) -> float | None:
    if around is None:
        return None
    ends = (one.end for one in attempts if one.ok and one.start >= around)
    return min((end - around for end in ends), default=None)
