"""Everything that is still missing in the file of results, in an order that is fair to all."""

import hashlib
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.failover import box, loaded, quiet, results, throughput, trial
from bench.failover.configurations import CONFIGURATIONS, Configuration, can_move, chosen, clean
from bench.failover.machines import Bench, NotWell, running, say
from kubeha.errors import KubehaError

EVENTS = (*trial.EVENTS, "throughput", "loaded")
# Trials of one configuration in a row; then comes the next one, so that all see the same weather.
BLOCK = 5
# So often a trial may not come to be (something is not well) before the next one's turn.
PATIENCE = 3.0
# One that the box's other work has disturbed is not the configuration's fault, and costs less.
DISTURBED = 0.3
PAUSE = 10.0
PASSING = (NotWell, KubehaError, subprocess.SubprocessError)
ROUNDS = 5
# Half an hour each.
LOADED = ("kubeha-100ms", "kubeha-50ms")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Order:
    """What is asked for: so many trials of each cell, appended to a file."""

    trials: int
    only: Sequence[str]
    events: Sequence[str]
    file: Path
    lab: str
    calm: float = box.CALM
    """A trial waits until no more of the processors' time is used; 1: it does not wait."""


def measure(order: Order) -> None:
    """All that is missing, in blocks, one configuration after the other and again."""
    configurations = chosen(order.only)
    # A lab that only waits would be in the way of the work that it waits for.
    box.wait_until_calm(order.calm)
    with running(order.lab) as bench:
        for wanted in (*range(BLOCK, order.trials, BLOCK), order.trials):
            for configuration in configurations:
                _block(bench, configuration, wanted, order)
        if "throughput" in order.events:
            _throughput(bench, order)
        for configuration in configurations:
            if "loaded" in order.events and configuration.name in LOADED:
                _loaded(bench, configuration, order)


def _block(bench: Bench, configuration: Configuration, wanted: int, order: Order) -> None:
    """Deploy a configuration, if a trial of it is missing, and make the trials."""
    bench.switch_on()
    digest = _digest(bench, configuration)
    events = [event for event in order.events if event in trial.EVENTS]
    if "move" in events and not can_move(configuration):
        say(f"{configuration.title}: has no planned move yet")
        events.remove("move")
    if all(_missing(configuration, event, digest, wanted, order) <= 0 for event in events):
        return
    try:
        _deploy(bench, configuration)
    except PASSING as error:
        say(f"{configuration.title}: not deployed: {error}")
        return
    for event in events:
        failures = 0.0
        while _missing(configuration, event, digest, wanted, order) > 0 and failures < PATIENCE:
            failures += _one(bench, configuration, event, digest, order)


def _missing(
    configuration: Configuration, event: str, digest: str, wanted: int, order: Order
) -> int:
    rows = results.read(order.file)
    return wanted - len(results.cell(rows, configuration.name, event, digest))


def _deploy(bench: Bench, configuration: Configuration) -> None:
    say(f"{configuration.title}: deploying")
    clean(bench)
    configuration.deploy(bench)


def _one(
    bench: Bench, configuration: Configuration, event: str, digest: str, order: Order
) -> float:
    """One trial, written down; returns how much patience it cost."""
    box.wait_until_calm(order.calm)
    rows: list[dict[str, Any]] = []

    def write(row: dict[str, Any]) -> None:
        rows.append(row)
        _write(configuration.name, event, digest, versions | row, order)

    def note(row: dict[str, Any]) -> None:
        write(row)
        _tell(configuration, event, row)

    versions: dict[str, Any] = {"versions": {}}
    try:
        bench.switch_on()
        # Now: the machine that tells may be the one that is struck.
        versions["versions"] = box.versions(bench, "m1")
        trial.run(bench, configuration, event, note)
    except trial.Disturbed as error:
        say(f"{configuration.title}: {event}: not made: {error}")
        write({"no_trial": str(error), "at": time.time(), "disturbed": True})
        time.sleep(PAUSE)
    except PASSING as error:
        say(f"{configuration.title}: {event}: {'repair' if rows else 'no trial'}: {error}")
        if not rows:
            write({"no_trial": str(error), "at": time.time(), "disturbed": False})
    return _cost(rows[0])


def _cost(row: results.Row) -> float:
    if row["disturbed"]:
        return DISTURBED
    return float("no_trial" in row)


def _tell(configuration: Configuration, event: str, row: dict[str, Any]) -> None:
    say(
        f"{configuration.title}: {event}: silence {row['silence']} s, {row['failed']} of"
        f" {row['requests']} failed, {row['broken']} of {row['connections']} broken, new holder"
        f" after {row['new_holder']} s, two holders {row['two_holders']} s, busy {row['busy']},"
        f" usual {row['usual']} s{', does not count' if row['disturbed'] else ''}"
        f"{', in error: ' + row['error'] if row['error'] else ''}"
    )


def _append(
    bench: Bench, name: str, event: str, digest: str, figures: dict[str, Any], order: Order
) -> None:
    versions = {"versions": box.versions(bench, "m1")}
    _write(name, event, digest, versions | figures, order)


def _write(name: str, event: str, digest: str, row: dict[str, Any], order: Order) -> None:
    what = {"version": 1, "configuration": name, "event": event, "digest": digest}
    where = {"box": box.description(), "kubeha": revision()}
    results.append(order.file, {**what, **where, **row})


def _throughput(bench: Bench, order: Order) -> None:
    """Rounds of all ways and modes in turns."""
    configuration = CONFIGURATIONS["kubeha-100ms"]
    settings = [throughput.REQUESTS, throughput.CONCURRENCY, throughput.PATH]
    digest = _hash([configuration.digest(bench), settings])
    made = [
        row
        for row in results.read(order.file)
        if (row["event"], row["digest"]) == ("throughput", digest)
    ]
    ways = [(way, mode) for mode in throughput.MODES for way in throughput.WAYS]
    missing = ROUNDS * len(ways) - len(made)
    if missing <= 0:
        return
    _deploy(bench, configuration)
    holder = bench.wait_until_settled(configuration.settle)
    throughput.deploy(bench, holder)
    bench.wait_until_ready()
    for way, mode in (ways * ROUNDS)[-missing:]:
        box.wait_until_calm(order.calm)
        row = throughput.measure(bench, holder, way, mode) | {"at": time.time()}
        say(f"throughput: {way}, {mode}: {row['rate']:.0f} requests/s, 99 % {row['p99']:.1f} ms")
        _append(bench, "throughput", "throughput", digest, row, order)


def _loaded(bench: Bench, configuration: Configuration, order: Order) -> None:
    digest = _digest(bench, configuration)
    if _missing(configuration, "loaded", digest, 1, order) <= 0:
        return
    _deploy(bench, configuration)
    say(f"{configuration.title}: every processor loaded for {loaded.MINUTES:g} minutes")
    row = loaded.run(bench, configuration)
    say(f"{configuration.title}: {row['moves']} moves, busy {row['busy']}")
    _append(bench, configuration.name, "loaded", digest, row, order)


def _digest(bench: Bench, configuration: Configuration) -> str:
    """Of what is deployed, and of how it is measured."""
    how = [trial.RATE, trial.CONNECTIONS, trial.INTERVAL, trial.PATIENCE, trial.BEFORE]
    how += [quiet.QUIET, quiet.MOST]
    return _hash([configuration.digest(bench), how])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def revision() -> str:
    """This checkout's commit."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "without git"
