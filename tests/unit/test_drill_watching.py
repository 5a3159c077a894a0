"""What of a trial nobody has watched: it can have been anything."""

import asyncio
import time

import pytest
from worlds import cluster

from kubeha.drill import Moments, Victims, _blind
from kubeha.drills.catalogue import FAULTS
from kubeha.watching import Watcher

NODE = cluster().control_plane[0]
MOMENTS = Moments(begin=98.0, struck=100.0, fell=100.0, healed=105.0, back=110.0, end=120.0)


def watcher(*gaps: tuple[float, float]) -> dict[str, Watcher]:
    return {NODE.name: Watcher(cluster(), NODE, None, gaps=list(gaps))}


async def ended(last_sign: float) -> list[tuple[float, float]]:
    """The gaps of a watcher whose session is over."""
    one = Watcher(cluster(), NODE, None)
    one._last_sign = last_sign
    await one.end(asyncio.create_task(asyncio.sleep(0)))
    return one.gaps


def test_a_node_that_does_not_come_back_was_not_watched_to_the_end() -> None:
    lost = time.time() - 60.0
    ((since, until),) = asyncio.run(ended(lost))
    assert since == lost and until > lost + 59.0
    assert asyncio.run(ended(time.time() + 1.0)) == []


@pytest.mark.parametrize(
    "fault, gap, blind",
    [
        ("power-off", (99.8, 113.0), False),
        ("power-off", (99.8, 119.0), True),
        ("link-down", (99.8, 112.0), False),
        ("link-down", (99.8, 114.0), True),
        ("link-down", (90.0, 112.0), True),
        ("link-down", (114.0, 116.0), True),
        ("kill-haproxy", (101.0, 103.0), True),
        ("kill-haproxy", (97.0, 99.0), False),
    ],
)
def test_only_what_nobody_could_reach_is_excused(
    fault: str, gap: tuple[float, float], blind: bool
) -> None:
    told = _blind(watcher(gap), FAULTS[fault], Victims((NODE,)), MOMENTS)
    assert bool(told) is blind
    assert _blind(watcher(gap), FAULTS[fault], Victims(()), MOMENTS) != [] or gap[1] < 100.0
