"""What `kubeha drill` does without being told, and what it refuses."""

import pytest
from worlds import cluster

from kubeha.cli.drill import _check_budget, _check_movable, _chosen, limited
from kubeha.drills.blows import SAFE
from kubeha.drills.catalogue import FAULTS
from kubeha.drills.record import Record
from kubeha.errors import UsageError


@pytest.mark.parametrize("yes_really", [False, True])
def test_all_of_them_are_the_safe_ones_outside_of_a_lab(yes_really: bool) -> None:
    assert set(_chosen([], True, yes_really, False)) == set(SAFE)
    assert set(_chosen([], True, yes_really, True)) == set(FAULTS)


def test_what_may_hurt_is_done_by_name() -> None:
    assert _chosen(["power-off"], False, True, False) == ["power-off"]
    with pytest.raises(UsageError, match="--yes-really"):
        _chosen(["power-off"], False, False, False)


def test_a_vip_that_has_nowhere_to_go_is_not_sent_away() -> None:
    alone = cluster(load_balancers=cluster().control_plane[:1])
    for name in ("kill-haproxy", "drain", "block-vrrp"):
        with pytest.raises(UsageError, match="no other node can take the VIP"):
            _check_movable(alone, [name])
        _check_movable(cluster(), [name])
    _check_movable(alone, ["kill-apiserver"])


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_is_a_time(limit: float) -> None:
    with pytest.raises(UsageError):
        _check_budget(limit)


def test_the_limit_that_was_given_is_recorded_and_another_one_is_another_drill() -> None:
    given = limited([{"fault": "freeze", "worst": 0.9}], 0.5)
    assert given == [{"fault": "freeze", "worst": 0.5, "computed": 0.9}]
    there = Record({"budget": given}, (), 0)
    assert there.differs({"budget": given}) is None
    assert "budget" in (there.differs({"budget": [{"fault": "freeze", "worst": 0.9}]}) or "")
