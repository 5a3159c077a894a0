"""One trial: clients at work, something happens to the holder, and what they saw is one row."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from bench.failover import box, quiet
from bench.failover.configurations import Configuration
from bench.failover.machines import CLIENTS, NODES, Bench, NotWell, must, wait_for
from bench.failover.watching import Notice, holders, longest, moves, new_holder_after, watching
from kubeha.history import Attempt, History, silences
from kubeha.lab import faults
from kubeha.remote import Load
from kubeha.sampling import background, request_for

# Seconds that a client waits for an answer, as kubectl and kubelets do at the least.
PATIENCE = 10.0
# Of all clients together: new connections a second; long-lived ones and seconds between requests.
RATE = 100.0
CONNECTIONS = 201
INTERVAL = 0.5
# The long-lived ones connect in the first seconds; the last ones show what is usual.
BEFORE = 6.0
# And so long it may take until they are undisturbed. Not longer: on a box that is too busy the
# clients' own work piles up.
CALM_WITHIN = 20.0
# A handover prepares every node first; nothing depends on how long that takes.
MOVES_WITHIN = 60.0
EVENTS = ("crash", "move")


class Disturbed(Exception):
    """The box has other work: nothing was done to the holder."""


@dataclass
class Seen:
    """What is known of a trial when it is over; times in seconds since 1970."""

    holder: str
    struck: float = 0.0
    end: float = 0.0
    stopped: float = 0.0
    """When the clients began nothing new any more; what was under way is awaited."""
    history: History = field(default_factory=History)
    notices: list[Notice] = field(default_factory=list)
    busy: float = 0.0
    """How much of the processors' time was used, 0 to 1."""
    load: float = 0.0
    """The box's load average of one minute, before anything happened."""
    error: str | None = None
    """How the planned move failed."""


def run(
    bench: Bench, configuration: Configuration, event: str, note: Callable[[dict[str, Any]], None]
) -> None:
    """One trial of an event, the endpoint well before it; `note` is given its row.

    Raises NotWell when it is not well, Disturbed when the box has no time for it. After a trial
    that ended badly it may well not be well: its row is noted before anything is repaired.
    """
    bench.switch_on()
    bench.wait_until_ready()
    seen = Seen(bench.wait_until_settled(configuration.settle))
    crash = event == "crash"
    strike, repair = (_crash, _boot) if crash else (_move(configuration), _return(configuration))
    with ThreadPoolExecutor(1) as pool:
        with _observed(bench, seen):
            done: Future[float | None] = pool.submit(strike, bench, seen)
            _wait_until_moved(bench, seen, done)
        _finish(done, seen)
    note(measured(seen, died=crash))
    repair(bench, seen)


def _wait_until_moved(bench: Bench, seen: Seen, done: Future[float | None]) -> None:
    """Wait until another node holds the VIP, or it is clear that none will."""
    deadline = time.monotonic() + MOVES_WITHIN
    while not set(bench.holders()) - {seen.holder} and time.monotonic() < deadline:
        if done.done() and done.exception():
            return
        time.sleep(0.5)


def _finish(done: Future[float | None], seen: Seen) -> None:
    """Wait for the end of what was done. A move that ends in an error counts like any other."""
    try:
        seen.struck = done.result() or seen.struck
    except NotWell as error:
        seen.error = str(error)


@contextmanager
def _observed(bench: Bench, seen: Seen) -> Iterator[None]:
    """Clients work and the VIP is watched, from before the body until all is quiet after it."""
    share = len(CLIENTS)
    rate, connections = RATE / share, CONNECTIONS // share
    loads = (
        Load("version", rate=rate, timeout=PATIENCE),
        Load("stream", connections=connections, interval=INTERVAL, timeout=PATIENCE),
    )
    cluster = bench.cluster()
    clients = [node for node in cluster.clients if node.name in CLIENTS]
    request = request_for(cluster, bench.credentials(), loads)
    trouble = quiet.Trouble(rate, connections, INTERVAL)

    def told(source: str, event: dict[str, Any]) -> None:
        trouble.told(source, event["clock"], event.get("attempts", ()), time.time())

    with watching([bench.machine(name) for name in NODES], bench.vip) as watch:
        with background(cluster, clients, request, on_event=told) as recorder:
            time.sleep(BEFORE)
            _wait_until_calm(trouble)
            seen.load, before = os.getloadavg()[0], box.processor_time()
            seen.struck = time.time()
            yield
            moved = time.time()
            while time.time() < quiet.end(moved, trouble.last):
                time.sleep(0.1)
            seen.stopped = time.time()
            seen.busy = box.busy(before, box.processor_time())
        seen.end = time.time()
    seen.history, seen.notices = recorder.history, watch.notices


