"""Trials as data: what is kept of them, their sums, and the record that a drill is resumed from."""

import io
import json

import pytest
from rich.console import Console

from kubeha.drills.catalogue import FAULTS
from kubeha.drills.record import Record, first_line, line, missing, read
from kubeha.drills.result import not_begun, result, spread, summary, thinned, trial, verdict
from kubeha.drills.text import drill_view, trial_line
from kubeha.drills.timeline import Absence, Change
from kubeha.drills.verdict import Recording, Verdict, judge
from kubeha.history import Attempt

HEAD = {"cluster": "prod", "endpoint": {"vip": "198.51.100.10", "port": 8443}, "budget": []}


def one(number: int = 1, quiet: float = 0.3) -> dict:
    """A trial in which the holder lost its power."""
    attempts = [
        Attempt(-0.1, -0.05, "version", "ok", source="c1"),
        Attempt(-0.01, 0.2, "version", "reset", source="c1"),
        Attempt(quiet - 0.05, quiet - 0.05, "version", "ok", source="c1"),
    ]
    changes = [
        Change(-2.0, "m1", "holds", "", 1),
        Change(0.3, "m2", "holds", "", 1),
        Change(0.5, "m1", "holds", "", 0),
        Change(-2.0, "m2", "server", "m1", "UP"),
        Change(1.0, "m2", "server", "m1", "DOWN"),
        Change(-2.0, "m1", "haproxy", "", "answers"),
        Change(1.5, "m1", "haproxy", "", "gone"),
    ]
    fault = FAULTS["power-off"]
    seen = Recording("m1", "m1", -2.0, 9.0, 0.0, 5.0, attempts, changes, (Absence("m1", 0, 5),))
    return trial(fault, number, seen, judge(seen, fault, 1.0), 1_795_446_858.5)


def test_a_trial_has_the_documented_shape() -> None:
    seen = one()
    assert json.loads(json.dumps(seen)) == seen
    assert seen["verdict"] == "pass" and seen["reasons"] == []
    assert seen["holders"] == [
        {"node": "m1", "from": -2.0, "to": 0.0},
        {"node": "m2", "from": 0.3, "to": None},
    ]
    assert seen["servers"][0] == {
        "node": "m2", "server": "m1", "status": "UP", "from": -2.0, "to": 1.0,
    }  # fmt: skip
    assert seen["attempts"][1] == ["version", 0, -0.01, 0.2, "reset", "c1", False]
    assert [(each["at"], each["node"], each["what"]) for each in seen["events"]] == [
        (0.0, "m1", "strike"),
        (0.3, "m2", "takes the VIP"),
        (1.5, "m1", "HAProxy is gone"),
        (5.0, "m1", "healed"),
    ]


def test_figures_of_a_fault_are_those_of_its_trials() -> None:
    row = summary("power-off", [one(1, 0.3), one(2, 0.5)])
    assert (row["verdict"], row["trials"], row["passed"]) == ("pass", 2, 2)
    assert row["silence"] == {"p50": 0.3, "p90": 0.5, "max": 0.5}
    assert row["new_holder"] == {"p50": 0.3, "p90": 0.3, "max": 0.3}
    assert (row["requests"], row["failed"], row["moves"]) == (6, 2, [1, 1])


def test_percentiles_are_values_that_were_measured() -> None:
    assert spread([]) is None
    assert spread([3.0, 1.0, 2.0]) == {"p50": 2.0, "p90": 3.0, "max": 3.0}
    assert spread(range(1, 101)) == {"p50": 50, "p90": 90, "max": 100}


def test_a_trial_that_never_began_spoils_the_verdict_and_no_figure() -> None:
    lost = not_begun(FAULTS["power-off"], 2, "m1", 0.0, ["not healthy before: m2"])
    whole = result(HEAD, [one(1), lost])
    assert whole["faults"][0]["silence"] == summary("power-off", [one(1)])["silence"]
    assert (whole["faults"][0]["passed"], verdict(whole)) == (1, Verdict.UNKNOWN)


def test_thinning_keeps_failures_and_both_sides_of_every_gap() -> None:
    steady = [Attempt(t / 50, t / 50, "version", "ok") for t in range(-100, 1000)]
    gap = [each for each in steady if not 9.01 < each.end < 9.99]
    lost = Attempt(12.0, 12.5, "version", "timeout")
    kept = thinned([*gap, lost])
    assert lost in kept and len(kept) < 350
    ends = [each.end for each in kept if each.ok]
    assert 9.0 in ends and 10.0 in ends
    near = [each for each in gap if -1 <= each.end <= 3]
    assert [each for each in kept if -1 <= each.end <= 3] == near


def record(*trials: dict) -> str:
    return first_line(HEAD) + "".join(map(line, trials))


def test_a_drill_goes_on_where_its_record_ends() -> None:
    there = read(record(one(1)))
    assert there == Record(HEAD, (one(1),), len(record(one(1))))
    assert missing(["power-off", "freeze"], 2, there.trials) == [
        ("freeze", 1), ("power-off", 2), ("freeze", 2),
    ]  # fmt: skip


def test_a_line_that_was_cut_off_counts_for_nothing() -> None:
    whole = record(one(1))
    there = read(whole + line(one(2))[:40])
    assert [each["number"] for each in there.trials] == [1]
    assert there.size == len(whole)


@pytest.mark.parametrize("text", ["", "{}\n", "cluster: prod\n", '{"drill": 1'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text)


def test_trials_of_another_cluster_are_not_mixed_in() -> None:
    there = read(record())
    assert there.differs(HEAD) is None
    assert "cluster: prod in the record" in (there.differs({**HEAD, "cluster": "test"}) or "")


def test_people_read_a_table_and_the_reasons_below_it() -> None:
    bad = {**one(2, 0.5), "verdict": "fail", "reasons": ["0.50 s of silence [too long]"]}
    whole = result({**HEAD, "budget": [{"fault": "power-off", "worst": 0.62}]}, [one(1), bad])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(drill_view(whole))
    text = console.export_text()
    assert "power-off  fail 1/2" in text and "0.62 s" in text
    assert "fail power-off 2: 0.50 s of silence [too long]" in text
    assert trial_line(one(), 2).startswith("power-off 1/2 on m1: [green]pass[/]; silence 0.30 s")
