"""A segment with keepalived and a guard on each node, in simulated time: no sockets, no clocks.

keepalived is as much of VRRP as matters here: the highest priority heard wins, silence makes a
backup the holder, the guard's file takes the VIP away, which ends with priority 0. Frames take a
random, short time.
"""

import heapq
import random
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from kubeha.node.guard.decision import Guard
from kubeha.node.guard.events import (
    Advert,
    Alive,
    Answer,
    Ask,
    Block,
    Claim,
    Claimed,
    End,
    FindGateway,
    Gateway,
    Hush,
    Lost,
    Me,
    OwnAdvert,
    Say,
    Settled,
    Started,
    Stopped,
    Taken,
    Tick,
    Try,
    WatchOwn,
    WatchPeers,
)
from kubeha.node.guard.timing import HUSHED
from kubeha.vrrp import effective_priority, master_down_interval, skew_time

VIP = bytes([198, 51, 100, 10])
GATEWAY = bytes([198, 51, 100, 1])
ADDRESSES = [bytes([198, 51, 100, 11 + number]) for number in range(3)]
MACS = [bytes([2, 0, 0, 0, 0, 11 + number]) for number in range(3)]
GATEWAY_MAC = bytes([2, 0, 0, 0, 0, 1])
NAMES = ["m1", "m2", "m3"]
VRID = 10
INTERVAL = 0.1


def guard(rank: int = 0, nodes: int = 3) -> Guard:
    """The guard of one of so many nodes."""
    peers = {ADDRESSES[n]: NAMES[n] for n in range(nodes) if n != rank}
    return Guard(Me(ADDRESSES[rank], VIP, VRID, rank, peers, INTERVAL, 8443))


def claim(rank: int, *, holds: bool = True, mute: bool = False, held: float = 0.0) -> Claim:
    """What the guard of a node says, without a question."""
    return Claim(VRID, VIP, ADDRESSES[rank], rank, holds, mute, False, held)


class Node:
    """One machine. `blocked`: what its guard wrote; `hung`: its keepalived stands still."""

    def __init__(self, rank: int, nodes: int) -> None:
        self.rank = rank
        self.nodes = nodes
        self.guard: Guard | None = guard(rank, nodes)
        self.alive = True
        self.has_vip = False
        self.fresh = False
        self.blocked = False
        self.hung = False
        self.runs = True
        self.watches_own = False
        self.watches_peers = False
        self.timeout = 0
        self.hushed_until = 0.0

    @property
    def priority(self) -> int:
        return effective_priority(self.nodes, self.rank, holder=self.has_vip, fresh=self.fresh)

    @property
    def speaks(self) -> bool:
        return self.alive and self.runs and not self.hung


