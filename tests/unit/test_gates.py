"""What has to be seen before a rollout goes on."""

from dataclasses import replace

import pytest
from worlds import addresses, bare, cluster, said, text_file, unit

from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.gates import (
    can_keep_the_vip,
    guard_runs,
    haproxy_serves,
    keepalived_takes_part,
    vip_answers,
    vip_is_held,
)
from kubeha.plan import GUARD, HAPROXY, KEEPALIVED

VIP = "198.51.100.10"
OLD, NEW = "Name: HAProxy\nPid: 100\n", "Name: HAProxy\nPid: 200\n"


def node(name: str, *, holds: bool = False, keepalived: bool = True) -> NodeFacts:
    units = {KEEPALIVED: unit(KEEPALIVED, active=keepalived), HAPROXY: unit(HAPROXY)}
    more = (f"{VIP}/32",) if holds else ()
    own = f"198.51.100.1{name[1:]}"
    own_addresses = addresses(own, *more)
    return replace(
        bare(name, own),
        units=units,
        addresses=own_addresses,
        haproxy_info=OLD,
        keepalived_json=said(2 if holds else 1),
    )


def seen(holder: str | None, *more: str) -> dict[str, Observed]:
    return {name: node(name, holds=name in (holder, *more)) for name in ("m1", "m2", "m3")}


def test_haproxy_has_to_run_and_to_answer() -> None:
    good = node("m1")
    assert haproxy_serves(good, good, renewed=False) is None
    stopped = replace(good, units={HAPROXY: unit(HAPROXY, active=False)})
    assert haproxy_serves(stopped, good, renewed=False) == "haproxy.service is inactive"
    mute = replace(good, haproxy_info=None)
    assert "does not answer" in (haproxy_serves(mute, good, renewed=False) or "")


def test_the_old_worker_does_not_open_the_gate_of_a_reload() -> None:
    before = node("m1")
    assert "old HAProxy worker" in (haproxy_serves(before, before, renewed=True) or "")
    assert haproxy_serves(replace(before, haproxy_info=NEW), before, renewed=True) is None


def ready(state: str = "UP", check: str = "L7OK") -> str:
    return f"# pxname,svname,status,bck,check_status,\nkube-apiserver,m1,{state},0,{check},\n"


def test_settings_with_which_no_api_server_is_found_close_the_gate() -> None:
    """A wrong port of the API servers: HAProxy reloads well, and nothing works."""
    before = replace(node("m1"), haproxy_stat=ready())
    now = replace(node("m1"), haproxy_info=NEW)
    down = replace(now, haproxy_stat=ready("DOWN", "L4CON"))
    assert "no API server ready" in (haproxy_serves(down, before, renewed=True) or "")
    unchecked = replace(now, haproxy_stat=ready("UP", "INI"))
    assert "no API server ready" in (haproxy_serves(unchecked, before, renewed=True) or "")
    assert haproxy_serves(replace(now, haproxy_stat=ready()), before, renewed=True) is None


def test_before_there_was_an_api_server_none_is_asked_for() -> None:
    before = replace(node("m1"), haproxy_stat=ready("DOWN", "L4CON"))
    assert haproxy_serves(replace(before, haproxy_info=NEW), before, renewed=True) is None


def test_an_unreachable_node_closes_every_gate() -> None:
    lost = Unreachable("m1", "connection refused")
    assert haproxy_serves(lost, node("m1"), renewed=False) == "connection refused"
    assert keepalived_takes_part(lost, node("m1"), renewed=False) == "connection refused"
    reason = vip_is_held(cluster(), None, {**seen("m2"), "m1": lost})
    assert reason == f"m1 cannot be asked who holds the VIP {VIP}"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (node("m1", keepalived=False), "keepalived.service is inactive"),
        (replace(node("m1"), keepalived_json=said(3)), "keepalived is in FAULT"),
        (replace(node("m1"), keepalived_json=None), "keepalived does not tell its state"),
    ],
    ids=["stopped", "fault", "mute"],
)
def test_keepalived_has_to_take_part(facts: NodeFacts, words: str) -> None:
    assert keepalived_takes_part(facts, node("m1"), renewed=False) == words


def test_the_guard_has_to_run_and_after_a_restart_to_be_a_new_one() -> None:
    without = node("m1")
    assert guard_runs(without, without, renewed=False) == "kubeha-guard.service is not there"
    before = replace(without, units={**without.units, GUARD: unit(GUARD)})
    assert guard_runs(before, without, renewed=False) is None
    assert guard_runs(before, before, renewed=True) == "the old guard still runs"
    lost = Unreachable("m1", "connection refused")
    assert guard_runs(lost, before, renewed=False) == "connection refused"


def test_the_old_keepalived_does_not_open_the_gate_of_a_restart() -> None:
    before = node("m1")
    assert keepalived_takes_part(before, before, renewed=True) == "the old keepalived still runs"
    units = {**before.units, KEEPALIVED: unit(KEEPALIVED, instance="new")}
    assert keepalived_takes_part(replace(before, units=units), before, renewed=True) is None


@pytest.mark.parametrize(
    ("holders", "words"),
    [((), "held by no node"), (("m1", "m2"), "held by m1 and m2")],
    ids=["nobody", "two"],
)
def test_exactly_one_node_holds_the_vip(holders: tuple[str, ...], words: str) -> None:
    first, *more = (*holders, None)
    reason = vip_is_held(cluster(), None, seen(first, *(name for name in more if name)))
    assert reason is not None and words in reason


def test_an_interface_that_could_not_be_read_is_not_taken_for_empty() -> None:
    world = {**seen("m1"), "m3": replace(node("m3"), addresses=None)}
    assert "m3 cannot be asked" in (vip_is_held(cluster(), None, world) or "")


def test_the_vip_stays_with_whom_it_is_expected() -> None:
    assert vip_is_held(cluster(), "m1", seen("m1")) is None
    assert "not by m1" in (vip_is_held(cluster(), "m1", seen("m2")) or "")
    assert vip_is_held(cluster(), None, seen("m2")) is None


def test_a_sick_or_drained_holder_need_not_keep_it() -> None:
    well = replace(node("m1", holds=True), keepalived_json=said(2))
    assert can_keep_the_vip(well)
    drain = text_file("/etc/kubeha/drain", "-127\n")
    assert not can_keep_the_vip(replace(well, files={drain.path: drain}))
    assert not can_keep_the_vip(replace(well, haproxy_info=None))
    assert not can_keep_the_vip(replace(well, keepalived_json=said(3)))


def test_the_vip_answers_with_one_voice() -> None:
    one = {"m2": ("02:00:00:00:00:01",), "m3": ("02:00:00:00:00:01",)}
    assert vip_answers(cluster(), one) is None
    assert "asked from m3" in (vip_answers(cluster(), {**one, "m3": ()}) or "")
    two = {**one, "m3": ("02:00:00:00:00:02",)}
    assert "more than one MAC" in (vip_answers(cluster(), two) or "")
    assert "no other node could ask" in (vip_answers(cluster(), {"m2": None}) or "")
