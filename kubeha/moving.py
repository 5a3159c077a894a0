"""Carries a planned move of the VIP out: prepares the nodes, moves, waits for old connections.

What is to be done is decided in `moves`. The nodes keep it up by themselves (node/handover) and
undo it at the deadline, whatever becomes of this side: if it goes away, nothing is lost but the
progress that it tells.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeha import moves, paths
from kubeha.errors import HostError, KubehaError
from kubeha.facts import parse_addresses
from kubeha.model import Cluster
from kubeha.moves import DEFAULT_DEADLINE, Means, Move, MoveResult
from kubeha.observe import Fleet, observe
from kubeha.remote import Command
from kubeha.vrrp import failover_bounds

Tell = Callable[[str, str], None]

_ADDRESSES = Command(("ip", "-j", "address", "show"))
_INTERVAL = 1.0
# node/handover's own: how long relays may take to hear that a former holder has ended.
_LAST_WORDS = 8.0


class NotMoved(KubehaError):
    """The VIP did not move; everything was put back."""

    exit_code = moves.Refused.exit_code


async def move(
    cluster: Cluster,
    fleet: Fleet,
    *,
    away_from: str | None = None,
    to: str | None = None,
    means: Means = Means.ASIDE,
    deadline: float = DEFAULT_DEADLINE,
    wait: bool = True,
    tell: Tell = lambda node, text: None,
) -> MoveResult:
    """Move the VIP away from a node, or to one; established connections live on.

    `deadline`: seconds after which those that are left are closed. Without `wait` it returns as
    soon as the VIP has moved; the nodes do the rest. `means`: DRAIN leaves the node drained.
    Where another node than `to` got the VIP, the result says so: its `holder` and a note.
    Raises moves.Refused or moves.Unknown before anything is touched, NotMoved where the VIP stayed.
    """
    begun = time.monotonic()
    seen = await observe(cluster, fleet, only=[n.name for n in cluster.load_balancer_nodes])
    if to is not None:
        plan = moves.towards(cluster, seen, to)
    else:
        assert away_from is not None, "from where, or where to"
        plan = moves.away(cluster, seen, away_from, means)
    if plan is None:
        if means is Means.DRAIN and away_from is not None:
            await drain(fleet, away_from)
        return MoveResult(None, moves.holder_of(cluster, seen), moved=False)
    result = await _Moving(cluster, fleet, plan, deadline, tell, to).carry_out(wait=wait)
    return result.lasting(time.monotonic() - begun)


async def drain(fleet: Fleet, name: str) -> None:
    """The node shall not have the VIP while another can; kept over a reboot."""
    await _handover(fleet, name, "drain")


async def undrain(fleet: Fleet, name: str) -> None:
    """The node may have the VIP again; it does not take it from a healthy holder."""
    await _handover(fleet, name, "undrain")


async def _handover(
    fleet: Fleet, name: str, command: str, request: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One command of node/handover on a node, and what it answers."""
    done = await fleet.hosts[name].run(
        [paths.HANDOVER_PROGRAM, command],
        timeout=30.0,
        input=json.dumps(request) if request is not None else None,
    )
    if not done.ok:
        said = (done.stderr.strip() or done.error or "no reason given")[-300:]
        raise HostError(
            f"{paths.HANDOVER_PROGRAM} {command}: {said}",
            node=name,
            kind="handover",
            hint="kubeha apply puts it there",
        )
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return answer


