"""Each way in which a virtual router breaks, from what real machines showed, and nothing else.

The letters are those of docs/troubleshooting.md; both generations of keepalived's wording.
"""

import json
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from recordings import OF, RELEASES, changed, recorded

from kubeha import paths
from kubeha.checks import diagnosis, holder, network, wire
from kubeha.checks.finding import Finding, Severity
from kubeha.checks.members import members
from kubeha.facts import Advert, InterfaceAddress, Link, NodeFacts, Passage, Unreachable
from kubeha.world import World

CHECKS = (
    holder.one_holder,
    diagnosis.disagreements,
    diagnosis.not_loaded,
    diagnosis.not_configured,
    network.shared_segment,
    diagnosis.stranger,
    diagnosis.deaf,
    diagnosis.flapping,
    wire.vrid_fought_over,
    holder.vrrp_state,
)
SYMPTOMS = ("KH401", "KH402")


def found(world: World) -> list[Finding]:
    return [finding for check in CHECKS for finding in check(world)]


def codes(world: World) -> list[str]:
    return [finding.code for finding in found(world)]


def causes(world: World) -> list[Finding]:
    return [finding for finding in found(world) if finding.code not in SYMPTOMS]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param("healthy", id="multicast"),
        pytest.param("healthy-unicast", id="unicast"),
        pytest.param("a4", id="a4: a stranger by multicast beside our unicast"),
        pytest.param("a5", id="a5: a stranger with another VRID"),
        pytest.param("c3", id="c3: the same VIPs in another order with another mask"),
    ],
)
def test_what_is_well_has_no_finding(release: str, case: str) -> None:
    assert codes(recorded(release, case)) == []


# case -> (code, where, symptom on 2.2.7, symptom on 2.3.3)
BROKEN = {
    "b": ("KH411", "", "", ""),
    "c1": ("KH412", "m2", "", ""),
    "c2": ("KH412", "m2", "KH402", ""),
    "e2": ("KH413", "m1", "KH402", "KH402"),
    "e3": ("KH414", "m2", "KH402", "KH402"),
    "e4": ("KH415", "m2", "KH402", "KH402"),
    "e4-none": ("KH415", "m2", "KH402", "KH402"),
    "e5": ("KH416", "m2", "KH402", "KH402"),
    "e6": ("KH423", "m3", "", ""),
    "version": ("KH417", "m2", "KH402", "KH402"),
    "vrid": ("KH418", "m2", "KH402", "KH402"),
    "e1": ("KH306", "m2", "KH402", "KH402"),
    "e1-multicast": ("KH306", "m2", "KH402", "KH402"),
    "a1": ("KH305", "", "", "KH401"),
    "a1-low": ("KH305", "", "", "KH401"),
    "a2": ("KH305", "", "", ""),
    "a3": ("KH305", "", "", ""),
    "a3-v2": ("KH305", "", "", ""),
}


@pytest.mark.provokes(
    "KH305",
    "KH306",
    "KH411",
    "KH412",
    "KH413",
    "KH414",
    "KH415",
    "KH416",
    "KH417",
    "KH418",
    "KH423",
)
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("case", BROKEN)
def test_one_cause_is_one_finding(release: str, case: str) -> None:
    code, where, *symptoms = BROKEN[case]
    symptom = symptoms[RELEASES.index(release)]
    world = recorded(release, case)
    assert codes(world) == [each for each in (symptom, code) if each]
    (cause,) = causes(world)
    assert cause.node == where
    assert cause.evidence


@pytest.mark.parametrize("release", RELEASES)
def test_the_symptom_points_to_its_cause(release: str) -> None:
    symptom, cause = found(recorded(release, "e3"))
    assert symptom.code == "KH402"
    assert symptom.fix.startswith(f"mend the cause, {cause.code}; until then stop")


def test_the_journal_is_part_of_the_evidence() -> None:
    (cause,) = causes(recorded("bookworm", "e4"))
    assert "logs: (VI_1) received an invalid passwd!" in cause.evidence
    assert "secret" not in cause.evidence


def test_a_stranger_is_named_where_this_version_logs_who_it_is() -> None:
    (new,) = causes(recorded("trixie", "a1"))
    assert "by 198.51.100.101; our nodes follow it" in new.message
    assert "all our nodes are backups of a master with priority 250" in new.evidence
    (old,) = causes(recorded("bookworm", "a1"))
    assert "somebody else (this version of keepalived does not log who it is)" in old.message


def test_a_stranger_who_is_followed_is_named_however_old_the_line_is() -> None:
    """2.3.3 logs a sender once; nobody of ours has had the VIP since."""
    world = recorded("trixie", "a1")
    for name, seen in world.nodes.items():
        assert isinstance(seen, NodeFacts)
        world = changed(world, name, clock=(seen.clock or 0.0) + 86400)
    (cause,) = causes(world)
    assert "by 198.51.100.101; our nodes follow it" in cause.message


