"""A trial in full, as the template draws it: lanes over one axis of time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from kubeha.drill_page.lanes import Asking, Living, asking_lanes, failures, living_lanes
from kubeha.drill_page.reading import Stretch, Trial
from kubeha.drill_page.scale import WIDTH, Tick, TimeScale, percent
from kubeha.drill_page.silence import silence
from kubeha.drill_page.words import moment, seconds

_MOST_FAILURES = 5
_MOST_EVENTS = 20
# Flags nearer than this, in places, go on different levels.
_FLAG = 60
_LEVELS = 3
_NARROWEST = 4


@dataclass(frozen=True)
class Flag:
    number: int
    left: str
    level: int
    time: str
    node: str
    what: str


@dataclass(frozen=True)
class Bar:
    left: str
    width: str
    kind: str
    label: str
    title: str


@dataclass(frozen=True)
class BarRow:
    """One line of bars, of a node: when it held the VIP, or how it saw a server."""

    name: str
    note: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Quiet:
    """The silence, shaded."""

    left: str
    width: str
    label: str
    leans_left: bool
    label_at: str


@dataclass(frozen=True)
class Timeline:
    trial: Trial
    points: str
    grid: str
    faster: tuple[tuple[str, str], ...]
    strike: str
    healed: str | None
    ticks: tuple[Tick, ...]
    quiet: Quiet | None
    flags: tuple[Flag, ...]
    levels: int
    more_events: int
    asking: tuple[Asking, ...]
    living: tuple[Living, ...]
    holders: tuple[BarRow, ...]
    double: tuple[Bar, ...]
    servers: tuple[tuple[str, tuple[BarRow, ...]], ...]
    servers_note: str
    caption: str
    failures: tuple[tuple[str, ...], ...]
    more_failures: int


def timeline(trial: Trial, scale: TimeScale, nodes: Sequence[str]) -> Timeline:
    flags = tuple(_flags(trial, scale))
    rows, more = failures(trial, _MOST_FAILURES)
    servers, servers_note = _servers(trial, scale)
    ticks = scale.ticks()
    return Timeline(
        trial=trial,
        points=scale.points,
        grid="".join(f"M{tick.place} 0V10" for tick in ticks),
        faster=tuple((percent(a), percent(b - a)) for a, b in scale.faster),
        strike=scale.percent(0.0),
        healed=None if trial.healed is None else scale.percent(trial.healed),
        ticks=tuple(ticks),
        quiet=quiet(trial, scale),
        flags=flags,
        levels=1 + max((flag.level for flag in flags), default=0),
        more_events=max(0, len(trial.events) - _MOST_EVENTS),
        asking=tuple(asking_lanes(trial, scale)),
        living=tuple(living_lanes(trial, scale)),
        holders=tuple(holder_rows(trial, scale, nodes)),
        double=tuple(doubles(trial, scale)),
        servers=servers,
        servers_note=servers_note,
        caption=_caption(trial),
        failures=rows,
        more_failures=more,
    )


def quiet(trial: Trial, scale: TimeScale) -> Quiet | None:
    found = silence(trial)
    if found is None:
        return None
    start, end = scale(found[0]), scale(found[1])
    leans_left = start > WIDTH * 0.45
    # Not on the line of the strike, which the silence usually begins at.
    begin = max(start, scale(0.0)) if found[0] < 0 < found[1] else start
    return Quiet(
        left=percent(start),
        width=percent(max(end - start, _NARROWEST)),
        label=f"{seconds(trial.silence)} without an answer",
        leans_left=leans_left,
        label_at=percent(WIDTH - end if leans_left else begin),
    )


def _flags(trial: Trial, scale: TimeScale) -> Iterator[Flag]:
    """The events in their order, each on the lowest level where there is room for it."""
    occupied = [-WIDTH] * _LEVELS
    events = sorted(trial.events, key=lambda event: event.at)[:_MOST_EVENTS]
    for number, event in enumerate(events, 1):
        place = scale(event.at)
        free = [level for level in range(_LEVELS) if place - occupied[level] >= _FLAG]
        level = free[0] if free else _LEVELS - 1
        occupied[level] = place
        yield Flag(number, percent(place), level, moment(event.at), event.node, event.what)


def holder_rows(trial: Trial, scale: TimeScale, nodes: Sequence[str]) -> Iterator[BarRow]:
    """Every node, whether it held the VIP or not: the place in the column says which one it is."""
    others = dict.fromkeys(held.node for held in trial.holders if held.node not in nodes)
    for node in (*nodes, *others):
        mine = [held for held in trial.holders if held.node == node]
        bars = tuple(_bar(held, scale, "held", "", f"{node} held the VIP") for held in mine)
        yield BarRow(node, "struck" if node == trial.node else "", bars)


def doubles(trial: Trial, scale: TimeScale) -> Iterator[Bar]:
    """Where more than one node held the VIP, if the trial was judged so."""
    if trial.two_holders <= 0:
        return
    for start, end in overlaps(trial.holders):
        title = f"two holders for {seconds(end - start)}"
        yield _bar(Stretch("", start, end), scale, "double", "", title)


def overlaps(held: Iterable[Stretch]) -> Iterator[tuple[float, float]]:
    """Stretches in which at least two nodes held the VIP."""
    changes = sorted((at, by) for one in held for at, by in ((one.start, 1), (one.end, -1)))
    holding, since = 0, 0.0
    for at, by in changes:
        if holding < 2 <= holding + by:
            since = at
        if holding + by < 2 <= holding and at > since:
            yield since, at
        holding += by


def _bar(stretch: Stretch, scale: TimeScale, kind: str, label: str, title: str) -> Bar:
    start, end = scale(stretch.start), scale(stretch.end)
    told = f"{title}, {moment(stretch.start)} to {moment(stretch.end)}"
    return Bar(percent(start), percent(max(end - start, _NARROWEST)), kind, label, told)


def _servers(
    trial: Trial, scale: TimeScale
) -> tuple[tuple[tuple[str, tuple[BarRow, ...]], ...], str]:
    """How each HAProxy saw the servers that were not UP all the time, and a word on the others."""
    by_server = sorted(trial.servers, key=lambda seen: (seen.server, seen.node, seen.start))
    groups, calm = [], []
    for server, group in groupby(by_server, key=lambda seen: seen.server):
        seen = list(group)
        if all(_is_up(each.status) for each in seen) and not _interrupted(seen):
            calm.append(server)
            continue
        rows = tuple(
            BarRow(node, "", tuple(_seen_bar(each, scale) for each in mine))
            for node, mine in groupby(seen, key=lambda each: each.node)
        )
        groups.append((server, rows))
    return tuple(groups), _calm(calm, bool(groups))


def _is_up(status: str) -> bool:
    return status.split(" ")[0] in ("UP", "OPEN")


def _interrupted(seen: Sequence[Stretch]) -> bool:
    """Was there a time at which a node did not tell how it saw the server?"""
    by_node = groupby(seen, key=lambda each: each.node)
    return any(
        later.start - earlier.end > 0.5
        for _, group in by_node
        for stretches in [list(group)]
        for earlier, later in zip(stretches, stretches[1:], strict=False)
    )


def _calm(servers: Sequence[str], others: bool) -> str:
    if not servers:
        return ""
    if not others:
        return "every server UP, seen from every node, all the time"
    return f"{', '.join(servers)}: UP all the time"


def _seen_bar(seen: Stretch, scale: TimeScale) -> Bar:
    kind = "up" if _is_up(seen.status) else "down" if seen.status.startswith("DOWN") else "other"
    room = scale(seen.end) - scale(seen.start)
    label = "" if kind == "up" or room < WIDTH * 0.06 else seen.status
    title = f"{seen.node} saw {seen.server} {seen.status}"
    return _bar(seen, scale, kind, label, title)


def _caption(trial: Trial) -> str:
    """Who held the VIP, in words."""
    told = []
    for held in sorted(trial.holders, key=lambda one: one.start):
        begun = held.start <= trial.begin + 0.001
        ended = held.end < trial.end - 0.001
        since = "" if begun else f" from {moment(held.start)}"
        until = f" until {moment(held.end)}" if ended else "" if begun else " on"
        told.append(f"{held.node}{since}{until}" if since or until else f"{held.node} throughout")
    return "; ".join(told)
