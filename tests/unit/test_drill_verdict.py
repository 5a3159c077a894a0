"""Verdicts on recordings made by hand; times are seconds from the strike."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeha.drills.catalogue import FAULTS, Fault
from kubeha.drills.timeline import Absence, Change
from kubeha.drills.verdict import Recording, Verdict, judge, lives, merged
from kubeha.history import Attempt

MOVED = [
    Change(-2.0, "m1", "holds", "", 1),
    Change(-2.0, "m2", "holds", "", 0),
    Change(0.03, "m1", "holds", "", 0),
    Change(0.34, "m2", "holds", "", 1),
]
STAYED = MOVED[:2]


def requests(begin: float, end: float, step: float = 0.02) -> list[Attempt]:
    """Answers to new connections at this pace."""
    count = round((end - begin) / step)
    starts = [begin + step * number for number in range(count)]
    return [Attempt(each, each + 0.01, "version", "ok") for each in starts]


def hung(begin: float, end: float, step: float = 0.02) -> list[Attempt]:
    """Requests that are all answered only at the end."""
    return [replace(each, end=end + 0.01) for each in requests(begin, end, step)]


GAP = [*requests(-2.0, 0.0), *hung(0.0, 0.36), *requests(0.36, 5.0)]


def recording(attempts: Sequence[Attempt], changes: Sequence[Change], **more: object) -> Recording:
    seen = Recording("m1", "m1", -2.0, 10.0, 0.0, 5.0, attempts, changes)
    return replace(seen, **more)  # type: ignore[arg-type]


CRASH = FAULTS["power-off"]
ABSENT = (Absence("m1", 0.0, 5.0),)


def test_a_move_within_the_budget_passes() -> None:
    judged = judge(recording(GAP, MOVED, absences=ABSENT), CRASH, 0.5)
    assert (judged.verdict, judged.reasons) == (Verdict.PASS, ())
    assert judged.moves == 1 and judged.new_holder == 0.34 and judged.two_holders == 0.0
    assert judged.silence == pytest.approx(0.38)


def test_silence_beyond_the_budget_fails_and_says_both() -> None:
    judged = judge(recording(GAP, MOVED, absences=ABSENT), CRASH, 0.3)
    assert judged.verdict is Verdict.FAIL
    assert judged.reasons == ("0.38 s of silence, the budget allows 0.30 s",)


def test_a_vip_that_stays_where_it_should_move_fails() -> None:
    judged = judge(recording(GAP, STAYED), CRASH, None)
    assert "the VIP did not move; expected: once" in judged.reasons


def test_a_vip_that_moves_where_it_should_stay_fails() -> None:
    judged = judge(recording(requests(-2, 5), MOVED), FAULTS["kill-apiserver"], None)
    assert "the VIP moved once; expected: no" in judged.reasons


def test_two_holders_fail_beyond_what_the_fault_allows() -> None:
    both = [*STAYED, Change(0.3, "m2", "holds", "", 1), Change(2.3, "m1", "holds", "", 0)]
    seen = recording(requests(-2, 5), both)
    assert (
        "two nodes held the VIP for 2000 ms, 100 ms are allowed"
        in judge(seen, FAULTS["kill-keepalived"], None).reasons
    )
    assert judge(seen, FAULTS["hang-keepalived"], None).verdict is Verdict.PASS


def failed(at: float) -> Attempt:
    return Attempt(at, at + 0.2, "version", "reset")


@pytest.mark.parametrize(
    "fault, at, verdict",
    [
        ("power-off", -0.01, Verdict.PASS),
        ("power-off", 0.05, Verdict.FAIL),
        ("kill-keepalived", 0.02, Verdict.PASS),
        ("kill-keepalived", 0.2, Verdict.FAIL),
        ("kill-haproxy", 0.3, Verdict.PASS),
        ("kill-haproxy", 0.6, Verdict.FAIL),
        ("drain", -0.5, Verdict.FAIL),
        ("power-cycle-all", 3.0, Verdict.PASS),
    ],
)
def test_which_requests_may_fail(fault: str, at: float, verdict: Verdict) -> None:
    """In flight: what was begun before the old holder let the VIP go."""
    absences = ABSENT if FAULTS[fault].off_wire else ()
    moved = [*MOVED, Change(6.0, "m1", "holds", "", 0)]
    seen = recording([*GAP, failed(at)], moved, absences=absences)
    assert judge(seen, FAULTS[fault], None).verdict is verdict


def test_a_killed_server_may_take_with_it_what_came_before_it_was_dead() -> None:
    seen = recording([*requests(-2, 5), failed(0.05)], STAYED)
    assert judge(seen, FAULTS["kill-apiserver"], None).verdict is Verdict.FAIL
    assert judge(replace(seen, fell=0.06), FAULTS["kill-apiserver"], None).verdict is Verdict.PASS


def test_broken_connections_count_where_a_move_is_planned() -> None:
    stream = [Attempt(0.0, 0.5, "stream", "reset", connection=3, broken=True)]
    judged = judge(recording([*requests(-2, 5), *stream], MOVED), FAULTS["drain"], None)
    assert judged.reasons == ("1 of 1 long-lived connections broke",)
    assert judge(recording([*GAP, *stream], MOVED), FAULTS["stop-keepalived"], None).broken == 1


def test_a_connection_that_broke_and_was_opened_again_is_two() -> None:
    broken = Attempt(0.0, 0.5, "stream", "reset", connection=1, broken=True)
    again = [Attempt(1.0, 1.1, "stream", "ok", connection=1), Attempt(2, 3, "stream", "ok", 1)]
    assert lives([broken, *again]) == 2


def test_a_blind_spot_is_unknown_but_hides_no_failure() -> None:
    blind = recording(GAP, MOVED, absences=ABSENT, lost=("m3: not watched",))
    assert judge(blind, CRASH, None).verdict is Verdict.UNKNOWN
    judged = judge(blind, CRASH, 0.1)
    assert judged.verdict is Verdict.FAIL and judged.reasons[-1] == "m3: not watched"


def test_a_client_that_stood_still_itself_cannot_judge_a_silence() -> None:
    """It begins by the clock: that it began nothing is not the endpoint's doing."""
    asked = [*requests(-2, 0), *hung(0.0, 0.7), *requests(0.7, 5)]
    assert judge(recording(asked, MOVED, absences=ABSENT), CRASH, 0.5).verdict is Verdict.FAIL
    paused = [*requests(-2, 0), *requests(0.7, 5)]
    judged = judge(recording(paused, MOVED, absences=ABSENT), CRASH, 0.5)
    assert judged.verdict is Verdict.UNKNOWN
    assert judged.reasons[0].startswith("the clients' own machine stood still for 0.72 s")


