"""Does the VIP stay where it is while every processor is busy? Nothing is broken here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, Popen
from typing import Any

from bench.failover import box
from bench.failover.configurations import Configuration
from bench.failover.machines import NODES, Bench
from bench.failover.watching import holders, longest, moves, watching

MINUTES = 30.0
# Each of the three nodes has so many programs that do nothing but compute.
SPINNERS = 2


def run(bench: Bench, configuration: Configuration) -> dict[str, Any]:
    """Watch the VIP for MINUTES; returns the row."""
    bench.switch_on()
    bench.wait_until_ready()
    holder = bench.wait_until_settled(configuration.settle)
    machines = [bench.machine(name) for name in NODES]
    begun, before = time.time(), box.processor_time()
    with watching(machines, bench.vip) as watch, _spinning(bench):
        time.sleep(MINUTES * 60)
        used = box.busy(before, box.processor_time())
    timeline = holders(watch.notices, holder, {})
    return {
        "at": round(begun, 3),
        "minutes": MINUTES,
        "moves": moves(timeline),
        "two_holders": round(longest(timeline, time.time(), lambda count: count > 1), 4),
        "busy": round(used, 2),
        "disturbed": False,
    }


@contextmanager
def _spinning(bench: Bench) -> Iterator[None]:
    """Programs at ordinary priority on every node; they end by themselves, too."""
    spin = ["timeout", f"{MINUTES * 60 + 60:.0f}", "sh", "-c", "while :; do :; done"]
    commands = [bench.machine(name).enter(spin) for name in NODES for _ in range(SPINNERS)]
    spinners = [Popen(each, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) for each in commands]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
