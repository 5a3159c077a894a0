"""The section of docs/benchmarks.md: tables, goals, and what was measured where. Pure."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.failover import quiet, throughput
from bench.failover.results import Row, cell, table
from bench.failover.trial import EVENTS
from kubeha.moves import DEFAULT_DEADLINE

CRASH = """\
### Crash of the holder

The machine that holds the VIP loses its power. Silence is the longest time in which no client had \
an answer over a new connection; with `balance source` a client may be tied to the API server that \
died, which the column beside shows. Median (maximum) of the trials:
"""
MOVE = """\
### Planned move

kubeha: `kubeha handover`. The others: `systemctl stop keepalived` on the holder, as before an \
upgrade or a reboot; the second move, back, when it is started again, is not counted. For kubeha, \
the time until another node has the VIP includes all preparations: no client waits for it. Clients \
are watched until {quiet:g} s after the move at the least; kubeha closes the connections that \
still live on through the former holder at the deadline, {deadline:g} s, which no trial lasts: \
`0 broken` is of that time only.
"""
GOALS = """\
### Goals

Set before anything was measured:
"""
THROUGHPUT = """\
### Throughput and latency

`ab` on one client, {concurrency} requests at a time, `GET {path}` over TLS, to a real \
kube-apiserver: direct, through HAProxy as kubeha deploys it, through nginx as kubeasz ships it \
(one worker). Direct is one API server, the proxies share out among three; everything shares the \
box's processors, the client too, so that a proxy's own work lowers the rate. Medians of {rounds} \
rounds, taken in turns:
"""


@dataclass(frozen=True)
class Goal:
    """A figure that a cell has to reach."""

    text: str
    configuration: str
    event: str
    figure: Callable[[Sequence[Row]], float]
    most: float
    unit: str = " s"
    trials: int = 50


def _median_silence(rows: Sequence[Row]) -> float:
    return median(_or_infinity(row["silence"]) for row in rows)


def _most_silence(rows: Sequence[Row]) -> float:
    return max(_or_infinity(row["silence"]) for row in rows)


def _or_infinity(value: float | None) -> float:
    return float("inf") if value is None else value


def _sum(key: str) -> Callable[[Sequence[Row]], float]:
    return lambda rows: sum(row[key] for row in rows)


def _most(key: str) -> Callable[[Sequence[Row]], float]:
    return lambda rows: max(row[key] for row in rows)


ALL_GOALS = (
    Goal("crash, 100 ms: median silence", "kubeha-100ms", "crash", _median_silence, 0.35),
    Goal("crash, 100 ms: longest silence", "kubeha-100ms", "crash", _most_silence, 0.6),
    Goal("crash, 50 ms: median silence", "kubeha-50ms", "crash", _median_silence, 0.25),
    Goal("crash, 50 ms: longest silence", "kubeha-50ms", "crash", _most_silence, 0.5),
    Goal("move, 100 ms: failed requests", "kubeha-100ms", "move", _sum("failed"), 0, ""),
    Goal("move, 100 ms: broken connections", "kubeha-100ms", "move", _sum("broken"), 0, ""),
    Goal("crash, 100 ms: two holders", "kubeha-100ms", "crash", _most("two_holders"), 0.1),
    Goal("move, 100 ms: two holders", "kubeha-100ms", "move", _most("two_holders"), 0.1),
    Goal(
        "both cores loaded for 30 minutes, 100 ms: moves",
        "kubeha-100ms",
        "loaded",
        _sum("moves"),
        0,
        "",
        trials=1,
    ),
)


def section(rows: Sequence[Row], titles: Mapping[str, str], setting: str) -> str:
    """Everything between the markers; parts without a trial are left out."""
    parts = [f"{setting}\n"]
    for event, text in (("crash", CRASH), ("move", _move_text())):
        if any(cell(rows, name, event) for name in titles):
            parts += [text, table(rows, event, titles), _picture(event)]
    parts += [GOALS, goals(rows)]
    if any(row["event"] == "throughput" for row in rows):
        parts += [throughput_table(rows)]
    parts.append(circumstances(rows, titles))
    return "\n".join(parts) + "\n"


def _move_text() -> str:
    return MOVE.format(quiet=quiet.QUIET, deadline=DEFAULT_DEADLINE)


def _picture(event: str) -> str:
    return f"\n![Silence in every trial: {event}](images/failover-{event}.svg)\n"


def goals(rows: Sequence[Row]) -> str:
    """What was wanted, what came out, and whether that is enough."""
    lines = ["| | goal | measured | trials | |", "| --- | --- | --- | --- | --- |"]
    for goal in ALL_GOALS:
        found = cell(rows, goal.configuration, goal.event)
        limit = f"at most {goal.most:g}{goal.unit}"
        if not found:
            lines.append(f"| {goal.text} | {limit} | | 0 of {goal.trials} | not measured |")
            continue
        value = goal.figure(found)
        verdict = "reached" if value <= goal.most else "**missed**"
        if len(found) < goal.trials:
            verdict = "open: too few trials" if value <= goal.most else "**missed** so far"
        count = f"{len(found)} of {goal.trials}"
        lines.append(f"| {goal.text} | {limit} | {value:.3g}{goal.unit} | {count} | {verdict} |")
    return "\n".join(lines) + "\n"


def throughput_table(rows: Sequence[Row]) -> str:
    """Medians of the rounds, per way and mode."""
    head = ["", "kept connections: requests/s", "50 %", "99 %"]
    head += ["a new connection each: requests/s", "50 %", "99 %"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    titles = {"direct": "direct", "haproxy": "kubeha's HAProxy", "nginx": "kubeasz's nginx"}
    for way, title in titles.items():
        cells = [title]
        for mode in throughput.MODES:
            found = throughput.rounds(rows, way, mode)
            cells += _medians(found) if found else ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    count = len(throughput.rounds(rows, "direct", "kept"))
    text = THROUGHPUT.format(concurrency=throughput.CONCURRENCY, path=throughput.PATH, rounds=count)
    return "\n".join([text, *lines, ""])


def _medians(rows: Sequence[Row]) -> list[str]:
    rate, p50, p99 = (median(row[key] for row in rows) for key in ("rate", "p50", "p99"))
    return [f"{rate:.0f}", f"{p50:.1f} ms", f"{p99:.1f} ms"]


def circumstances(rows: Sequence[Row], titles: Iterable[str]) -> str:
    """Boxes, versions, dates, the load, and the trials that do not count."""
    cells = {(name, event): cell(rows, name, event) for name in titles for event in EVENTS}
    counted = [row for own in cells.values() for row in own]
    counted += [row for row in rows if row["event"] == "throughput"]
    if not counted:
        return "No trial has been made yet."
    versions: dict[str, set[str]] = {}
    for row in counted:
        for program, version in row["versions"].items():
            versions.setdefault(program, set()).add(version)
    programs = ", ".join(f"{name} {_list(found)}" for name, found in sorted(versions.items()))
    days = sorted({time.strftime("%Y-%m-%d", time.gmtime(row["at"])) for row in counted})
    period = " to ".join(dict.fromkeys((days[0], days[-1])))
    return (
        f"Measured on {_list({row['box'] for row in counted})}; {programs};"
        f" kubeha {_revisions(cells)}; {period}.{_load(counted)}{_left_out(rows)}"
    )


def _revisions(cells: Mapping[tuple[str, str], Sequence[Row]]) -> str:
    """Which kubeha, by event: its files may have changed between two cells, never within one."""
    found: dict[str, set[str]] = {}
    for (name, event), own in cells.items():
        if name.startswith("kubeha"):
            found.setdefault(event, set()).update(row["kubeha"] for row in own)
    return ", ".join(f"{_list(known)} ({event})" for event, known in found.items() if known)


def _load(rows: Sequence[Row]) -> str:
    """How much the box had to do."""
    known = [row for row in rows if row.get("load") is not None]
    if not known:
        return ""
    loads, busy = ([row[key] for row in known] for key in ("load", "busy"))
    return (
        f" The box's load average before the event: {median(loads):.0f} in the median"
        f" ({min(loads):.0f} to {max(loads):.0f}); used of its processors' time during a trial:"
        f" {median(busy):.0%} ({min(busy):.0%} to {max(busy):.0%}), by nodes, clients and others."
    )


def _left_out(rows: Sequence[Row]) -> str:
    disturbed = sum(bool(row.get("disturbed")) for row in rows)
    return (
        f" {disturbed} more {'trial does' if disturbed == 1 else 'trials do'} not count, because"
        " the box was too busy before anything happened."
        if disturbed
        else ""
    )


def _list(values: set[str]) -> str:
    return ", ".join(sorted(values))