def test_what_stays_broken_fails() -> None:
    seen = recording(GAP, MOVED, absences=ABSENT, unhealthy=("m1: HAProxy does not run",))
    assert judge(seen, CRASH, None).reasons == ("not healthy afterwards: m1: HAProxy does not run",)


def test_a_fault_of_a_bystander_moves_nothing() -> None:
    assert judge(recording(requests(-2, 5), STAYED), CRASH.on_bystander(), None).verdict is (
        Verdict.PASS
    )


@given(st.lists(st.sampled_from(Verdict)))
def test_merging_is_free_of_order_and_a_failure_outweighs_all(verdicts: list[Verdict]) -> None:
    assert merged(verdicts) == merged(sorted(verdicts))
    if Verdict.FAIL in verdicts:
        assert merged(verdicts) is Verdict.FAIL
    elif Verdict.UNKNOWN in verdicts or not verdicts:
        assert merged(verdicts) is Verdict.UNKNOWN


@settings(max_examples=40)
@given(st.floats(0.0, 3.0), st.sampled_from(list(FAULTS.values())))
def test_a_longer_gap_never_improves_a_verdict(gap: float, fault: Fault) -> None:
    order = [Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL]

    def verdict(length: float) -> int:
        quiet = 0.2 + length
        seen = [*requests(-2, 0, 0.05), *hung(0, quiet, 0.05), *requests(quiet, 5, 0.05)]
        return order.index(judge(recording(seen, MOVED), fault, 0.5).verdict)

    assert verdict(gap) <= verdict(gap + 0.7)


