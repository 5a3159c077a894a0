"""A VIP that somebody else's keepalived runs already is taken over by all nodes at once, or not."""

import json
from dataclasses import replace
from ipaddress import ip_interface

import pytest
from fake_host import FakeHost
from test_rollout import VIP, Site, fresh
from worlds import bare, cluster, said, text_file, unit

from kubeha.errors import HostError, RolloutFailed, RolloutStuck
from kubeha.facts import InterfaceAddress, NodeFacts, Unreachable
from kubeha.paths import HAPROXY_CONFIG, KEEPALIVED_CONFIG
from kubeha.plan import HAPROXY, KEEPALIVED, Reaction
from kubeha.report import plan_json, plan_text
from kubeha.takeover import stopped, taken_over

THEIRS = f"""\
vrrp_instance VI_1 {{
    state MASTER
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {{
        {VIP}
    }}
}}
"""


def foreign(facts: NodeFacts, text: str = THEIRS, *, holds: bool = False) -> NodeFacts:
    """A node that runs both programs with files of its own."""
    files = {path: text_file(path, text) for path in (KEEPALIVED_CONFIG, HAPROXY_CONFIG)}
    vip = (InterfaceAddress("eth0", ip_interface(f"{VIP}/24")),) if holds else ()
    return replace(
        facts,
        packages={**facts.packages, "haproxy": "2.6.12-1", "keepalived": "1:2.2.7-1"},
        units={name: unit(name) for name in (HAPROXY, KEEPALIVED)},
        files={**facts.files, **files},
        addresses=(*(facts.addresses or ()), *vip),
        haproxy_info="Pid: 1\n",
        keepalived_json=said(2 if holds else 1),
    )


def site(*holders: str) -> Site:
    of = cluster()
    nodes = (bare(node.name, str(node.address)) for node in of.control_plane)
    return Site(of, {each.name: foreign(each, holds=each.name in holders) for each in nodes})


def test_only_a_foreign_file_with_the_vip_at_work_is_taken_over() -> None:
    of = cluster()
    m1, m2, m3 = (bare(node.name, str(node.address)) for node in of.control_plane)
    other_vip = foreign(m2, THEIRS.replace(VIP, "198.51.100.77"))
    ours = foreign(m3, f"# Written by kubeha\n{THEIRS}")
    assert taken_over(of, {"m1": foreign(m1), "m2": other_vip, "m3": ours}) == ("m1",)
    at_rest = stopped(of, foreign(m1, holds=True))
    assert not at_rest.holds(of.endpoint.vip)
    assert taken_over(of, {"m1": at_rest, "m2": Unreachable("m2", "no answer"), "m3": m3}) == ()


def test_a_vip_in_a_file_that_is_included_is_known_from_the_running_program() -> None:
    including = foreign(bare("m1", "198.51.100.11"), "include /etc/keepalived/conf.d/*.conf\n")
    data = {"iname": "VI_1", "state": 1, "effective_priority": 100, "vips": [f"{VIP}/24 dev eth0"]}
    running = replace(including, keepalived_json=json.dumps([{"data": data, "stats": {}}]))
    assert taken_over(cluster(), {"m1": running}) == ("m1",)
    assert taken_over(cluster(), {"m1": including}) == ()


@pytest.mark.parametrize("holders", [(), ("m2",), ("m1", "m3")], ids=" and ".join)
def test_the_primary_comes_first_whoever_holds_it_now(holders: tuple[str, ...]) -> None:
    plan = site(*holders).plan()
    assert plan.takeover == ("m1", "m2", "m3")
    assert plan.first and plan.holder is None
    assert [change.node for change in plan.changes] == ["m1", "m2", "m3"]
    assert {change.service(KEEPALIVED).reaction for change in plan.changes} == {Reaction.START}
    assert {change.service(HAPROXY).reaction for change in plan.changes} == {Reaction.RESTART}


def test_the_plan_says_that_it_interrupts() -> None:
    plan = site("m2").plan()
    assert "Takeover: keepalived on m1, m2, m3 was not set up by kubeha" in plan_text(plan)
    assert plan_json(plan)["takeover"] == ["m1", "m2", "m3"]
    assert "Takeover" not in plan_text(fresh().plan())


