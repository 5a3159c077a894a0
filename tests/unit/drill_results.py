"""Made-up results of drills, as the command writes them: realistic, and the same for each seed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

NODES = ("m1", "m2", "m3")
BEGIN, END = -2.0, 12.0


@dataclass(frozen=True)
class Story:
    """What a fault does to the endpoint, in seconds after the strike."""

    name: str
    summary: str
    moves: bool = True
    expected: float | None = 0.33
    worst: float | None = 0.42
    takeover: float = 0.31
    planned: bool = False
    together: float = 0.0
    breaks: bool = True
    server_down: bool = False
    refuses: bool = False


STORIES = (
    Story("power-off", "the holder loses its power", server_down=True),
    Story("link-down", "the holder's link goes down", server_down=True),
    Story("freeze", "the holder's machine stands still, and thaws later", server_down=True),
    Story("kill-keepalived", "both processes of the holder's keepalived are killed", together=0.03),
    Story("stop-keepalived", "keepalived of the holder is stopped", expected=0.06, worst=0.15),
    Story(
        "hang-keepalived",
        "the holder's keepalived hangs (SIGSTOP)",
        expected=0.1,
        worst=0.5,
        takeover=0.4,
        together=1.4,
        breaks=False,
    ),
    Story("kill-haproxy", "HAProxy of the holder is killed", expected=0.1, worst=0.2),
    Story(
        "hang-haproxy",
        "the worker of the holder's HAProxy hangs (SIGSTOP)",
        expected=2.1,
        worst=3.0,
        takeover=2.2,
    ),
    Story("drain", "the holder is drained", planned=True, takeover=0.3, expected=0.02, worst=0.06),
    Story(
        "stop-haproxy", "HAProxy is stopped on the holder", planned=True, expected=0.02, worst=0.06
    ),
    Story(
        "kill-apiserver",
        "an API server is killed",
        moves=False,
        expected=0.02,
        worst=1.0,
        breaks=False,
        server_down=True,
    ),
    Story(
        "block-vrrp",
        "protocol 112 is blocked between two nodes",
        expected=0.02,
        worst=0.1,
        planned=True,
        together=0.06,
    ),
    Story(
        "disk-full",
        "the holder's disk is full",
        moves=False,
        expected=None,
        worst=None,
        breaks=False,
    ),
)


def result(
    trials: int = 20, stories: Sequence[Story] = STORIES, seed: int = 1, failing: bool = True
) -> dict[str, Any]:
    """A whole result; with `failing`, some trials of two of the faults fail."""
    chance = random.Random(seed)
    told = [trial for story in stories for trial in _trials(story, trials, chance, failing)]
    return {
        "version": 1,
        "cluster": "prod",
        "endpoint": {"vip": "198.51.100.10", "port": 8443},
        "started": 1795443600.0,
        "kubeha": "0.2.0",
        "nodes": {name: _node(index) for index, name in enumerate(NODES, 11)},
        "clients": ["c1", "c2"],
        "settings": {
            "advert_interval": 0.1,
            "connect_timeout": 2.0,
            "check_interval": 1.0,
            "fall": 2,
            "rise": 2,
            "balance": "roundrobin",
        },
        "budget": [_budget(story) for story in stories],
        "faults": [
            _summary(story, [t for t in told if t["fault"] == story.name]) for story in stories
        ],
        "trials": told,
    }


def _node(last: int) -> dict[str, str]:
    return {
        "address": f"198.51.100.{last}",
        "keepalived": "2.2.7",
        "haproxy": "2.6.12",
        "kernel": "6.1.0-28-amd64",
        "os": "Debian GNU/Linux 12 (bookworm)",
    }


def _budget(story: Story) -> dict[str, Any]:
    terms = [
        {"name": "three advertisement intervals", "seconds": 0.3, "source": "RFC 9568, 6.1"},
        {"name": "skew of the slowest backup", "seconds": 0.04, "source": "RFC 9568, 6.1"},
        {"name": "gratuitous ARP and one round trip", "seconds": 0.08, "source": "measured"},
    ]
    return {
        "fault": story.name,
        "moves": story.moves,
        "expected": story.expected,
        "worst": story.worst,
        "terms": terms if story.worst else [],
    }


def _trials(
    story: Story, count: int, chance: random.Random, failing: bool
) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        bad = failing and story.name in ("hang-haproxy", "kill-haproxy") and number in (7, 16)
        yield _trial(story, number, chance, bad)


def _trial(story: Story, number: int, chance: random.Random, bad: bool) -> dict[str, Any]:
    old, new = NODES[number % 3], NODES[(number + 1) % 3]
    if not story.moves:
        new = old
    quiet = max(0.012, (story.expected or 0.02) * chance.uniform(0.7, 1.15) + (1.9 if bad else 0))
    taken = (quiet - 0.01) if story.moves and not story.planned else story.takeover
    gap = (0.0, quiet) if story.moves and not story.planned else (0.1, 0.1 + quiet)
    together = story.together * chance.uniform(0.3, 1.0)
    attempts = list(_attempts(story, gap, chance, bad))
    quiet = _longest_silence(attempts)
    failed = [row for row in attempts if row[4] != "ok" and row[0] in ("version", "read")]
    lives = [row for row in attempts if row[0] in ("stream", "watch")]
    reasons = []
    if bad:
        reasons = [
            f"silence of {quiet:.2f} s, at worst {story.worst:g} s were predicted",
            f"{len(failed)} new connections failed",
        ]
    return {
        "fault": story.name,
        "number": number,
        "node": old,
        "verdict": "fail"
        if bad
        else "unknown"
        if number == 11 and story.name == "freeze"
        else "pass",
        "reasons": reasons
        or (["c2 was not reached"] if number == 11 and story.name == "freeze" else []),
        "struck": 1795443600.0 + number * 40,
        "healed": 6.0,
        "begin": BEGIN,
        "end": END,
        "attempts": attempts,
        "holders": list(_holders(story, old, new, taken, together)),
        "servers": list(_servers(story, old)),
        "events": _events(story, old, new, taken),
        "silence": round(quiet, 4),
        "failed": len(failed),
        "requests": sum(row[0] in ("version", "read") for row in attempts),
        "broken": sum(row[6] for row in lives),
        "connections": len({(row[0], row[1], row[5]) for row in lives}),
        "new_holder": round(taken, 4) if story.moves else None,
        "two_holders": round(together, 4),
        "moves": int(story.moves),
    }


def _longest_silence(attempts: Sequence[Sequence[Any]]) -> float:
    ends = sorted(row[3] for row in attempts if row[0] == "version" and row[4] == "ok")
    return max(later - earlier for earlier, later in pairwise(ends) if later >= 0)


def _attempts(
    story: Story, gap: tuple[float, float], chance: random.Random, bad: bool
) -> Iterator[list[Any]]:
    yield from _new_connections("version", 25, story, gap, chance, bad)
    yield from _new_connections("read", 5, story, gap, chance, False)
    for source in ("c1", "c2"):
        for number in range(10):
            yield from _stream(number, source, story, gap, chance)
        for number in range(2):
            yield from _watch(number, source, story, gap)


def _new_connections(
    kind: str, rate: int, story: Story, gap: tuple[float, float], chance: random.Random, bad: bool
) -> Iterator[list[Any]]:
    """A steady rate from each client; what falls into the gap is asked again after 1 s."""
    for source, phase in (("c1", 0.0), ("c2", 0.5)):
        for number in range(int((END - BEGIN) * rate)):
            start = BEGIN + (number + phase) / rate
            took = chance.uniform(0.008, 0.02) + (0.004 if kind == "read" else 0)
            outcome = "ok"
            if start + took > gap[0] and start < gap[1]:
                took = (
                    max(took, 1.0 + took, gap[1] - start) if not story.planned else gap[1] - start
                )
                if bad and number % 3 == 0:
                    outcome, took = chance.choice((("timeout", 3.0), ("reset", took)))
            yield _row(kind, number, start, start + took, outcome, source, False)


def _stream(
    number: int, source: str, story: Story, gap: tuple[float, float], chance: random.Random
) -> Iterator[list[Any]]:
    at = BEGIN + number * 0.025
    broken = not story.breaks or story.planned
    while at < END:
        took = chance.uniform(0.002, 0.008)
        if not broken and at > gap[0]:
            yield _row("stream", number, at, gap[1] + 0.02, "reset", source, True)
            broken, at = True, gap[1] + 0.25
        yield _row("stream", number, at, at + took, "ok", source, False)
        at += 0.25


def _watch(number: int, source: str, story: Story, gap: tuple[float, float]) -> Iterator[list[Any]]:
    if story.planned or not story.breaks:
        yield _row("watch", number, BEGIN, END, "ok", source, False)
        return
    end = gap[1] + 0.4
    yield _row("watch", number, BEGIN, end, "reset", source, True)
    yield _row("watch", number, end + 0.2, END, "ok", source, False)


def _row(
    kind: str, number: int, start: float, end: float, outcome: str, source: str, broken: bool
) -> list[Any]:
    return [kind, number, round(start, 4), round(end, 4), outcome, source, broken]


def _holders(
    story: Story, old: str, new: str, taken: float, together: float
) -> Iterator[Mapping[str, Any]]:
    if not story.moves:
        yield {"node": old, "from": BEGIN, "to": None}
        return
    left = taken + together if together else 0.0 if not story.planned else taken
    yield {"node": old, "from": BEGIN, "to": round(left, 4)}
    yield {"node": new, "from": round(taken, 4), "to": None}


def _servers(story: Story, old: str) -> Iterator[Mapping[str, Any]]:
    for node in NODES:
        for server in NODES:
            if not story.server_down or server != old:
                yield _seen(node, server, "UP", BEGIN, None)
            elif node != old or not story.moves:
                yield _seen(node, server, "UP", BEGIN, 1.4)
                yield _seen(node, server, "DOWN", 1.4, 8.2)
                yield _seen(node, server, "UP", 8.2, None)
            else:
                yield _seen(node, server, "UP", BEGIN, 0.0)
                yield _seen(node, server, "UP", 7.0, None)


def _seen(
    node: str, server: str, status: str, start: float, end: float | None
) -> Mapping[str, Any]:
    return {"node": node, "server": server, "status": status, "from": start, "to": end}


def _events(story: Story, old: str, new: str, taken: float) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = [{"at": 0.0, "node": old, "what": story.summary}]
    if story.moves:
        events.append({"at": round(taken, 4), "node": new, "what": "takes the VIP"})
    return [*events, {"at": 6.0, "node": old, "what": "healed"}]


def _summary(story: Story, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    verdicts = {trial["verdict"] for trial in trials}
    new = [trial["new_holder"] for trial in trials if trial["new_holder"] is not None]
    return {
        "fault": story.name,
        "summary": story.summary,
        "verdict": next(v for v in ("fail", "unknown", "pass") if v in verdicts),
        "trials": len(trials),
        "passed": sum(trial["verdict"] == "pass" for trial in trials),
        "silence": _spread([trial["silence"] for trial in trials]),
        **{
            name: sum(trial[name] for trial in trials)
            for name in ("requests", "failed", "connections", "broken")
        },
        "new_holder": _spread(new) if new else None,
        "two_holders": max(trial["two_holders"] for trial in trials),
        "moves": [trial["moves"] for trial in trials],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"p50": ordered[last // 2], "p90": ordered[round(last * 0.9)], "max": ordered[-1]}
