"""The box that the machines run on: what it is, and whether it has time to measure anything."""

import os
import platform
import re
import time
from pathlib import Path

from bench.failover.machines import Bench, say

# Above this share of the processors' time other work is under way. The lab's own control plane
# takes about 0.15 of two processors when nobody asks it anything.
CALM = 0.4
_LOOK = 3.0
_SAY_EVERY = 300.0


def description() -> str:
    """Processors and kernel."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} CPUs ({name}), Linux {platform.release()}"


def versions(bench: Bench, node: str) -> dict[str, str]:
    """Versions of the programs under measurement that this node has."""
    show = ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", "keepalived", "haproxy", "nginx"]
    lines = bench.machine(node).execute(show, check=False).stdout.splitlines()
    found = dict(line.split() for line in lines if len(line.split()) == 2)
    address = bench.machine(node).address
    ask = ["curl", "-sk", "--max-time", "5", f"https://{address}:6443/version"]
    said = bench.machine("c1").execute(ask, check=False).stdout
    if release := re.search(r'"gitVersion": "([^"]+)"', said):
        found["kubernetes"] = release[1]
    return found


def processor_time() -> tuple[int, int]:
    """Idle and all processor time since the box booted, in ticks; see proc(5)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def busy(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The share of processor time that was used in between, 0 to 1."""
    idle, everything = after[0] - before[0], after[1] - before[1]
    return 1 - idle / everything if everything else 0.0


def wait_until_calm(share: float) -> None:
    """Wait, however long it takes, until no more of the processors' time is used than that."""
    told = float("-inf")
    while (used := _busy_now()) > share:
        if time.monotonic() - told > _SAY_EVERY:
            told = time.monotonic()
            say(f"{used:.0%} of the processors' time is used by other work: waiting for its end")


def _busy_now() -> float:
    before = processor_time()
    time.sleep(_LOOK)
    return busy(before, processor_time())
