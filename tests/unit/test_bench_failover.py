"""The comparison in bench/failover: notices of addresses, ab's output, the file of rows."""

from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from bench.failover import box, measuring, picture, quiet, report, results, throughput, trial
from bench.failover.configurations import CONFIGURATIONS, FILES, HandMade
from bench.failover.machines import NotWell
from bench.failover.watching import Notice, holders, longest, moves, new_holder_after, parse
from kubeha.history import Attempt, history

VIP = "198.51.100.10"
TITLES = {name: each.title for name, each in CONFIGURATIONS.items()}
# Of iproute2 6.1, `ip -o -ts monitor address`.
NOTICES = """\
[2026-11-23T15:23:10.500000] 2: eth0    inet 198.51.100.10/32 scope global eth0\\       valid_lft \
forever preferred_lft forever
[2026-11-23T15:23:10.600000] 1: lo    inet 198.51.100.10/32 scope global lo\\       valid_lft
[2026-11-23T15:23:10.700000] 2: eth0    inet 198.51.100.101/24 scope global eth0\\       valid_lft
[2026-11-23T15:23:11.250000] Deleted 2: eth0    inet 198.51.100.10/32 scope global eth0\\
"""
# Of ab 2.3, shortened.
AB = """\
Complete requests:      1500
Failed requests:        0
Keep-Alive requests:    1500
Requests per second:    412.17 [#/sec] (mean)
"""
PERCENTILES = "Percentage served,Time in ms\n0,1.1\n50,17.250\n99,40.5\n100,77\n"


def row(configuration="kubeha-100ms", event="crash", **more):
    return {
        "configuration": configuration, "event": event, "digest": "d", "disturbed": False,
        "error": None, "requests": 100, "failed": 0, "failed_later": 0, "silence": 0.3,
        "silence_of_one": 0.4, "connections": 198, "broken": 198, "new_holder": 0.25,
        "two_holders": 0.0, "at": 0, "box": "a box", "kubeha": "v1",
        "versions": {"keepalived": "1:2.2.7"}, **more,
    }  # fmt: skip


def test_notices_of_the_vip_on_eth0_alone():
    first = datetime(2026, 11, 23, 15, 23, 10, 500000).timestamp()
    assert parse(NOTICES.splitlines(), "m1", VIP) == [
        Notice(first, "m1", True), Notice(first + 0.75, "m1", False)
    ]  # fmt: skip


def test_a_machine_that_died_holds_nothing_any_more():
    timeline = holders([Notice(3.0, "m2", True)], "m1", {"m1": 1.0})
    assert [names for _, names in timeline] == [{"m1"}, set(), {"m2"}]
    assert new_holder_after(timeline, 1.0, "m1") == 2.0
    assert longest(timeline, 9.0, lambda count: count == 0) == 2.0
    assert longest(timeline, 9.0, lambda count: count > 1) == 0.0
    assert moves(timeline) == 1


def test_two_holders_and_a_third():
    notices = [
        Notice(1.0, "m2", True), Notice(1.5, "m3", True), Notice(2.0, "m1", False),
        Notice(2.25, "m3", False),
    ]  # fmt: skip
    timeline = holders(notices, "m1", {})
    assert longest(timeline, 9.0, lambda count: count > 1) == 1.25
    assert moves(timeline) == 2


def test_nobody_ever_takes_it():
    timeline = holders([], "m1", {"m1": 1.0})
    assert new_holder_after(timeline, 1.0, "m1") is None
    assert longest(timeline, 9.0, lambda count: count == 0) == 8.0


def attempts(source, *ends, outcome="ok"):
    return [Attempt(end - 0.1, end, "version", outcome, source=source) for end in ends]


def test_silence_of_all_and_of_the_client_worst_hit():
    seen = trial.Seen("m1", struck=10.0, end=20.0)
    lost = attempts("c2", *(10.5 + n for n in range(9)), outcome="timeout")
    well = attempts("c1", *(n / 2 for n in range(2, 21)), 13.0, *(14 + n for n in range(6)))
    seen.history = history([*well, *attempts("c2", 9.0, 9.9), *lost])
    figures = trial.measured(seen, died=True)
    assert (figures["silence"], figures["failed"], figures["last_failure"]) == (3.0, 9, 8.5)
    assert figures["silence_of_one"] == pytest.approx(18.4 - 9.9)
    assert figures["new_holder"] is None


def test_what_hangs_at_the_end_is_no_silence_of_the_others():
    seen = trial.Seen("m1", struck=10.0, end=20.0)
    hanging = [Attempt(19.0, 29.0, "version", "timeout", source="c2")]
    seen.history = history([*attempts("c1", *(n / 2 for n in range(2, 41))), *hanging])
    assert trial.measured(seen, died=True)["silence"] == 0.5