@dataclass
class _Moving:
    """One move on its way."""

    cluster: Cluster
    fleet: Fleet
    plan: Move
    deadline: float
    tell: Tell
    to: str | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    notes: list[str] = field(default_factory=list)
    plain: str = ""

    @property
    def patience(self) -> float:
        """How long the VIP may take to move, in seconds."""
        count = len(self.cluster.load_balancer_nodes)
        return 10.0 + 3 * failover_bounds(count, self.cluster.vrrp.advert_interval)[1]

    async def carry_out(self, *, wait: bool) -> MoveResult:
        former = self.plan.former
        for name, reason in self.plan.unprepared.items():
            self._note(name, f"takes no part: {reason}")
        self.plain = await self._prepare()
        if self.plain:
            self.tell(former, f"its connections will be reset: {self.plain}")
            await self._over()
        holder = await self._shift()
        self.tell(holder, f"holds the VIP {self.cluster.endpoint.vip}")
        if words := moves.elsewhere(self.to, holder):
            self._note(holder, words)
        if self.plain:
            return MoveResult(former, holder, True, plain=self.plain, notes=tuple(self.notes))
        if not wait:
            left = await self._left()
            return MoveResult(former, holder, True, carried=left, left=left, notes=self._told)
        return await self._follow(holder)

    @property
    def _told(self) -> tuple[str, ...]:
        return tuple(self.notes)

    def _note(self, node: str, text: str) -> None:
        self.notes.append(f"{node}: {text}")
        self.tell(node, text)

    # Before the move.

    async def _prepare(self) -> str:
        """Every relay, then the former holder. Returns why it cannot be, "" if all is ready."""
        former = self.plan.former
        self.tell(former, "its connections will live on there: preparing every node")
        states = dict(
            zip(
                (part.name for part in self.plan.parts),
                await asyncio.gather(*(self._status(part.name) for part in self.plan.parts)),
                strict=True,
            )
        )
        formers = moves.formers(states.values(), self.plan, self.id, self.deadline)
        needed = (former, self.plan.target)
        answers = await asyncio.gather(*(self._join(name, formers) for name in self.plan.relays))
        for name, why in zip(self.plan.relays, answers, strict=True):
            if why and name not in needed:
                self._note(name, f"takes no part: {why}")
        refusals = dict(zip(self.plan.relays, answers, strict=True))
        if former in self.plan.unprepared or self.plan.target in self.plan.unprepared:
            return "; ".join(f"{n}: {w}" for n, w in self.plan.unprepared.items() if n in needed)
        if why := refusals[self.plan.target]:
            return f"{self.plan.target}: {why}"
        if why := await self._join(former, formers):
            return f"{former}: {why}"
        return ""

    async def _status(self, name: str) -> dict[str, Any]:
        try:
            return await _handover(self.fleet, name, "status")
        except HostError:
            return {}

    def _request(self, name: str) -> dict[str, Any]:
        return moves.request(self.cluster, self.plan, name, self.patience + 60.0)

    async def _join(self, name: str, formers: Mapping[str, Any]) -> str:
        """Why the node cannot take part, "" if it does now."""
        try:
            answer = await _handover(
                self.fleet, name, "join", {**self._request(name), "formers": formers}
            )
        except HostError as error:
            return error.message
        return "" if answer["able"] else str(answer["why"])

    async def _over(self) -> None:
        """Nobody passes anything on for this move any more."""
        for part in self.plan.parts:
            try:
                request = {**self._request(part.name), "over": {self.plan.former: self.id}}
                await _handover(self.fleet, part.name, "join", request)
            except HostError as error:
                self._note(part.name, f"{error.message}: it ends by itself at the deadline")

    # The move.

    async def _shift(self) -> str:
        """Make the VIP move; returns the new holder. What does not move is put back."""
        former = self.plan.former
        try:
            if self.plan.means is Means.DRAIN:
                self.tell(former, "drained: gives the VIP away")
                await drain(self.fleet, former)
            else:
                self.tell(former, f"stands aside for {self.plan.target}")
                for name in self.plan.aside:
                    await self._aside(name, self.patience + 5.0)
            return await self._moved()
        except NotMoved:
            await self._stay()
            raise
        finally:
            if self.plan.means is Means.ASIDE:
                await asyncio.gather(*(self._aside_no_more(name) for name in self.plan.aside))

    async def _aside(self, name: str, seconds: float) -> None:
        """The node stands back for so long; 0: no longer. It ends by itself, too."""
        answer = await _handover(
            self.fleet, name, "join", {**self._request(name), "aside": seconds}
        )
        if not answer["able"]:
            raise HostError(f"does not stand aside: {answer['why']}", node=name, kind="handover")

    async def _aside_no_more(self, name: str) -> None:
        try:
            await self._aside(name, 0.0)
        except HostError as error:
            self._note(name, f"{error.message}: it stands aside for some seconds more")

    async def _moved(self) -> str:
        """Wait until exactly one node has the VIP, and not the former one."""
        limit = time.monotonic() + self.patience
        names = [n.name for n in self.cluster.load_balancer_nodes if n.name in self.fleet.hosts]
        holders: list[str] = []
        while time.monotonic() < limit:
            seen = await asyncio.gather(*(self._holds(name) for name in names))
            holders = [name for name, holds in zip(names, seen, strict=True) if holds]
            if len(holders) == 1 and holders[0] != self.plan.former:
                return holders[0]
            await asyncio.sleep(0.05)
        raise NotMoved(
            f"the VIP did not move within {self.patience:.0f} s: it is held by"
            f" {' and '.join(holders) or 'no node'}",
            node=self.plan.former,
            hint="see why with: kubeha status",
        )

    async def _holds(self, name: str) -> bool:
        """Is the VIP on a card of this node? One that cannot be asked is left to the others."""
        try:
            done = (await self.fleet.hosts[name].collect({"a": _ADDRESSES})).commands["a"]
        except HostError:
            return False
        vip = self.cluster.endpoint.vip
        there = parse_addresses(done.stdout) or ()
        return any(one.address.ip == vip and one.interface != "lo" for one in there)

    async def _stay(self) -> None:
        if self.plan.means is Means.DRAIN and not self.plan.drained_before:
            await undrain(self.fleet, self.plan.former)
        if not self.plain:
            await self._over()

    # After it.

    async def _left(self) -> int | None:
        seen = await self._status(self.plan.former)
        count = seen.get("connections")
        return int(count) if count is not None else None

    async def _follow(self, holder: str) -> MoveResult:
        """Tell how many connections are left until there are none, or the deadline comes."""
        former, told, last = self.plan.former, None, time.monotonic()
        limit = last + self.deadline + _LAST_WORDS
        carried: int | None = None
        try:
            while time.monotonic() < limit:
                seen = await _handover(self.fleet, former, "status")
                mine = seen.get("formers", {}).get(former)
                if mine is None or mine["id"] != self.id:
                    return await self._ended(holder, seen.get("last", {}))
                count, seconds = seen.get("connections"), mine["rest"]
                carried = mine.get("carried", carried)
                now = time.monotonic()
                if count != told and (told is None or now - last >= 5 or not count):
                    self.tell(former, moves.progress(count, seconds))
                    told, last = count, now
                await asyncio.sleep(min(_INTERVAL, max(0.1, seconds)))
        except HostError as error:
            self._note(former, f"{error.message}; the nodes end what is left by themselves")
        except asyncio.CancelledError:
            words = "connections that are left live on until they end"
            rest = moves.lasting(max(0.0, limit - _LAST_WORDS - time.monotonic()))
            self.tell(former, f"no longer waiting: {words}, for {rest} at the most")
            raise
        return MoveResult(former, holder, True, carried=carried, notes=self._told)

    async def _ended(self, holder: str, last: Mapping[str, Any]) -> MoveResult:
        """The former holder has done its part; see that the others have ended theirs."""
        mine = last if last.get("id") == self.id else {}
        limit = time.monotonic() + _LAST_WORDS
        busy = set(self.plan.relays)
        while busy and time.monotonic() < limit:
            for name in sorted(busy):
                known = (await self._status(name)).get("formers", {}).get(self.plan.former)
                if known is None or known["id"] != self.id:
                    busy.discard(name)
            if busy:
                await asyncio.sleep(0.3)
        for name in sorted(busy):
            self._note(name, "has not ended its part yet: it does so at the deadline")
        self.notes += [f"{self.plan.former}: {note}" for note in mine.get("notes", ())]
        carried, closed = mine.get("carried"), mine.get("closed")
        return MoveResult(
            self.plan.former, holder, True, carried=carried, closed=closed, left=0, notes=self._told
        )