def test_what_was_heard_on_the_wire_tells_more_of_a_stranger() -> None:
    heard = Advert(
        "eth0", "02:00:00:00:00:99", ip_address("198.51.100.101"), ip_address("224.0.0.18"),
        3, 51, 250, 0.5, (ip_address("198.51.100.60"),),
    )  # fmt: skip
    world = replace(recorded("trixie", "a1"), adverts={"m1": (heard,)})
    (cause,) = causes(world)
    assert cause.code == "KH305"
    assert "VIP 198.51.100.60" in cause.message


@pytest.mark.parametrize("release", RELEASES)
def test_a_stranger_who_left_is_forgotten(release: str) -> None:
    world = recorded(release, "a2")
    for name in world.nodes:
        clock = next(f.clock for f in world.load_balancers if f.name == name) or 0.0
        world = changed(world, name, clock=clock + diagnosis.RECENT)
    assert codes(world) == []


def test_lines_of_a_difference_that_was_mended_do_not_accuse_a_stranger() -> None:
    """m2's VIP list is mended by a reload; m1 was never told, and its journal still has it."""
    world, healthy = recorded("bookworm", "c2"), recorded("bookworm", "healthy")
    broken, mended = world.nodes["m2"], healthy.nodes["m2"]
    assert isinstance(broken, NodeFacts)
    assert isinstance(mended, NodeFacts)
    lines = broken.keepalived_journal or ()
    reload = replace(lines[-1], message="Reload complete", time=(broken.clock or 0.0) - 0.1)
    world = changed(
        world,
        "m2",
        files=mended.files,
        keepalived_json=mended.keepalived_json,
        addresses=mended.addresses,
        keepalived_journal=(*lines, reload),
    )
    assert codes(world) == []


def test_nobody_is_accused_while_a_node_cannot_be_asked() -> None:
    """Its file may be the reason, and up to 2.3.2 no line says who sent the advert."""
    world = recorded("bookworm", "a2")
    lost = replace(world, nodes={**world.nodes, "m3": Unreachable("m3", "timed out")})
    assert codes(lost) == []


@pytest.mark.parametrize("release", RELEASES)
def test_two_masters_at_one_look_may_be_a_race(release: str) -> None:
    world = recorded(release, "e1")
    race = replace(world, before=recorded(release, "healthy-unicast"))
    assert "KH306" not in codes(race)
    assert "KH306" in codes(replace(world, before=world))


@pytest.mark.parametrize("release", RELEASES)
def test_probes_of_protocol_112_judge_better_than_counters(release: str) -> None:
    passes = Passage(small=True, large=True, mtu=1500)
    world = replace(recorded(release, "e1"), passages={("m1", "m2"): passes})
    assert codes(world) == ["KH402"]


def test_a_holder_that_is_being_followed_is_not_a_stranger() -> None:
    """Between two looks at the nodes the holder's priority may have changed."""
    world = recorded("trixie", "healthy")
    assert diagnosis.unsettled(world) is False
    assert diagnosis.unsettled(recorded("trixie", "a1")) is True
    assert diagnosis.unsettled(recorded("bookworm", "e1")) is True


@pytest.mark.provokes("KH310")
@pytest.mark.parametrize("release", RELEASES)
def test_two_masters_because_of_a_second_card(release: str) -> None:
    """The second card answers ARP for the first one's address: no filter is to blame."""
    world = recorded(release, "e1")
    facts = world.nodes["m2"]
    assert isinstance(facts, NodeFacts)
    second = InterfaceAddress("eth1", ip_interface("198.51.100.212/24"))
    cards = tuple(
        Link(name, f"02:00:00:00:00:0{number}", 1500, True, True)
        for number, name in enumerate(("eth0", "eth1"))
    )
    world = changed(world, "m2", addresses=(*(facts.addresses or ()), second), links=cards)
    symptom, cause = found(world)
    assert (symptom.code, cause.code, cause.node) == ("KH402", "KH310", "m2")
    assert symptom.fix.startswith("mend the cause, KH310;")


def edited(world: World, name: str, old: str, new: str) -> World:
    """The same with a keepalived.conf that was edited, and not loaded."""
    facts = world.nodes[name]
    assert isinstance(facts, NodeFacts)
    state = facts.files[paths.KEEPALIVED_CONFIG]
    assert state.content is not None
    assert old in state.content
    text = state.content.replace(old, new)
    files = {**facts.files, paths.KEEPALIVED_CONFIG: replace(state, content=text)}
    return changed(world, name, files=files)