def test_watching_that_ended_in_the_middle_of_failures_is_told():
    seen = trial.Seen("m1", struck=10.0, stopped=20.0, end=30.0)
    seen.history = history([*attempts("c1", 9.0, 19.0), Attempt(15.0, 25.0, "version", "timeout")])
    figures = trial.measured(seen, died=True)
    assert (figures["watched"], figures["unfinished"]) == (10.0, False)
    seen.history = history([*attempts("c1", 9.0, 19.0), Attempt(19.5, 29.5, "version", "timeout")])
    assert trial.measured(seen, died=True)["unfinished"] is True


def test_a_cell_is_of_its_own_last_files():
    rows = [row(digest="old"), row(event="move", digest="new")]
    assert len(results.cell(rows, "kubeha-100ms", "crash")) == 1


def test_a_busy_box_is_told_by_what_was_before():
    seen = trial.Seen("m1", struck=10.0, end=20.0)
    slow = [Attempt(8.0 + n / 10, 8.5 + n / 10, "version", "ok") for n in range(10)]
    quick = [Attempt(8.0 + n / 10, 8.01 + n / 10, "version", "ok") for n in range(10)]
    seen.history = history(slow)
    assert trial.measured(seen, died=True)["disturbed"] is True
    seen.history = history(quick)
    assert trial.measured(seen, died=True)["disturbed"] is False


def test_rows_of_other_files_or_of_a_busy_box_do_not_count():
    rows = [row(digest="old", silence=9), row(), row(disturbed=True), row(event="move"), row()]
    assert len(results.cell(rows, "kubeha-100ms", "crash")) == 2
    assert len(results.cell(rows, "kubeha-100ms", "crash", "old")) == 1
    assert results.cell(rows, "article", "crash") == []


def test_half_a_line_costs_nothing_but_itself(tmp_path: Path):
    file = tmp_path / "new/results.jsonl"
    results.append(file, {"a": 1})
    with file.open("a") as out:
        out.write('{"a": 2')
    results.append(file, {"a": 3})
    assert results.read(file) == [{"a": 1}, {"a": 3}]
    assert results.read(tmp_path / "none") == []


def test_table_of_medians_and_maxima():
    rows = [row(silence=value, failed=n) for n, value in enumerate((0.2, 0.5, 0.3))]
    lines = results.table(rows, "crash", TITLES).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(
        "| kubeha, 100 ms | 3 | 0.30 s (0.50 s) | 0.40 s (0.40 s) | 3 of 300 (2) | 0 | 594 of 594 |"
    )
    assert "never" in results.table([row(new_holder=None)], "crash", TITLES)
    assert "2 (1 in error)" in results.table([row(), row(error="why")], "crash", TITLES)


def lost(**more):
    """A trial that was begun and could not be measured: it has no figures."""
    return {
        "configuration": "kubeha-100ms", "event": "crash", "digest": "d", "disturbed": False,
        "no_trial": "m1 does not answer", "at": 0, "box": "a box", "kubeha": "v1", "versions": {},
        **more,
    }  # fmt: skip


def test_trials_that_could_not_be_made_are_counted_in_their_cell_and_nowhere_else():
    rows = [row(), lost(), lost(), lost(event="move"), lost(digest="old"), lost(disturbed=True)]
    rows += [row()]
    assert len(results.cell(rows, "kubeha-100ms", "crash")) == 2
    line = results.table(rows, "crash", TITLES).splitlines()[2]
    assert line.startswith("| kubeha, 100 ms | 2; 2 could not be made |")
    assert report.section([lost()], TITLES, "Setting.")


@pytest.mark.parametrize(
    ("error", "disturbed"), [(trial.Disturbed("slow"), True), (NotWell("m1 is away"), False)]
)
def test_a_trial_that_was_not_made_is_written_down_with_its_reason(
    monkeypatch, tmp_path, error, disturbed
):
    """What the box is to blame for does not use up the patience with a configuration."""

    def cannot(*_):
        raise error

    monkeypatch.setattr(trial, "run", cannot)
    monkeypatch.setattr(measuring, "PAUSE", 0.0)
    monkeypatch.setattr(box, "versions", lambda *_: {})
    order = measuring.Order(5, [], ["crash"], tmp_path / "rows", "lab", calm=1.0)
    monkeypatch.setattr(box, "wait_until_calm", lambda _: None)
    bench = SimpleNamespace(switch_on=lambda: None)
    cost = measuring._one(bench, CONFIGURATIONS["kubeha-100ms"], "crash", "d", order)
    rows = results.read(order.file)
    assert [(each["no_trial"], each["disturbed"]) for each in rows] == [(str(error), disturbed)]
    assert (cost < 1) is disturbed
    assert results.never_made(rows, "kubeha-100ms", "crash") == (0 if disturbed else 1)


