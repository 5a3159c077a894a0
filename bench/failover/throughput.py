"""How many API requests go through, and how long one takes: direct, through HAProxy, through nginx.

ab on one client, closed loop; real API servers answer. The ways take turns, so that a busy moment
of the box hits them alike. HAProxy is as kubeha deploys it, nginx as kubeasz ships it; both run on
the holder of the VIP, and `direct` is the API server of that machine.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.failover.configurations import CONFIGURATIONS, HandMade, write
from bench.failover.machines import PORT, Bench, NotWell, install

BESIDE = PORT + 1
PATH = "/version"
CONCURRENCY = 8
# Requests of one round: some seconds each. A new connection is a TLS handshake.
REQUESTS = {"kept": 6000, "new": 1500}
MODES = tuple(REQUESTS)
WAYS = ("direct", "haproxy", "nginx")


@dataclass(frozen=True)
class Figures:
    """Of one round: requests per second, and milliseconds that 50 and 99 % took at the most."""

    rate: float
    p50: float
    p99: float


def deploy(bench: Bench, node: str) -> None:
    """nginx on another port, beside whatever runs on the node."""
    kubeasz = CONFIGURATIONS["kubeasz"]
    assert isinstance(kubeasz, HandMade)
    machine = bench.machine(node)
    machine.execute(["systemctl", "mask", "nginx"])
    install(machine, ("nginx", "libnginx-mod-stream"))
    machine.execute(["mkdir", "-p", "/etc/l4lb/conf", "/etc/l4lb/logs", "/etc/l4lb/sbin"])
    machine.execute(["cp", "/usr/sbin/nginx", "/etc/l4lb/sbin/l4lb"])
    for path, text in kubeasz.files(bench, node, port=BESIDE):
        if "l4lb" in path:
            write(machine, path, text)
    machine.execute(["systemctl", "daemon-reload"])
    machine.execute(["systemctl", "restart", "l4lb"])


def measure(bench: Bench, holder: str, way: str, mode: str) -> dict[str, Any]:
    """One round; raises NotWell if a request failed."""
    targets = {
        "direct": f"{bench.machine(holder).address}:6443",
        "haproxy": f"{bench.vip}:{PORT}",
        "nginx": f"{bench.vip}:{BESIDE}",
    }
    keep = ["-k"] if mode == "kept" else []
    csv = "/tmp/ab.csv"
    load = ["-n", str(REQUESTS[mode]), "-c", str(CONCURRENCY)]
    command = ["ab", "-q", *keep, *load, "-e", csv, f"https://{targets[way]}{PATH}"]
    client = bench.machine("c1")
    said = client.execute(command, timeout=300).stdout
    figures = parse(said, client.execute(["cat", csv]).stdout)
    return {"way": way, "mode": mode, **vars(figures)}


def parse(said: str, percentiles: str) -> Figures:
    """What ab has printed, and its CSV of percentage and milliseconds.

    Raises NotWell when a request failed: then it did something else than was asked.
    """
    failed = re.search(r"^(Failed requests|Non-2xx responses):\s+([1-9]\d*)", said, re.M)
    rate = re.search(r"^Requests per second:\s+([\d.]+)", said, re.M)
    if failed or rate is None:
        raise NotWell(f"ab: {failed[0] if failed else said[-300:]}")
    times = dict(line.split(",") for line in percentiles.splitlines()[1:])
    return Figures(float(rate[1]), float(times["50"]), float(times["99"]))


def rounds(rows: Sequence[Any], way: str, mode: str) -> list[Any]:
    """The rows of one way that count: those made as the last one was."""
    own = [row for row in rows if row["event"] == "throughput"]
    return [
        row
        for row in own
        if (row["way"], row["mode"], row["digest"]) == (way, mode, own[-1]["digest"])
    ]