class Segment:
    """All of them on one wire. `filtered`: pairs between which VRRP is dropped."""

    def __init__(self, nodes: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.nodes = [Node(rank, nodes) for rank in range(nodes)]
        self.filtered: set[frozenset[int]] = set()
        self.claims_arrive = True
        self.cut_off: set[int] = set()
        self.changes: list[tuple[float, int, bool]] = []
        self.gateway = True
        for node in self.nodes:
            self._wait_for_silence(node)
            self.at(0.0, lambda node=node: self._feed(node, Started()))

    # Time.

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + seconds, next(self.numbers), act))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.queue and self.queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self.queue)
            act()
        self.now = end

    def _soon(self, act: Callable[[], None]) -> None:
        self.at(self.random.uniform(0.0002, 0.004), act)

    # Who holds it.

    @property
    def holders(self) -> list[int]:
        return [node.rank for node in self.nodes if node.alive and node.has_vip]

    def longest_with_two(self) -> float:
        """The longest time with more than one holder, in seconds."""
        holders: set[int] = set()
        longest, since = 0.0, None
        for at, rank, has in [*self.changes, (self.now, -1, False)]:
            if since is not None:
                longest = max(longest, at - since)
            holders = holders | {rank} if has else holders - {rank}
            if len(holders) < 2:
                since = None
            elif since is None:
                since = at
        return longest

    # What breaks.

    def power_off(self, rank: int) -> None:
        node = self.nodes[rank]
        node.alive = False
        node.guard = None
        if node.has_vip:
            self.changes.append((self.now, rank, False))
        node.has_vip = False

    def hang(self, rank: int) -> None:
        self.nodes[rank].hung = True

    def filter(self, ranks: Collection[int]) -> None:
        self.filtered = {frozenset((a, b)) for a in ranks for b in ranks if a != b}

    def kill_guard(self, rank: int, back_after: float | None) -> None:
        """Its unit writes 0 and starts it again."""
        node = self.nodes[rank]
        node.guard = None
        self._write(node, False)
        if back_after is not None:
            self.at(back_after, lambda: self._start_guard(node))

    def _start_guard(self, node: Node) -> None:
        if node.alive:
            node.guard = guard(node.rank, node.nodes)
            self._feed(node, Started())
            if node.has_vip:
                since = max((at for at, rank, has in self.changes if rank == node.rank and has))
                self._feed(node, Taken(self.now - since))

    # keepalived.

    def _wait_for_silence(self, node: Node, seconds: float | None = None) -> None:
        node.timeout += 1
        mine = node.timeout

        def silent() -> None:
            if mine == node.timeout and node.speaks and not node.blocked and not node.has_vip:
                self._take(node)

        usual = master_down_interval(node.priority, INTERVAL)
        self.at(usual if seconds is None else seconds, silent)

    def _take(self, node: Node) -> None:
        node.has_vip = node.fresh = True
        self.changes.append((self.now, node.rank, True))
        self._soon(lambda: self._feed(node, Taken(0.0)))
        self._advertise(node)

    def _drop(self, node: Node) -> None:
        if node.has_vip:
            node.has_vip = node.fresh = False
            self.changes.append((self.now, node.rank, False))
            self._soon(lambda: self._feed(node, Lost()))
        self._wait_for_silence(node)

    def _advertise(self, node: Node) -> None:
        if not (node.speaks and node.has_vip):
            if node.alive and node.hung:
                self.at(INTERVAL, lambda: self._advertise(node))
            return
        self._send(node, node.priority)
        self.at(INTERVAL, lambda: self._advertise(node))

    def _send(self, node: Node, priority: int) -> None:
        if self.now < node.hushed_until:
            return
        if node.watches_own:
            self._soon(lambda: self._feed(node, OwnAdvert()))
        for other in self._others(node):
            if frozenset((node.rank, other.rank)) not in self.filtered:
                self._soon(lambda other=other: self._hear(other, node, priority))

    def _hear(self, node: Node, sender: Node, priority: int) -> None:
        if node.alive and node.watches_peers:
            self._feed(node, Advert(ADDRESSES[sender.rank]))
        if not node.speaks or node.blocked:
            return
        if priority == 0:
            if not node.has_vip:
                self._wait_for_silence(node, skew_time(node.priority, INTERVAL))
        elif priority > node.priority:
            self._drop(node) if node.has_vip else self._wait_for_silence(node)

    def _write(self, node: Node, value: bool) -> None:
        node.blocked = value
        if node.speaks:
            self._soon(lambda: self._notice(node))

    def _notice(self, node: Node) -> None:
        if node.speaks and node.blocked and node.has_vip:
            self._send(node, 0)
            self._drop(node)
        elif node.speaks and not node.has_vip:
            self._wait_for_silence(node)

    def _end(self, node: Node) -> None:
        node.runs = False
        self._drop(node)
        self.at(1.1, lambda: self._restart(node))

    def _restart(self, node: Node) -> None:
        node.runs, node.hung = True, False
        self._wait_for_silence(node)

    # Guards.

    def _others(self, node: Node) -> list[Node]:
        apart = self.cut_off
        return [
            other
            for other in self.nodes
            if other is not node and other.alive and not apart & {node.rank, other.rank}
        ]

    def _feed(self, node: Node, event: Any) -> None:
        if node.guard is None:
            return
        for action in node.guard.react(self.now, event):
            self._act(node, action)
        if node.guard is not None:
            wait = max(0.0, node.guard.deadline() - self.now)
            due = node.guard.deadline()
            if wait < float("inf"):
                self.at(wait, lambda: self._tick(node, due))

    def _tick(self, node: Node, due: float) -> None:
        if node.guard is not None and node.guard.deadline() == due:
            self._feed(node, Tick())

    def _act(self, node: Node, action: Any) -> None:
        match action:
            case Say():
                for other in self._others(node) if self.claims_arrive else ():
                    event = Claimed(MACS[node.rank], action.claim)
                    self._soon(lambda other=other, event=event: self._feed(other, event))
            case Ask():
                self._ask(node, action.address)
            case Block() | Hush() | Settled() | End():
                self._interfere(node, action)
            case WatchOwn() | WatchPeers():
                self._watch(node, action)
            case Try():
                self._soon(lambda: self._feed(node, Alive(action.address)))
            case FindGateway():
                self._soon(lambda: self._feed(node, Gateway(GATEWAY)))

    def _interfere(self, node: Node, action: Block | Hush | Settled | End) -> None:
        """With its keepalived."""
        match action:
            case Block():
                self._write(node, action.value)
            case Hush():
                node.hushed_until = self.now + HUSHED if action.on else 0.0
            case Settled():
                node.fresh = False
            case End():
                self._end(node)

    def _watch(self, node: Node, action: WatchOwn | WatchPeers) -> None:
        if isinstance(action, WatchPeers):
            node.watches_peers = action.on
            return
        node.watches_own = action.on
        if action.on and node.hung:
            self._soon(lambda: self._feed(node, Stopped()))

    def _ask(self, node: Node, address: bytes) -> None:
        if address == GATEWAY and self.gateway and node.rank not in self.cut_off:
            self._soon(lambda: self._feed(node, Answer(GATEWAY, GATEWAY_MAC)))
        for other in self._others(node):
            mac = MACS[other.rank]

            def answer(other: Node = other, mac: bytes = mac) -> None:
                if other.alive and (address == ADDRESSES[other.rank] or other.has_vip):
                    self._soon(lambda: self._feed(node, Answer(address, mac)))

            if address in (VIP, ADDRESSES[other.rank]):
                self._soon(answer)