@pytest.mark.parametrize("holders", [(), ("m2",), ("m1", "m3")], ids=" and ".join)
def test_theirs_is_stopped_everywhere_before_ours_starts(holders: tuple[str, ...]) -> None:
    site_ = site(*holders)
    told = site_.roll_out()
    stop = told.index("m1: stop the keepalived that is not ours on m1, m2, m3")
    assert told[stop - 1] == "m1: wait until kubeha-guard does its work"
    assert told[stop + 1] == "m1: start keepalived"
    assert site_.order == [
        f"{name}: {what}.service"
        for name in ("m1", "m2", "m3")
        for what in ("restart haproxy", "start kubeha-guard", "start keepalived")
    ]
    assert site_.holders == ["m1"]
    assert site_.plan().empty


def test_a_vip_that_stays_behind_hands_everything_back() -> None:
    """A fixed address, say: with it, ours could never be the only holder."""
    site_ = site("m3")
    site_.hosts["m3"].drop_vip = lambda: None  # type: ignore[method-assign]
    with pytest.raises(RolloutFailed, match=f"{VIP} is still on m3") as caught:
        site_.roll_out()
    assert caught.value.hint == f"see who has put it there: ip address show to {VIP}"
    for facts in site_.facts.values():
        assert facts.text_of(KEEPALIVED_CONFIG) == THEIRS
        assert facts.units[KEEPALIVED].active
    assert site_.holders == ["m3"]


def test_a_primary_that_cannot_start_hands_everything_back() -> None:
    site_ = site("m2")

    def mute(host: FakeHost, what: str) -> None:
        if not what.endswith(KEEPALIVED):
            site_.started(host, what)

    site_.hosts["m1"].after_start = mute
    with pytest.raises(RolloutFailed, match="keepalived does not tell its state"):
        site_.roll_out()
    assert all(facts.units[KEEPALIVED].active for facts in site_.facts.values())
    assert site_.facts["m1"].text_of(KEEPALIVED_CONFIG) == THEIRS
    assert site_.holders == ["m2"], "the first that was started again"


def lost_at(host: FakeHost, moment: str) -> None:
    """From the request with these words on, the node does not answer any more."""
    usual = host._request

    def request(what: str) -> None:
        if moment in what or any(moment in said for said in host.log):
            host.log.append(what)
            raise HostError("the connection was lost in the middle", node=host.node.name)
        usual(what)

    host._request = request  # type: ignore[method-assign]


def test_theirs_takes_the_vip_back_if_the_primary_is_lost_before_ours_started() -> None:
    site_ = site("m2")
    lost_at(site_.hosts["m1"], "systemctl stop keepalived")
    with pytest.raises(RolloutStuck):
        site_.roll_out()
    assert [site_.facts[name].units[KEEPALIVED].active for name in ("m2", "m3")] == [True, True]
    assert site_.holders == ["m2"]


def test_theirs_stays_stopped_if_ours_may_have_the_vip_on_a_lost_primary() -> None:
    site_ = site("m2")
    lost_at(site_.hosts["m1"], "systemctl start keepalived")
    with pytest.raises(RolloutStuck, match="keepalived stays stopped on m2 and m3"):
        site_.roll_out()
    assert [site_.facts[name].units[KEEPALIVED].active for name in ("m2", "m3")] == [False, False]


def test_what_stays_stopped_is_told_beside_a_hint_of_the_failure() -> None:
    site_ = site("m2")
    host = site_.hosts["m2"]
    usual = host._request

    def request(what: str) -> None:
        usual(what)
        if what.startswith("write") and KEEPALIVED_CONFIG in what:
            host._request = usual  # type: ignore[method-assign]
            raise HostError("no space left", hint="make room there", node="m2")

    host._request = request  # type: ignore[method-assign]
    with pytest.raises(RolloutFailed) as caught:
        site_.roll_out()
    hint = "make room there; until then keepalived stays stopped on m2 and m3"
    assert caught.value.hint == hint


def test_a_later_failure_leaves_theirs_stopped() -> None:
    """Started again, theirs would hold the VIP beside ours."""
    site_ = site("m2")
    site_.hosts["m2"].refuses = "systemctl start keepalived"
    with pytest.raises(RolloutFailed) as caught:
        site_.roll_out()
    hint = "until then keepalived stays stopped on m2 and m3"
    assert caught.value.hint is not None and caught.value.hint.endswith(hint)
    assert site_.holders == ["m1"]
    assert [facts.units[KEEPALIVED].active for facts in site_.facts.values()] == [
        True,
        False,
        False,
    ]
    assert site_.facts["m2"].text_of(KEEPALIVED_CONFIG) == THEIRS
    site_.hosts["m2"].refuses = ""
    site_.roll_out()
    assert site_.plan().empty
