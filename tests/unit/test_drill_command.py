"""What `kubeha drill` does without being told, and what it refuses."""

from pathlib import Path

import pytest
from worlds import cluster

from kubeha.cli.drill import _begin, _check_budget, _check_movable, _chosen, _note, limited
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


def test_the_same_command_begins_a_record_and_goes_on_with_it(tmp_path: Path) -> None:
    file = tmp_path / "drill.jsonl"
    head = {"cluster": "lab", "started": 1.0}
    assert _begin(file, head, True) == ()
    _note(file, {"fault": "freeze", "number": 1})
    with file.open("ab") as cut_off:
        cut_off.write('{"trial": {"fault": "é'.encode()[:-1])
    later = {"cluster": "lab", "started": 2.0}
    assert [each["number"] for each in _begin(file, later, True)] == [1]
    assert later["started"] == 1.0
    assert file.read_text().count("\n") == len(file.read_text().splitlines()) == 2


def test_a_record_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "drill.jsonl"
    _begin(file, {}, False)
    with pytest.raises(UsageError, match="is there already"):
        _begin(file, {}, False)
