"""Trials -> the result of a drill, as data: what `-o json`, the record and the report are made of.

The shape is documented in docs/drills.md. A trial is plain data from the moment it is judged: it is
written to the record, and read from there when a drill is resumed.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from kubeha.drills.catalogue import FAULTS, Fault
from kubeha.drills.timeline import Interval, intervals
from kubeha.drills.verdict import Judged, Recording, Verdict, merged
from kubeha.history import Attempt

SCHEMA_VERSION = 1

# Around the strike every success is kept, else one in so many seconds: nobody looks at them.
_CLOSE = (-1.0, 3.0)
_APART = 0.25

Trial = Mapping[str, Any]


def trial(
    fault: Fault, number: int, seen: Recording, judged: Judged, struck: float
) -> dict[str, Any]:
    """One trial as data; `struck` is in seconds since 1970, all else relative to it."""
    return {
        "fault": fault.name,
        "number": number,
        "node": seen.node,
        "verdict": judged.verdict.value,
        "reasons": list(judged.reasons),
        "struck": round(struck, 4),
        "healed": _rounded(seen.healed),
        "begin": _rounded(seen.begin),
        "end": _rounded(seen.end),
        "attempts": [_row(each) for each in thinned(seen.attempts)],
        "holders": [_holding(each) for each in judged.held],
        "servers": [_server(each) for each in intervals(seen.changes, "server")],
        "events": list(_events(seen, judged)),
        "silence": _rounded(judged.silence),
        "failed": judged.failed,
        "requests": judged.requests,
        "broken": judged.broken,
        "connections": judged.connections,
        "new_holder": _rounded(judged.new_holder),
        "two_holders": _rounded(judged.two_holders),
        "moves": judged.moves,
    }


def not_begun(fault: Fault, number: int, node: str, at: float, reasons: Sequence[str]) -> Trial:
    """A trial that never came to its strike: unknown."""
    seen = Recording(node, "", 0.0, 0.0, 0.0, None, (), ())
    return trial(fault, number, seen, Judged(Verdict.UNKNOWN, tuple(reasons)), at)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _row(each: Attempt) -> list[Any]:
    """[kind, connection, start, end, outcome, source, broken]"""
    times = [round(each.start, 4), round(each.end, 4)]
    return [each.kind, each.connection, *times, each.outcome, each.source, each.broken]


def _holding(each: Interval) -> dict[str, Any]:
    return {"node": each.node, "from": _rounded(each.begin), "to": _rounded(each.end)}


def _server(each: Interval) -> dict[str, Any]:
    status = {"server": each.name, "status": each.value}
    return {"node": each.node, **status, "from": _rounded(each.begin), "to": _rounded(each.end)}


def _events(seen: Recording, judged: Judged) -> Iterable[dict[str, Any]]:
    """What is worth an annotation, in the order of time."""
    events: list[tuple[float, str | None, str]] = [(0.0, seen.node or None, "strike")]
    if seen.healed is not None:
        events.append((seen.healed, seen.node or None, "healed"))
    events += [(e.begin, e.node, "takes the VIP") for e in judged.held if e.begin > 0]
    words = {"gone": "HAProxy is gone", "silent": "HAProxy does not answer"}
    words["answers"] = "HAProxy answers"
    for each in intervals(seen.changes, "haproxy"):
        if each.begin > 0:
            events.append((each.begin, each.node, words[each.value]))
    ordered = sorted(events, key=lambda event: event[0])
    return [{"at": _rounded(at), "node": node, "what": what} for at, node, what in ordered]


def thinned(attempts: Sequence[Attempt]) -> list[Attempt]:
    """All failures and all that is near the strike; of the other successes a few.

    On both sides of a gap a success is kept, so that no silence looks longer than it was.
    """
    kept: list[Attempt] = []
    last: dict[tuple[str, str, int], Attempt] = {}
    skipped: dict[tuple[str, str, int], Attempt] = {}
    for each in sorted(attempts):
        key = (each.kind, each.source, -1 if each.kind == "version" else each.connection)
        near = _CLOSE[0] <= each.end and each.start <= _CLOSE[1]
        before = last.get(key)
        if each.ok and not near and before and each.end - before.end < _APART:
            skipped[key] = each
            continue
        if held_back := skipped.pop(key, None):
            kept.append(held_back)
        kept.append(each)
        last[key] = each
    return sorted([*kept, *skipped.values()])


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """p50, p90 and the most, by nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    return {"p50": rank(0.5), "p90": rank(0.9), "max": ordered[-1]}


def summary(name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """The row of one fault."""
    verdicts = [Verdict(each["verdict"]) for each in trials]
    began = [each for each in trials if each["requests"] or each["holders"]]

    def known(key: str) -> list[float]:
        return [each[key] for each in began if each[key] is not None]

    return {
        "fault": name,
        "summary": FAULTS[name].summary,
        "verdict": merged(verdicts).value,
        "trials": len(trials),
        "passed": verdicts.count(Verdict.PASS),
        "silence": spread(known("silence")),
        "requests": sum(each["requests"] for each in trials),
        "failed": sum(each["failed"] for each in trials),
        "connections": sum(each["connections"] for each in trials),
        "broken": sum(each["broken"] for each in trials),
        "new_holder": spread(known("new_holder")),
        "two_holders": max(known("two_holders"), default=0.0),
        "moves": [each["moves"] for each in began],
    }


def result(head: Mapping[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    """The whole result; `head` has what is known of the cluster and the nodes."""
    names = list(dict.fromkeys(each["fault"] for each in trials))
    faults = [summary(name, [each for each in trials if each["fault"] == name]) for name in names]
    return {"version": SCHEMA_VERSION, **head, "faults": faults, "trials": list(trials)}


def verdict(whole: Mapping[str, Any]) -> Verdict:
    """Of the whole drill."""
    return merged([Verdict(each["verdict"]) for each in whole["faults"]])
