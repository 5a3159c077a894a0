"""Who held the VIP, from when to when: heard from the machines' kernels, not from kubeha."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from endpoint import NODES
from running_lab import RunningLab, wait_for


@dataclass
class Hold:
    """`node` had the VIP on its interface; times in seconds since 1970, until None: still."""

    node: str
    since: float
    until: float | None = None

    def overlap(self, other: "Hold") -> float:
        ends = [end for end in (self.until, other.until) if end is not None]
        return min(ends, default=float("inf")) - max(self.since, other.since)


@dataclass
class Holders:
    """What has been heard so far."""

    holds: list[Hold] = field(default_factory=list)

    def change(self, node: str, has: bool, at: float) -> None:
        if has:
            self.holds.append(Hold(node, at))
            return
        for hold in self.holds:
            if hold.node == node and hold.until is None:
                hold.until = at

    def cut_off(self, node: str, at: float) -> None:
        """Nobody can reach the node from then on: whatever its own kernel thinks, it holds none."""
        for hold in self.holds:
            if hold.node == node and hold.since <= at and (hold.until or at) >= at:
                hold.until = at

    def now(self) -> list[str]:
        """Who holds it at the end of what has been heard."""
        return [hold.node for hold in self.holds if hold.until is None]

    def taken_after(self, at: float) -> list[str]:
        """Who took the VIP after that time, in this order."""
        return [hold.node for hold in self.holds if hold.since > at]

    def settled_at(self, after: float) -> float:
        """When the last change was: from then on it was clear who answers."""
        times = [when for hold in self.holds for when in (hold.since, hold.until) if when]
        return max([when for when in times if when > after], default=after)

    def rivalry(self) -> float:
        """The longest time in seconds that two nodes held it at once; 0 if they never did."""
        pairs = ((a, b) for n, a in enumerate(self.holds) for b in self.holds[n + 1 :])
        return max((a.overlap(b) for a, b in pairs if a.node != b.node), default=0.0)


class Watch:
    """Hears all changes while it lasts; machines that are switched off are not heard any more."""

    def __init__(self, lab: RunningLab, nodes: Sequence[str] = NODES) -> None:
        self.holders = Holders()
        self._names = {lab.machine(name).namespace: name for name in nodes}
        program = str(Path(__file__).with_name("vip_events.py"))
        command = [sys.executable, "-I", "-S", program, lab.vip, "eth0", *self._names]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Holders:
        wait_for("the kernels' first words", self._listening.is_set, timeout=20)
        return self.holders

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.strip():
                self._listening.set()
                continue
            change = json.loads(line)
            self.holders.change(self._names[change["namespace"]], change["has"], change["at"])