def watched(end: float, outcome: str = "timeout") -> Attempt:
    """The life of an idle watch."""
    return Attempt(-1.5, end, "watch", outcome, broken=outcome != "ok")


@pytest.mark.parametrize(
    "watches, verdict",
    [
        ([watched(12.0), watched(24.0, "ok")], Verdict.PASS),
        ([watched(12.0), watched(17.0)], Verdict.FAIL),
        ([watched(24.0, "ok")], Verdict.UNKNOWN),
    ],
    ids=["cut", "late", "none"],
)
def test_idle_watches_on_a_host_that_vanished_are_cut_in_time(
    watches: list[Attempt], verdict: Verdict
) -> None:
    seen = recording([*requests(-2, 5), *watches], STAYED)
    assert judge(seen, FAULTS["host-vanishes"], None).verdict is verdict


@pytest.mark.parametrize(
    "start, verdict", [(-0.1, Verdict.PASS), (0.1, Verdict.FAIL), (0.6, Verdict.FAIL)]
)
def test_what_is_sent_after_the_holder_was_lost_is_reset_and_not_left_hanging(
    start: float, verdict: Verdict
) -> None:
    hanging = Attempt(start, start + 10.0, "stream", "timeout", broken=True)
    seen = recording([*GAP, hanging], MOVED, absences=ABSENT)
    assert judge(seen, CRASH, None).verdict is verdict
    reset = replace(hanging, end=start + 0.5, outcome="reset")
    assert judge(replace(seen, attempts=[*GAP, reset]), CRASH, None).verdict is Verdict.PASS


@pytest.mark.parametrize("start, hangs", [(0.5, False), (0.7, True)])
def test_an_old_holder_that_answers_on_may_take_requests_with_it(start: float, hangs: bool) -> None:
    both = [*MOVED[:2], Change(0.34, "m2", "holds", "", 1), Change(0.6, "m1", "holds", "", 0)]
    waits = Attempt(start, start + 10.0, "stream", "timeout", broken=True)
    judged = judge(recording([*GAP, waits], both), FAULTS["isolate"], None)
    assert any("left hanging" in reason for reason in judged.reasons) is hangs


@pytest.mark.parametrize(
    "taken, verdict", [(29.0, Verdict.PASS), (32.0, Verdict.FAIL), (None, Verdict.FAIL)]
)
def test_after_all_lost_their_power_one_has_the_vip_soon(
    taken: float | None, verdict: Verdict
) -> None:
    back = [*STAYED, Change(0.5, "m1", "holds", "", 0), Change(20.0, "m2", "holds", "", 0)]
    if taken is not None:
        back.append(Change(taken, "m2", "holds", "", 1))
    seen = recording(GAP, back, absences=[Absence("m1", 0.0, 5.0)], end=150.0)
    assert judge(seen, FAULTS["power-cycle-all"], None).verdict is verdict


def test_an_api_server_that_is_not_ready_breaks_no_connection() -> None:
    broken = Attempt(0.0, 0.5, "stream", "reset", broken=True)
    seen = recording([*requests(-2, 5), broken], STAYED)
    assert judge(seen, FAULTS["fail-readyz"], None).verdict is Verdict.FAIL


@pytest.mark.parametrize("start, verdict", [(3.0, Verdict.PASS), (6.0, Verdict.FAIL)])
def test_a_server_that_hangs_fails_those_begun_before_it_was_marked_down(
    start: float, verdict: Verdict
) -> None:
    server = [Change(-2.0, "m1", "server", "m3", "UP"), Change(5.0, "m1", "server", "m3", "DOWN")]
    seen = recording([*requests(-2, 9), failed(start)], [*STAYED, *server], node="m3")
    assert judge(seen, FAULTS["hang-apiserver"], None).verdict is verdict
    never = replace(seen, changes=STAYED)
    assert judge(never, FAULTS["hang-apiserver"], None).verdict is Verdict.FAIL


def test_a_bystander_keeps_the_promises_of_a_planned_move() -> None:
    assert FAULTS["drain"].on_bystander().may_fail is FAULTS["drain"].may_fail
    assert FAULTS["hang-keepalived"].on_bystander().two_holders == CRASH.two_holders
