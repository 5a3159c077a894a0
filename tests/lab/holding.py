"""Who holds the VIP, from the kernels' own messages: every change, with its time."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from running_lab import RunningLab

Change = tuple[float, str, bool]  # seconds since 1970, node, has it the VIP from then on?
_STAMP = re.compile(r"^\[([0-9T:.-]+)\] ")


@dataclass
class Holding:
    """Changes in the order of their times; `first`: who had the VIP when the watch began."""

    first: Sequence[str]
    began: float
    changes: list[Change] = field(default_factory=list)

    def states(self) -> Iterator[tuple[float, frozenset[str]]]:
        """Who holds the VIP from when on."""
        now = frozenset(self.first)
        yield self.began, now
        for at, node, has in sorted(self.changes):
            now = now | {node} if has else now - {node}
            yield at, now

    def longest(self, count: int, until: float | None = None) -> float:
        """The longest time during which exactly (2: at least) `count` nodes held it, in seconds."""
        until = time.time() if until is None else until
        states = list(self.states())
        ends = [at for at, _ in states[1:]] + [until]
        longest, since = 0.0, None
        for (at, who), end in zip(states, ends, strict=True):
            fits = len(who) >= 2 if count == 2 else len(who) == count
            since = (at if since is None else since) if fits else None
            longest = max(longest, end - since) if since is not None else longest
        return longest

    def moves(self) -> list[str]:
        """The nodes that became the only holder, one after the other; the first one is no move."""
        alone = [next(iter(who)) for _, who in self.states() if len(who) == 1]
        return [b for a, b in zip(alone, alone[1:], strict=False) if a != b]

    def takes(self) -> int:
        """How often a node took the VIP, were it for a moment."""
        return sum(has for _, _, has in self.changes)

    def show(self, what: str) -> str:
        """In one line, for people."""
        steps = " ".join(
            f"{at - self.began:.3f}:{'+' if has else '-'}{node}"
            for at, node, has in sorted(self.changes)
        )
        line = (
            f"{what}: moves {self.moves()}, two holders {self.longest(2) * 1000:.0f} ms at most,"
            f" none {self.longest(0) * 1000:.0f} ms; {steps}"
        )
        print(line)
        return line


@contextmanager
def holding(lab: RunningLab, nodes: Sequence[str]) -> Iterator[Holding]:
    """Follow the VIP on these machines while the body runs."""
    streams: Mapping[str, subprocess.Popen[str]] = {
        name: subprocess.Popen(
            ["ip", "-n", lab.machine(name).namespace, "-ts", "-o", "monitor", "address"],
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for name in nodes
    }
    time.sleep(0.2)
    seen = Holding([name for name in nodes if has_vip(lab, name)], time.time())
    readers = [
        threading.Thread(target=_follow, args=(stream, name, lab.vip, seen))
        for name, stream in streams.items()
    ]
    for reader in readers:
        reader.start()
    try:
        yield seen
    finally:
        for stream in streams.values():
            stream.terminate()
        for reader in readers:
            reader.join()
        for stream in streams.values():
            stream.wait()
            if stream.stdout is not None:
                stream.stdout.close()


def has_vip(lab: RunningLab, name: str) -> bool:
    namespace = lab.machine(name).namespace
    command = ["ip", "-n", namespace, "-o", "address", "show", "dev", "eth0"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return f" {lab.vip}/" in shown


def _follow(stream: "subprocess.Popen[str]", name: str, vip: str, seen: Holding) -> None:
    assert stream.stdout is not None
    for line in stream.stdout:
        stamp = _STAMP.match(line)
        if stamp and f" {vip}/" in line and " eth0 " in line:
            at = datetime.fromisoformat(stamp[1]).timestamp()
            seen.changes.append((at, name, "Deleted" not in line))