def _wait_until_calm(trouble: quiet.Trouble) -> None:
    deadline = time.time() + CALM_WITHIN
    while not trouble.calm(time.time()):
        if time.time() > deadline:
            raise Disturbed(f"new connections are slow, for {CALM_WITHIN:g} s already")
        time.sleep(0.1)


def _crash(bench: Bench, seen: Seen) -> float:
    """Power off; returns when."""
    faults.inject(bench.lab, "power-off", [bench.machine(seen.holder)])
    return faults.active(bench.lab)[-1].since


def _boot(bench: Bench, seen: Seen) -> None:
    must("lab", "boot", "--name", bench.name, seen.holder)


def _move(configuration: Configuration) -> Callable[[Bench, Seen], None]:
    return lambda bench, seen: configuration.leave(bench, seen.holder)


def _return(configuration: Configuration) -> Callable[[Bench, Seen], None]:
    def come_back(bench: Bench, seen: Seen) -> None:
        if seen.error is None:
            wait_for("another holder", lambda: set(bench.holders()) - {seen.holder}, timeout=60)
        configuration.come_back(bench, seen.holder)

    return come_back


def measured(seen: Seen, *, died: bool) -> dict[str, Any]:
    """The figures of a trial; seconds, and None for what never happened."""
    after = [one for one in seen.history.attempts if one.end >= seen.struck]
    new = [one for one in after if one.kind == "version"]
    streams = [one for one in after if one.kind == "stream"]
    timeline = holders(seen.notices, seen.holder, {seen.holder: seen.struck} if died else {})
    return {
        "at": round(seen.struck, 3),
        "holder": seen.holder,
        "requests": len(new),
        "failed": sum(not one.ok for one in new),
        "failed_later": sum(not one.ok and one.start > seen.struck for one in new),
        "outcomes": dict(Counter(one.outcome for one in new)),
        "silence": _rounded(_silence(seen.history.of("version"), seen.struck)),
        "silence_of_one": _rounded(_silence_of_one(seen.history.of("version"), seen.struck)),
        "last_failure": _rounded(_last_failure(new, seen.struck)),
        "slowest": _rounded(max((one.seconds for one in new if one.ok), default=None)),
        "connections": CONNECTIONS // len(CLIENTS) * len(CLIENTS),
        # One that is opened again may break again.
        "broken": len({(one.source, one.connection) for one in streams if one.broken}),
        "endings": dict(Counter(one.outcome for one in streams if one.broken)),
        "hanging": _rounded(max((one.seconds for one in streams if one.broken), default=None)),
        "new_holder": _rounded(new_holder_after(timeline, seen.struck, seen.holder)),
        "two_holders": _rounded(longest(timeline, seen.end, lambda count: count > 1)),
        "nobody": _rounded(longest(timeline, seen.end, lambda count: count == 0)),
        "moves": moves(timeline),
        "watched": round(seen.stopped - seen.struck, 1),
        "unfinished": _unfinished(after, seen),
        "busy": round(seen.busy, 2),
        "load": round(seen.load, 1),
        "error": seen.error,
        **_before(seen),
    }


def _silence(attempts: Sequence[Attempt], struck: float) -> float | None:
    """The longest time without a success of any of them, while new ones were started.

    What hangs at the end is awaited for long, and then nobody else asks any more.
    """
    last = max((one.start for one in attempts), default=struck)
    quiet = [min(each.end, last) - each.start for each in silences(attempts, struck)]
    return max(quiet, default=None)


def _silence_of_one(attempts: Sequence[Attempt], struck: float) -> float | None:
    """The same for the machine that had it worst."""
    sources = {one.source for one in attempts}
    worst = (
        _silence([one for one in attempts if one.source == source], struck) for source in sources
    )
    return max((each for each in worst if each is not None), default=None)


def _last_failure(attempts: Sequence[Attempt], struck: float) -> float | None:
    return max((one.end - struck for one in attempts if not one.ok), default=None)


def _unfinished(attempts: Sequence[Attempt], seen: Seen) -> bool:
    """Did watching end while something still went wrong? What had begun long before is over."""
    wrong = (one.start for one in attempts if not one.ok or one.broken)
    return max(wrong, default=float("-inf")) > seen.stopped - quiet.HANGS


def _before(seen: Seen) -> dict[str, float | bool | None]:
    """What is usual: latencies of new connections before anything happened."""
    usual = [
        one.seconds
        for one in seen.history.of("version")
        if one.ok and seen.struck - quiet.USUAL < one.end < seen.struck
    ]
    if len(usual) < 2:
        return {"usual": None, "usual_p99": None, "disturbed": True}
    middle, high = median(usual), quantiles(usual, n=100)[98]
    return {
        "usual": _rounded(middle),
        "usual_p99": _rounded(high),
        "disturbed": quiet.disturbed(usual),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
