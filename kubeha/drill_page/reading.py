"""A result of drills as values.

Everything in it may come from a machine that somebody else rules: a text is shown and never
obeyed, a number that is none is left out. What is missing is empty, so that results of older and
newer versions can be shown too. Times are seconds after the strike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"

# Controls, surrogates and marks that turn the direction of writing: what is shown is what is there.
_UNSEEN = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *range(0x200E, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
        0xFFFE,
        0xFFFF,
    ],
    "\N{REPLACEMENT CHARACTER}",
)
_LONGEST_TEXT = 500
_LARGEST = 1e9


@dataclass(frozen=True)
class Attempt:
    """One thing that a client tried."""

    kind: str
    connection: str
    start: float
    end: float
    outcome: str
    source: str
    broken: bool

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Stretch:
    """A time in which a node had the VIP, or saw a server in one state. No end: to the last."""

    node: str
    start: float
    end: float
    server: str = ""
    status: str = ""


@dataclass(frozen=True)
class Event:
    at: float
    node: str
    what: str


@dataclass(frozen=True)
class Trial:
    fault: str
    number: int
    node: str
    verdict: str
    reasons: tuple[str, ...]
    healed: float | None
    begin: float
    end: float
    attempts: tuple[Attempt, ...]
    holders: tuple[Stretch, ...]
    servers: tuple[Stretch, ...]
    events: tuple[Event, ...]
    silence: float | None
    failed: int
    requests: int
    broken: int
    connections: int
    new_holder: float | None
    two_holders: float
    moves: int

    @property
    def recorded(self) -> bool:
        """Did it come to its strike?"""
        return bool(self.attempts or self.holders)


@dataclass(frozen=True)
class Spread:
    p50: float
    p90: float
    most: float


@dataclass(frozen=True)
class Term:
    """One addend of a predicted bound."""

    name: str
    seconds: float | None
    source: str


@dataclass(frozen=True)
class Budget:
    """What was predicted for a fault."""

    moves: bool | None = None
    expected: float | None = None
    worst: float | None = None
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Fault:
    """A fault with its trials, in the order of their numbers."""

    name: str
    summary: str
    verdict: str
    count: int
    passed: int
    silence: Spread | None
    requests: int
    failed: int
    connections: int
    broken: int
    new_holder: Spread | None
    two_holders: float
    moves: tuple[int, ...]
    budget: Budget
    trials: tuple[Trial, ...]

    @property
    def recorded(self) -> bool:
        return any(trial.recorded for trial in self.trials)


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    keepalived: str
    haproxy: str
    kernel: str
    os: str


@dataclass(frozen=True)
class Result:
    cluster: str
    vip: str
    port: str
    started: float | None
    kubeha: str
    nodes: tuple[Node, ...]
    clients: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    faults: tuple[Fault, ...]


def read(result: Mapping[str, Any]) -> Result:
    """The result as values; the JSON is described in docs/drills.md."""
    endpoint = _mapping(result.get("endpoint"))
    budgets = {text(each.get("fault")): _budget(each) for each in _mappings(result, "budget")}
    trials = [_trial(each) for each in _mappings(result, "trials")]
    return Result(
        cluster=text(result.get("cluster")),
        vip=text(endpoint.get("vip")),
        port=text(endpoint.get("port")),
        started=number(result.get("started"), most=1e12),
        kubeha=text(result.get("kubeha")),
        nodes=tuple(_node(k, _mapping(v)) for k, v in _mapping(result.get("nodes")).items()),
        clients=tuple(text(each) for each in _list(result.get("clients"))),
        settings=tuple((text(k), text(v)) for k, v in _mapping(result.get("settings")).items()),
        faults=tuple(_fault(each, budgets, trials) for each in _mappings(result, "faults")),
    )


def text(value: object) -> str:
    """What to show of a value: bounded, with everything that one could not see replaced."""
    if isinstance(value, str | int):
        return _word(value)
    return _word("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))


# A result has some words a million times.
@lru_cache(maxsize=10_000, typed=True)
def _word(value: str | int) -> str:
    return str(value)[:_LONGEST_TEXT].translate(_UNSEEN)


def number(value: object, most: float = _LARGEST) -> float | None:
    """A number that is finite and not absurd, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= most else None


def _seconds(value: object, default: float = 0.0) -> float:
    found = number(value)
    return default if found is None else found


