"""What has to be seen before a rollout goes on."""

from dataclasses import replace

import pytest
from worlds import addresses, bare, cluster, unit

from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.gates import haproxy_serves, vip_answers, vip_is_held
from kubeha.plan import HAPROXY, KEEPALIVED, NodeChange, Plan

VIP = "198.51.100.10"
OLD, NEW = "Name: HAProxy\nPid: 100\n", "Name: HAProxy\nPid: 200\n"


def node(name: str, *, holds: bool = False, keepalived: bool = True) -> NodeFacts:
    units = {KEEPALIVED: unit(KEEPALIVED, active=keepalived), HAPROXY: unit(HAPROXY)}
    more = (f"{VIP}/32",) if holds else ()
    own = f"198.51.100.1{name[1:]}"
    return replace(bare(name, own), units=units, addresses=addresses(own, *more), haproxy_info=OLD)


def plan(*, first: bool, holder: str | None) -> Plan:
    changes = tuple(NodeChange(name, (), (), (), ()) for name in ("m1", "m2", "m3"))
    return Plan("test", VIP, first, holder, changes)


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


def test_an_unreachable_node_closes_every_gate() -> None:
    lost = Unreachable("m1", "connection refused")
    assert haproxy_serves(lost, node("m1"), renewed=False) == "connection refused"
    reason = vip_is_held(cluster(), plan(first=True, holder=None), "m1", {**seen("m2"), "m1": lost})
    assert reason == "connection refused"


def test_keepalived_has_to_run() -> None:
    world = {**seen("m2"), "m1": node("m1", keepalived=False)}
    reason = vip_is_held(cluster(), plan(first=False, holder="m2"), "m1", world)
    assert reason == "keepalived.service is inactive"


@pytest.mark.parametrize(
    ("holders", "words"),
    [((), "held by no node"), (("m1", "m2"), "held by m1 and m2")],
    ids=["nobody", "two"],
)
def test_exactly_one_node_holds_the_vip(holders: tuple[str, ...], words: str) -> None:
    first, *more = (*holders, None)
    world = seen(first, *(name for name in more if name))
    reason = vip_is_held(cluster(), plan(first=True, holder=None), "m1", world)
    assert reason is not None and words in reason


def test_at_first_deployment_the_primary_keeps_the_vip() -> None:
    first = plan(first=True, holder=None)
    assert vip_is_held(cluster(), first, "m2", seen("m1")) is None
    assert "not by m1" in (vip_is_held(cluster(), first, "m2", seen("m2")) or "")


def test_a_backups_change_leaves_the_vip_and_the_holders_may_move_it() -> None:
    later = plan(first=False, holder="m2")
    assert vip_is_held(cluster(), later, "m1", seen("m2")) is None
    assert "not by m2" in (vip_is_held(cluster(), later, "m1", seen("m1")) or "")
    assert vip_is_held(cluster(), later, "m2", seen("m3")) is None


def test_the_vip_answers_with_one_voice() -> None:
    one = {"m2": ("02:00:00:00:00:01",), "m3": ("02:00:00:00:00:01",)}
    assert vip_answers(cluster(), one) is None
    assert "asked from m3" in (vip_answers(cluster(), {**one, "m3": ()}) or "")
    two = {**one, "m3": ("02:00:00:00:00:02",)}
    assert "more than one MAC" in (vip_answers(cluster(), two) or "")
