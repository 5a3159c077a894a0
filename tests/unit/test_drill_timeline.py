"""Who held the VIP when, from what nodes told: made by hand, in seconds from the strike."""

import pytest

from kubeha.drills.timeline import (
    Absence,
    Change,
    holders,
    intervals,
    moves,
    new_holder,
    silence,
    two_holders,
)
from kubeha.history import Attempt


def holding(*edges: tuple[float, str, int]) -> list[Change]:
    return [Change(at, node, "holds", "", value) for at, node, value in edges]


BEFORE = [(-2.0, "m1", 1), (-2.0, "m2", 0), (-2.0, "m3", 0)]
CRASH = holding(*BEFORE, (0.3, "m2", 1), (0.5, "m1", 0), (9.0, "m1", 0))
GONE = [Absence("m1", 0.0, 6.0)]


def spans(held) -> list[tuple[str, float, float | None]]:
    return [(each.node, each.begin, each.end) for each in held]


def test_what_was_so_ends_when_something_else_is() -> None:
    changes = [
        Change(-1.0, "m2", "server", "m1", "UP"),
        Change(0.5, "m2", "server", "m1", "UP"),
        Change(1.2, "m2", "server", "m1", "DOWN"),
        Change(0.0, "m2", "haproxy", "", "answers"),
    ]
    told = [(each.value, each.begin, each.end) for each in intervals(changes, "server")]
    assert told == [("UP", -1.0, 1.2), ("DOWN", 1.2, None)]


def test_a_node_that_nobody_can_reach_holds_nothing() -> None:
    assert spans(holders(CRASH)) == [("m1", -2.0, 0.5), ("m2", 0.3, None)]
    assert spans(holders(CRASH, GONE)) == [("m1", -2.0, 0.0), ("m2", 0.3, None)]


def test_a_frozen_holder_that_thaws_holds_again_until_it_yields() -> None:
    thaw = holding(*BEFORE, (0.3, "m2", 1), (6.03, "m1", 0))
    held = holders(thaw, GONE)
    assert spans(held) == [("m1", -2.0, 0.0), ("m2", 0.3, None), ("m1", 6.0, 6.03)]
    assert two_holders(held, -2.0, 10.0) == pytest.approx(0.03)
    assert moves(held) == 1


def test_an_absence_that_has_not_ended_leaves_nothing_behind_it() -> None:
    held = holders(holding(*BEFORE), [Absence("m1", 0.0, None)])
    assert spans(held) == [("m1", -2.0, 0.0)]


@pytest.mark.parametrize(
    "edges, count",
    [
        ([], 0),
        ([(0.0, "m1", 0), (0.3, "m2", 1)], 1),
        ([(0.0, "m1", 0), (0.1, "m1", 1)], 0),
        ([(0.0, "m1", 0), (0.3, "m2", 1), (4.0, "m1", 1), (4.1, "m2", 0)], 2),
        ([(0.3, "m2", 1), (0.4, "m1", 0)], 1),
        ([(0.3, "m2", 1), (0.5, "m2", 0)], 2),
        ([(0.3, "m2", 1), (0.31, "m3", 1), (0.32, "m3", 0), (0.4, "m1", 0)], 1),
        ([(0.3, "m2", 1), (0.36, "m2", 0)], 0),
    ],
    ids=["stays", "once", "same-again", "and-back", "overlap", "left-late", "race", "gave-way"],
)
def test_moves_are_what_clients_follow(edges: list[tuple[float, str, int]], count: int) -> None:
    assert moves(holders(holding(*BEFORE, *edges))) == count


def test_the_time_with_two_holders_is_a_sum_within_the_trial() -> None:
    held = holders(holding(*BEFORE, (0.2, "m2", 1), (0.3, "m2", 0), (5.0, "m3", 1)))
    assert two_holders(held, -2.0, 6.0) == pytest.approx(0.1 + 1.0)
    assert two_holders(holders(CRASH, GONE), -2.0, 10.0) == 0.0


def test_the_new_holder_is_never_before_the_strike() -> None:
    """The clocks of two machines are known to some milliseconds only."""
    assert new_holder(holders(CRASH, GONE), "m1") == 0.3
    assert new_holder(holders(holding(*BEFORE)), "m1") is None
    early = holding(*BEFORE, (-0.004, "m2", 1))
    assert new_holder(holders(early), "m1") == 0.0


def test_silence_is_that_of_new_connections_around_the_strike() -> None:
    seen = [Attempt(t, t + 0.1, "version", "ok") for t in (-2.0, -1.0, 0.5, 0.6)]
    streams = [Attempt(t / 10, t / 10 + 0.01, "stream", "ok") for t in range(-20, 7)]
    assert silence([*seen, *streams]) == pytest.approx(1.5)
    assert silence(streams) is None


def test_a_request_that_waits_in_vain_after_all_others_is_no_silence() -> None:
    """It was under way when the holder was lost, and ends after the clients have stopped."""
    seen = [Attempt(t / 10, t / 10 + 0.02, "version", "ok") for t in range(-20, 90)]
    lost = Attempt(-0.01, 9.99, "version", "timeout")
    assert silence([*seen, lost]) == pytest.approx(0.1)
    dead = [Attempt(t / 10, t / 10 + 10, "version", "timeout") for t in range(90)]
    before = Attempt(-0.1, -0.08, "version", "ok")
    assert silence([before, *dead]) == pytest.approx(8.98)