def test_the_event_does_not_come_on_a_box_that_stays_busy(monkeypatch):
    monkeypatch.setattr(trial, "CALM_WITHIN", 0.0)
    with pytest.raises(trial.Disturbed):
        trial._wait_until_calm(quiet.Trouble(10.0, 2, 0.5))


@pytest.mark.parametrize("event", ["crash", "move"])
def test_a_trial_is_noted_before_anything_is_repaired(monkeypatch, event):
    """What could not be repaired was the worst of all: it counts."""
    done = []

    class Machines:
        def holders(self):
            return ["m2"]

        def switch_on(self):
            pass

        def wait_until_ready(self):
            pass

        def wait_until_settled(self, _):
            return "m1"

    class Configured:
        settle = 0.0

        def leave(self, _, __):
            pass

        def come_back(self, _, __):
            done.append("repaired")
            raise NotWell("it does not come back")

    monkeypatch.setattr(trial, "_observed", lambda *_: nullcontext())
    monkeypatch.setattr(trial, "_crash", lambda bench, seen: 10.0)
    monkeypatch.setattr(trial, "_boot", Configured().come_back)
    with pytest.raises(NotWell):
        trial.run(Machines(), Configured(), event, lambda row: done.append(row["holder"]))
    assert done == ["m1", "repaired"]


def test_the_window_of_a_planned_move_is_told():
    told = report.section([row(event="move")], TITLES, "Setting.")
    assert "until 13 s after" in told and "600 s" in told


def test_goals_are_judged_by_the_rows_alone():
    rows = [row(silence=0.3)] * 49 + [row(silence=0.7)]
    told = report.goals(rows)
    assert "median silence | at most 0.35 s | 0.3 s | 50 of 50 | reached |" in told
    assert "longest silence | at most 0.6 s | 0.7 s | 50 of 50 | **missed** |" in told
    assert "crash, 50 ms: median silence | at most 0.25 s | | 0 of 50 | not measured |" in told


def test_a_goal_is_not_reached_by_a_few_trials():
    told = report.goals([row(silence=0.3), row(silence=0.7)])
    assert "median silence | at most 0.35 s | 0.5 s | 2 of 50 | **missed** so far |" in told
    assert "two holders | at most 0.1 s | 0 s | 2 of 50 | open: too few trials |" in told


def test_section_leaves_out_what_was_not_measured():
    told = report.section([row(), row(disturbed=True)], TITLES, "Setting.")
    assert "### Crash of the holder" in told and "### Planned move" not in told
    assert "1 more trial does not count" in told
    assert report.section([], TITLES, "Setting.")


def test_circumstances_tell_the_load_and_which_kubeha_each_cell_had():
    rows = [row(load=12.0, busy=0.9), row(load=14.0, busy=1.0), row("article", kubeha="v0")]
    told = report.circumstances([*rows, row(event="move", kubeha="v2", digest="e")], TITLES)
    assert "kubeha v1 (crash), v2 (move)" in told
    assert "13 in the median (12 to 14)" in told and "95% (90% to 100%)" in told


def test_trials_that_were_still_failing_are_told():
    assert "2 (1 still failing when" in results.table(
        [row(), row(unfinished=True)], "crash", TITLES
    )


def test_picture_is_well_formed_and_shows_every_trial():
    seldom = row("article", failed=1, requests=9999)
    drawn = picture.draw([row(), row(silence=None), seldom], "crash", TITLES, "A <title>")
    tree = ElementTree.fromstring(drawn)
    assert len(tree.findall(".//{http://www.w3.org/2000/svg}circle[@class='dot other']")) == 1
    assert len(tree.findall(".//{http://www.w3.org/2000/svg}circle[@class='dot own']")) == 2 + 1, (
        "and the legend"
    )


def test_figures_of_ab():
    assert throughput.parse(AB, PERCENTILES) == throughput.Figures(412.17, 17.25, 40.5)
    with pytest.raises(NotWell, match="Failed requests"):
        throughput.parse(AB.replace("Failed requests:        0", "Failed requests: 3"), PERCENTILES)


@pytest.mark.parametrize(
    "name", [n for n, each in CONFIGURATIONS.items() if isinstance(each, HandMade)]
)
def test_every_hand_made_configuration_has_its_files(name):
    assert (FILES / name / "etc/keepalived/keepalived.conf").exists()