def _count(value: object) -> int:
    return max(0, int(_seconds(value)))


def _verdict(value: object) -> str:
    return next((known for known in (PASS, FAIL) if value == known), UNKNOWN)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _mappings(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [each for each in _list(value.get(key)) if isinstance(each, Mapping)]


def _node(name: str, value: Mapping[str, Any]) -> Node:
    fields = ("address", "keepalived", "haproxy", "kernel", "os")
    return Node(text(name), *(text(value.get(field)) for field in fields))


def _budget(value: Mapping[str, Any]) -> Budget:
    moves = value.get("moves")
    return Budget(
        moves=moves if isinstance(moves, bool) else None,
        expected=number(value.get("expected")),
        worst=number(value.get("worst")),
        terms=tuple(
            Term(text(each.get("name")), number(each.get("seconds")), text(each.get("source")))
            for each in _mappings(value, "terms")
        ),
    )


def _spread(value: object) -> Spread | None:
    figures = [number(_mapping(value).get(name)) for name in ("p50", "p90", "max")]
    known = [figure for figure in figures if figure is not None]
    return Spread(*known) if len(known) == len(figures) else None


def _fault(value: Mapping[str, Any], budgets: Mapping[str, Budget], trials: list[Trial]) -> Fault:
    name = text(value.get("fault"))
    mine = sorted((one for one in trials if one.fault == name), key=lambda one: one.number)
    return Fault(
        name=name,
        summary=text(value.get("summary")),
        verdict=_verdict(value.get("verdict")),
        count=_count(value.get("trials")),
        passed=_count(value.get("passed")),
        silence=_spread(value.get("silence")),
        requests=_count(value.get("requests")),
        failed=_count(value.get("failed")),
        connections=_count(value.get("connections")),
        broken=_count(value.get("broken")),
        new_holder=_spread(value.get("new_holder")),
        two_holders=_seconds(value.get("two_holders")),
        moves=tuple(_count(each) for each in _list(value.get("moves"))),
        budget=budgets.get(name, Budget()),
        trials=tuple(mine),
    )


def _trial(value: Mapping[str, Any]) -> Trial:
    begin = min(_seconds(value.get("begin")), 0.0)
    end = max(_seconds(value.get("end")), begin + 0.001, 0.001)
    return Trial(
        fault=text(value.get("fault")),
        number=_count(value.get("number")),
        node=text(value.get("node")),
        verdict=_verdict(value.get("verdict")),
        reasons=tuple(text(each) for each in _list(value.get("reasons"))),
        healed=number(value.get("healed")),
        begin=begin,
        end=end,
        attempts=tuple(_attempts(value)),
        holders=tuple(_stretches(value, "holders", begin, end)),
        servers=tuple(_stretches(value, "servers", begin, end)),
        events=tuple(
            Event(_seconds(each.get("at")), text(each.get("node")), text(each.get("what")))
            for each in _mappings(value, "events")
        ),
        silence=number(value.get("silence")),
        failed=_count(value.get("failed")),
        requests=_count(value.get("requests")),
        broken=_count(value.get("broken")),
        connections=_count(value.get("connections")),
        new_holder=number(value.get("new_holder")),
        two_holders=_seconds(value.get("two_holders")),
        moves=_count(value.get("moves")),
    )


def _attempts(value: Mapping[str, Any]) -> list[Attempt]:
    """Rows of [kind, connection, start, end, outcome, source, broken]; no others."""
    found = []
    for row in _list(value.get("attempts")):
        if not isinstance(row, list | tuple) or len(row) < 7:
            continue
        start, end = number(row[2]), number(row[3])
        if start is None or end is None:
            continue
        words = [text(row[index]) for index in (0, 1, 4, 5)]
        kind, connection, outcome, source = words
        broken = row[6] is True
        found.append(Attempt(kind, connection, start, max(start, end), outcome, source, broken))
    return found


def _stretches(value: Mapping[str, Any], key: str, begin: float, end: float) -> list[Stretch]:
    """Stretches within the trial; what has no end lasted to the end of it."""
    found = []
    for each in _mappings(value, key):
        start = max(begin, _seconds(each.get("from"), begin))
        stop = min(end, _seconds(each.get("to"), end))
        if stop >= start:
            words = [text(each.get(name)) for name in ("node", "server", "status")]
            found.append(Stretch(words[0], start, stop, words[1], words[2]))
    return found
