"""Measure, or continue to measure, and make the tables: see --help, or `make bench`."""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.failover import results, trial
from bench.failover.configurations import CONFIGURATIONS, Configuration, can_move, chosen, clean
from bench.failover.machines import Bench, NotWell, running, say
from kubeha.errors import KubehaError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "bench/results/failover.jsonl"
# Trials of one configuration in a row; then comes the next one, so that all see the same weather.
BLOCK = 5
# So often a trial may not come to be (nothing is well) before a configuration is given up.
PATIENCE = 3


def main() -> int:
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if not options.table:
            measure(options)
    except KeyboardInterrupt:
        say("interrupted; the same command continues")
        return 130
    except NotWell as error:
        say(str(error))
        return 1
    print(page(results.read(options.file)))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="of each cell")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CONFIGURATION",
        help=", ".join(CONFIGURATIONS),
    )
    parser.add_argument(
        "--event", action="append", default=[], choices=trial.EVENTS, help="without it: both"
    )
    parser.add_argument("--file", type=Path, default=FILE, help="results; continued if it exists")
    parser.add_argument("--name", default="bench", help="the lab's name")
    parser.add_argument(
        "--table", action="store_true", help="measure nothing, only show the tables"
    )
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """All trials that are missing, in blocks, one configuration after the other and again."""
    events = options.event or list(trial.EVENTS)
    with running(options.name) as bench:
        for goal in range(min(BLOCK, options.trials), options.trials + BLOCK, BLOCK):
            for configuration in chosen(options.only):
                wanted = min(goal, options.trials)
                block(bench, configuration, events, wanted, options.file)


def block(
    bench: Bench, configuration: Configuration, events: Sequence[str], wanted: int, file: Path
) -> None:
    """Deploy a configuration, if a trial of it is missing, and make the trials."""
    digest = digest_of(bench, configuration)
    if all(missing(file, configuration, event, digest, wanted) <= 0 for event in events):
        return
    say(f"{configuration.title}: deploying")
    clean(bench)
    configuration.deploy(bench)
    for event in events:
        if event == "move" and not can_move(configuration):
            say(f"{configuration.title}: there is no planned move yet")
            continue
        failures = 0
        while missing(file, configuration, event, digest, wanted) > 0 and failures < PATIENCE:
            failures += not one(bench, configuration, event, digest, file)


def missing(file: Path, configuration: Configuration, event: str, digest: str, wanted: int) -> int:
    return wanted - len(results.cell(results.read(file), configuration.name, event, digest))


def one(bench: Bench, configuration: Configuration, event: str, digest: str, file: Path) -> bool:
    """One trial, written down; False if it did not come to be."""
    load = trial.load_of_the_box()
    try:
        row = trial.run(bench, configuration, event)
    except (NotWell, KubehaError, subprocess.SubprocessError) as error:
        say(f"{configuration.title}: {event}: no trial: {error}")
        return False
    row |= {"version": 1, "configuration": configuration.name, "event": event, "digest": digest}
    row |= {"load": load, "kubeha": revision()}
    results.append(file, row)
    say(
        f"{configuration.title}: {event}: silence {row['silence']} s, {row['failed']} of"
        f" {row['requests']} failed, {row['broken']} of {row['connections']} broken, new holder"
        f" after {row['new_holder']} s, two holders {row['two_holders']} s, busy {row['busy']}"
    )
    return True


def digest_of(bench: Bench, configuration: Configuration) -> str:
    """Of what is deployed, how it is measured."""
    how = [trial.RATE, trial.CONNECTIONS, trial.INTERVAL, trial.PATIENCE, trial.AFTER]
    words = json.dumps([configuration.digest(bench), how])
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def revision() -> str:
    """This checkout's commit."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or time.strftime("%Y-%m-%d")


def page(rows: Sequence[results.Row]) -> str:
    titles = {name: each.title for name, each in CONFIGURATIONS.items()}
    parts = []
    for event in trial.EVENTS:
        parts += [event, results.table(rows, event, titles), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
