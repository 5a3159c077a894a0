"""What is healed after a strike that was refused, interrupted or lost in the middle."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from worlds import cluster

from kubeha import striking
from kubeha.drill import Victims
from kubeha.drills.catalogue import FAULTS
from kubeha.errors import HostError
from kubeha.node import strike as node_strike
from kubeha.node.wire import Refused
from kubeha.remote import Completed
from kubeha.striking import Striker

FAULT = FAULTS["stop-haproxy"]
NODE = cluster().control_plane[0]
STOP = re.compile(r"systemctl stop kubeha-drill-[0-9a-f]{8}\.timer")


class Struck:
    """A node whose strike takes some time and ends as it was told; `timer`: what its timer does."""

    def __init__(
        self, seconds: float = 0.0, error: HostError | None = None, timer: str = "active"
    ) -> None:
        self.node = NODE
        self.seconds = seconds
        self.error = error
        self.timer = timer
        self.ran: list[str] = []

    @property
    def changed(self) -> list[str]:
        """What was run to heal, and to stop the timer."""
        return [each for each in self.ran if "is-active" not in each]

    async def strike(self, request: Mapping[str, Any], hear: Any) -> Mapping[str, Any]:
        hear({"event": "clock", "clock": 1.0})
        if self.error is not None:
            raise self.error
        hear({"event": "struck", "clock": 1.0})
        await asyncio.sleep(self.seconds)
        return {"struck": 1.0, "fell": 1.0}

    async def run(self, argv: tuple[str, ...], **_: Any) -> Completed:
        self.ran.append(" ".join(argv))
        said = self.timer if "is-active" in argv else ""
        return Completed(0, said, "", None, 0.0)


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the striker connect to this node."""

    def to(host: Struck) -> Striker:
        @asynccontextmanager
        async def connect(*_: Any, **__: Any) -> AsyncIterator[Struck]:
            yield host

        monkeypatch.setattr(striking, "connect", connect)
        return Striker(cluster(), None)

    return to


async def refused(striker: Striker) -> None:
    with pytest.raises(HostError):
        await striker.strike(FAULT, Victims((NODE,), "eth0"))
    await striker.heal()


def test_a_node_that_another_drill_has_is_left_alone(reach: Any) -> None:
    host = Struck(error=HostError("another drill is under way", kind="busy"))
    asyncio.run(refused(reach(host)))
    assert host.ran == []


def test_what_was_refused_half_way_is_undone_with_its_timer(reach: Any) -> None:
    host = Struck(error=HostError("nft: no such program", kind="strike"))
    asyncio.run(refused(reach(host)))
    assert len(host.changed) == 2 and STOP.fullmatch(host.changed[-1])


def test_the_timer_of_a_strike_that_was_lost_is_kept(reach: Any) -> None:
    """It may still be done, after the healing: then the timer heals."""
    host = Struck(error=HostError("the connection was lost", kind="lost"))
    asyncio.run(refused(reach(host)))
    assert len(host.changed) == 1 and not STOP.fullmatch(host.changed[0])


def test_an_interrupted_strike_is_over_before_it_is_healed(reach: Any) -> None:
    async def interrupted(striker: Striker) -> None:
        work = asyncio.create_task(striker.strike(FAULT, Victims((NODE,), "eth0")))
        await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await striker.heal()

    host = Struck(seconds=0.05)
    asyncio.run(interrupted(reach(host)))
    assert STOP.fullmatch(host.changed[-1])


def test_what_the_timer_has_healed_is_not_healed_again(reach: Any) -> None:
    """Whatever is broken there by now is another drill's."""
    host = Struck(timer="inactive")

    async def late(striker: Striker) -> None:
        await striker.strike(FAULT, Victims((NODE,), "eth0"))
        await striker.heal()

    asyncio.run(late(reach(host)))
    assert host.changed == []


class Gone:
    """The line to an operator who went away while the time was told."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def event(self, name: str, **_: Any) -> None:
        assert name == "clock", "nothing is struck"
        self.gone.set()


def test_nothing_is_struck_for_an_operator_who_has_gone() -> None:
    wire: Any = Gone()
    with pytest.raises(Refused, match="nobody waits"):
        node_strike.strike(wire, "no-unit-", "no-unit-1", None, 5.0, [{"run": ["false"]}])
