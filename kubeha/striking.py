"""Break things on a user's own machines over SSH, in such a way that they heal by themselves.

A transient timer of systemd on the node undoes the fault; it is started before the fault is done
(node/strike.py). Healing from here only comes earlier, and takes the timer away.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeha.drill import Blow, Victims
from kubeha.drills import blows
from kubeha.drills.catalogue import Fault
from kubeha.errors import HostError
from kubeha.host import Host, connect
from kubeha.model import Cluster, Node
from kubeha.moves import Means
from kubeha.moving import move
from kubeha.observe import open_fleet

# How long old connections may live after a planned move; no trial takes as long, in seconds.
_DEADLINE = 90.0
# How much later than we do the node's own timer heals, in seconds.
MARGIN = 30.0
# How long a machine may take to come back, in seconds.
RETURN = 300.0
# How long an interrupted drill waits for a strike to be over, in seconds: it is healed after that.
_OVER = 20.0
# A node that refuses has answered: nothing more will be done there.
_REFUSALS = ("busy", "strike")
# What `systemctl is-active` says of a timer that has fired.
_NO_TIMER = ("inactive", "failed", "unknown")


@dataclass
class _Wound:
    """What was done, and when its timer on the node ends.

    `unit`: the timer, this strike's own. `over`: the strike has answered, nothing of it comes after
    the healing. Else the timer stays.
    """

    unit: str
    node: Node
    fault: Fault
    blow: blows.Blow
    due: float
    over: bool = False


class Striker:
    """The injector for machines that are only reached by SSH."""

    def __init__(self, cluster: Cluster, password: str | None) -> None:
        self._cluster = cluster
        self._password = password
        self._wound: _Wound | None = None

    async def strike(self, fault: Fault, victims: Victims) -> Blow:
        """Start the timer, then break it."""
        node, *others = victims.nodes
        target = blows.Target(
            victims.interface,
            tuple(other.address for other in others),
            str(self._cluster.endpoint.vip),
        )
        blow = blows.blow(fault.name, target)
        # Nobody but the node itself can heal it while it is cut off: at the end of the watch.
        after = fault.watch + (0.0 if fault.off_wire else MARGIN)
        unit = blows.UNIT + secrets.token_hex(4)
        wound = _Wound(unit, node, fault, blow, time.time() + after)
        request = {
            "prefix": blows.UNIT,
            "unit": unit,
            "heal": list(blow.heal) if blow.heal else None,
            "after": after,
            "blows": list(blow.blows),
        }
        async with connect(self._cluster, node, become_password=self._password) as host:
            blow_fell = await self._deal(host, request, wound)
        if fault.name == "drain":
            await self._move_away(node)
        return blow_fell

    async def _deal(self, host: Host, request: Mapping[str, object], wound: _Wound) -> Blow:
        """From here on there is something to heal, unless the node is another drill's."""
        self._wound = wound
        try:
            return await _struck(host, request, wound)
        except HostError as error:
            # Its timer and its fault are not ours to end.
            if error.kind == "busy":
                self._wound = None
            raise

    async def _move_away(self, node: Node) -> None:
        """As `kubeha drain` does it, but nothing of it outlives a reboot, nor a drain of yours.

        The connections that live on end when the clients do.
        """
        nodes = self._cluster.load_balancer_nodes
        async with open_fleet(self._cluster, nodes, become_password=self._password) as fleet:
            result = await move(
                self._cluster,
                fleet,
                away_from=node.name,
                means=Means.ASIDE,
                deadline=_DEADLINE,
                wait=False,
            )
        if not result.moved:
            hint = "without --node the holder is struck"
            raise HostError("does not hold the VIP", hint=hint, node=node.name, kind="move")

    async def heal(self) -> float:
        """Undo it now, or wait for the node to have done it."""
        wound = self._wound
        if wound is None:
            return time.time()
        if wound.fault.off_wire:
            await asyncio.sleep(max(0.0, wound.due - time.time()))
        begun = time.time()
        if wound.fault.off_wire:
            await self._await_return(wound.node)
        elif wound.blow.heal is not None:
            await self._undo(wound, wound.blow.heal)
        # Only now: what could not be healed is tried again before the next trial.
        self._wound = None
        return begun

    async def _undo(self, wound: _Wound, heal: tuple[str, ...]) -> None:
        """Unless the timer has: whatever is broken there by now is another drill's."""
        timer = f"{wound.unit}.timer"
        async with connect(self._cluster, wound.node, become_password=self._password) as host:
            shown = await host.run(("systemctl", "is-active", timer), timeout=20.0)
            if shown.stdout.strip() in _NO_TIMER:
                return
            await _run(host, heal)
            # A strike that nobody has heard the end of may come yet: its timer heals that.
            if wound.over:
                await host.run(("systemctl", "stop", timer), timeout=20.0)

    async def _await_return(self, node: Node) -> None:
        """A machine that was cut off answers again. Raises HostError when it does not."""
        deadline = time.monotonic() + RETURN
        while True:
            try:
                async with connect(
                    self._cluster, node, become_password=self._password, timeout=3.0
                ) as host:
                    await host.run(("true",), timeout=5.0)
                    return
            except HostError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)


async def _struck(host: Host, request: Mapping[str, object], wound: _Wound) -> Blow:
    """Returns when it was, on our clock; a node that is cut off by it cannot answer."""
    hangs = wound.fault.off_wire
    moments: list[float] = []
    offsets: list[float] = []

    def hear(event: dict[str, Any]) -> None:
        # The quickest message tells best what the node's clock was when.
        offsets.append(time.time() - event["clock"])
        if event["event"] == "struck":
            moments.append(event["clock"])

    done = asyncio.create_task(host.strike(request, hear))
    try:
        await asyncio.wait({done}, timeout=5.0 if hangs else None)
        if not moments or (done.done() and not hangs):
            await done
        struck = moments[0] + min(offsets)
        return Blow(struck, done.result()["fell"] + min(offsets) if done.done() else struck)
    finally:
        if not hangs:
            # Interrupted in the middle, what is done now would be undone before it is complete.
            await asyncio.wait({done}, timeout=_OVER)
        wound.over = _answered(done)
        done.cancel()
        await asyncio.gather(done, return_exceptions=True)


def _answered(done: asyncio.Task[Any]) -> bool:
    """Has the node said that the strike is over, or refused?"""
    if not done.done() or done.cancelled():
        return False
    error = done.exception()
    return error is None or (isinstance(error, HostError) and error.kind in _REFUSALS)


async def _run(host: Host, argv: tuple[str, ...]) -> None:
    done = await host.run(argv, timeout=60.0, finish=True)
    if not done.ok:
        hint = f"the node heals itself within {MARGIN:g} s: see systemctl list-timers {blows.UNIT}*"
        said = (done.stderr.strip() or done.error or f"exit status {done.status}")[-300:]
        raise HostError(f"could not be healed: {said}", hint=hint, node=host.node.name, kind="heal")