@pytest.mark.provokes("KH421")
@pytest.mark.parametrize(
    ("old", "new", "evidence"),
    [
        ("priority 200", "priority 90", "priority 90, runs with 200"),
        ("virtual_router_id 51", "virtual_router_id 52", "virtual_router_id 52, runs with 51"),
        ("advert_int 0.5", "advert_int 1", "advert_int 1.0, runs with 0.5"),
        ("198.51.100.10/32", "198.51.100.20/32", "virtual_ipaddress 198.51.100.20, runs with"),
    ],
)
def test_a_file_that_was_edited_and_not_loaded(old: str, new: str, evidence: str) -> None:
    (finding,) = found(edited(recorded("bookworm", "healthy"), "m2", old, new))
    assert (finding.code, finding.node, finding.severity) == ("KH421", "m2", Severity.WARNING)
    assert evidence in finding.evidence


@pytest.mark.provokes("KH421")
def test_files_that_were_mended_and_not_loaded() -> None:
    """The difference is in what runs, the files agree: loading them is what is left to do."""
    world = edited(
        recorded("bookworm", "vrid"), "m2", "virtual_router_id 52", "virtual_router_id 51"
    )
    symptom, cause = found(world)
    assert (symptom.code, cause.code) == ("KH402", "KH421")
    assert "KH421;" in symptom.fix


def test_a_file_with_an_include_is_not_said_to_be_outdated() -> None:
    text = "include conf.d/*.conf\n    priority 200"
    world = edited(recorded("bookworm", "healthy"), "m2", "    priority 200", text)
    assert codes(edited(world, "m2", "priority 200", "priority 90")) == []


@pytest.mark.provokes("KH422")
def test_a_keepalived_that_is_busy_with_something_else() -> None:
    world = recorded("bookworm", "healthy")
    for old, new in (("VI_1", "WEB"), ("_id 51", "_id 80"), ("100.10/32", "100.80/32")):
        world = edited(world, "m3", old, new)
    facts = world.nodes["m3"]
    assert isinstance(facts, NodeFacts)
    (dump,) = json.loads(facts.keepalived_json or "")
    dump["data"] |= {"iname": "WEB", "vrid": 80, "vips": ["198.51.100.80 dev eth0"]}
    (finding,) = found(changed(world, "m3", keepalived_json=json.dumps([dump])))
    assert (finding.code, finding.node) == ("KH422", "m3")


def flapping(world: World, name: str, every: float, times: int, rest: float) -> World:
    """`times` takeovers, `every` seconds apart, the last one `rest` seconds ago."""
    facts = world.nodes[name]
    assert isinstance(facts, NodeFacts)
    lines = facts.keepalived_journal or ()
    end = (facts.clock or 0.0) - rest
    moves = [
        replace(lines[-1], message=f"(VI_1) Entering {word} STATE", time=end - every * back + plus)
        for back in reversed(range(times))
        for word, plus in (("MASTER", 0.0), ("BACKUP", 0.1))
    ]
    started = replace(lines[-1], message="Starting VRRP child process, pid=1", time=end - 600)
    return changed(world, name, keepalived_journal=(started, *moves))


@pytest.mark.provokes("KH419")
def test_a_vip_that_flaps() -> None:
    (finding,) = found(flapping(recorded("bookworm", "healthy"), "m2", 1.8, 6, rest=1.0))
    assert (finding.code, finding.node) == ("KH419", "m2")
    assert "became MASTER 6 times in the last 10 s" in finding.message


def test_a_vip_that_flaps_because_of_a_stranger_is_one_finding() -> None:
    world = flapping(recorded("bookworm", "a3-v2"), "m3", 1.8, 6, rest=1.0)
    (finding,) = found(world)
    assert finding.code == "KH305"
    assert "; m3 became MASTER 6 times in the last 10 s" in finding.message


@pytest.mark.parametrize(
    ("every", "times", "rest"),
    [
        pytest.param(1.8, 6, 10.0, id="it has come to rest"),
        pytest.param(20.0, 3, 1.0, id="somebody moves it to and fro"),
        pytest.param(120.0, 6, 1.0, id="seldom"),
    ],
)
def test_a_vip_that_moves_now_and_then(every: float, times: int, rest: float) -> None:
    assert codes(flapping(recorded("bookworm", "healthy"), "m2", every, times, rest)) == []


def test_only_nodes_where_keepalived_runs_are_members() -> None:
    world = recorded("bookworm", "e3")
    facts = world.nodes["m2"]
    assert isinstance(facts, NodeFacts)
    assert [each.name for each in members(changed(world, "m2", units={}))] == ["m1", "m3"]
    assert [node.name for node in OF.control_plane] == ["m1", "m2", "m3"]


def test_clocks_that_differ_do_not_make_lines_old_or_new() -> None:
    world = recorded("bookworm", "a2")
    for name, offset in (("m1", 5000.0), ("m2", -5000.0)):
        facts = world.nodes[name]
        assert isinstance(facts, NodeFacts)
        lines = [replace(one, time=one.time + offset) for one in facts.keepalived_journal or ()]
        world = changed(
            world,
            name,
            clock=(facts.clock or 0.0) + offset,
            clock_offset=offset,
            keepalived_journal=tuple(lines),
        )
    assert codes(world) == ["KH305"]
