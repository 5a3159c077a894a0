"""Planned moves: who takes the VIP, who stands aside, and what is refused beforehand."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from worlds import bare, cluster, deployed, said, text_file, unit

from kubeha import paths
from kubeha.desired import Site, desired_node
from kubeha.errors import ExitCode, UsageError
from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.model import Vrrp
from kubeha.moves import (
    Means,
    Move,
    MoveResult,
    Refused,
    Unknown,
    away,
    elsewhere,
    formers,
    part,
    progress,
    request,
    told,
    towards,
)

CLUSTER = cluster()
VIP = str(CLUSTER.endpoint.vip)


def seen(holder: str = "m1", **changes: Observed) -> dict[str, Observed]:
    """Three healthy nodes; `changes`: those that are otherwise."""
    nodes: dict[str, Observed] = {}
    for node in CLUSTER.load_balancer_nodes:
        desired = desired_node(CLUSTER, node.name, Site("eth0", 10, None))
        holds = VIP if node.name == holder else None
        nodes[node.name] = deployed(desired, bare(node.name, str(node.address)), holds=holds)
    return {**nodes, **changes}


def facts(name: str, world: Mapping[str, Observed] | None = None) -> NodeFacts:
    found = (world or seen())[name]
    assert isinstance(found, NodeFacts)
    return found


def drained(name: str) -> NodeFacts:
    whole = facts(name)
    file = text_file(paths.DRAIN_FILE, "-127\n")
    return replace(whole, files={**whole.files, paths.DRAIN_FILE: file})


def test_the_vip_goes_to_the_node_that_vrrp_elects() -> None:
    move = away(CLUSTER, seen("m2"), "m2", Means.DRAIN)
    assert move is not None
    assert (move.former, move.target, move.aside) == ("m2", "m1", ())
    assert move.relays == ("m1", "m3")


def test_a_node_without_the_vip_gives_nothing_away() -> None:
    assert away(CLUSTER, seen("m1"), "m2", Means.DRAIN) is None


def test_a_drained_node_is_no_successor() -> None:
    move = away(CLUSTER, seen("m1", m2=drained("m2")), "m1", Means.ASIDE)
    assert move is not None
    assert move.target == "m3" and move.aside == ("m1",)
    assert move.relays == ("m2", "m3"), "it may still take over when the others die"


def test_all_who_outrank_the_target_stand_aside_the_holder_last() -> None:
    move = towards(CLUSTER, seen("m1"), "m3")
    assert move is not None
    assert move.aside == ("m2", "m1")
    back = towards(CLUSTER, seen("m3"), "m1")
    assert back is not None and back.aside == ("m3",)


def test_the_target_that_has_the_vip_needs_nothing() -> None:
    assert towards(CLUSTER, seen("m2"), "m2") is None


def test_an_unreachable_third_node_takes_no_part() -> None:
    move = away(CLUSTER, seen("m1", m3=Unreachable("m3", "no route")), "m1", Means.DRAIN)
    assert move is not None
    assert move.relays == ("m2",)
    assert move.unprepared == {"m3": "it cannot be asked: no route"}


def test_a_node_whose_address_is_elsewhere_takes_no_part() -> None:
    elsewhere = replace(facts("m3"), addresses=bare("m3", "192.0.2.3").addresses)
    move = away(CLUSTER, seen("m1", m3=elsewhere), "m1", Means.DRAIN)
    assert move is not None and "no address in the network" in move.unprepared["m3"]


def sick(name: str, **changes: object) -> NodeFacts:
    return replace(facts(name), **changes)


STOPPED = {"keepalived.service": unit("keepalived.service", active=False)}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (drained("m2"), "it is drained"),
        (sick("m2", haproxy_info=None), "HAProxy does not answer"),
        (sick("m2", units={**facts("m2").units, **STOPPED}), "keepalived does not run"),
        (sick("m2", keepalived_json=said(3)), "its keepalived is in FAULT"),
        (sick("m2", keepalived_json=None), "does not tell its state"),
    ],
    ids=["drained", "haproxy", "keepalived", "fault", "silent"],
)
def test_a_target_that_is_not_well_is_refused(target: NodeFacts, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        towards(CLUSTER, seen("m1", m2=target), "m2")
    assert refusal.value.exit_code is ExitCode.DOES_NOT_HOLD
    assert "nothing was touched" in refusal.value.message


def test_the_last_healthy_node_is_not_drained() -> None:
    world = seen("m1", m2=drained("m2"), m3=Unreachable("m3", "no route"))
    with pytest.raises(Refused, match="m2: it is drained; m3: it cannot be asked"):
        away(CLUSTER, world, "m1", Means.DRAIN)


@pytest.mark.parametrize("holders", [(), ("m1", "m3")], ids=["none", "two"])
def test_no_holder_and_two_holders_are_refused(holders: tuple[str, ...]) -> None:
    world = {name: facts(name, seen(name if name in holders else "")) for name in seen()}
    with pytest.raises(Refused, match="is held by (no node|m1 and m3)"):
        towards(CLUSTER, world, "m2")


def test_a_node_that_cannot_be_asked_is_refused() -> None:
    world = seen("m1", m2=Unreachable("m2", "timeout"))
    with pytest.raises(Unknown) as refusal:
        towards(CLUSTER, world, "m2")
    assert refusal.value.exit_code is ExitCode.UNKNOWN
    with pytest.raises(Unknown):
        towards(CLUSTER, seen("", m2=Unreachable("m2", "timeout")), "m1")


def test_an_unknown_node_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="m9 is not a load balancer node"):
        towards(CLUSTER, seen(), "m9")


def test_a_keepalived_of_before_cannot_stand_aside() -> None:
    old = facts("m1", seen("m1"))
    text = (old.text_of(paths.KEEPALIVED_CONFIG) or "").replace(paths.ASIDE_FILE, "/run/other")
    files = {**old.files, paths.KEEPALIVED_CONFIG: text_file(paths.KEEPALIVED_CONFIG, text)}
    with pytest.raises(Refused, match="does not know how to stand back"):
        towards(CLUSTER, seen("m1", m1=replace(old, files=files)), "m2")


def a_move() -> Move:
    move = towards(CLUSTER, seen("m1"), "m2")
    assert move is not None
    return move


def test_earlier_former_holders_are_made_known_to_everybody() -> None:
    earlier = {"id": "old", "address": "198.51.100.13", "seconds": 90.0, "rest": 77.0}
    found = formers([{}, {"formers": {"m3": earlier}}], a_move(), "new", 600.0)
    assert found == {
        "m3": {"id": "old", "address": "198.51.100.13", "seconds": 77.0},
        "m1": {"id": "new", "address": "198.51.100.11", "seconds": 600.0},
    }


def test_progress_in_words() -> None:
    assert progress(37, 492.2) == "37 connections left, deadline in 8m12s"
    assert progress(1, 600.0) == "1 connection left, deadline in 10m00s"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (MoveResult(None, "m1", False), "is held by m1; nothing had to move"),
        (MoveResult("m1", "m2", True, plain="m2: no nft"), "not kept: m2: no nft"),
        (MoveResult("m1", "m2", True, carried=9, closed=3, left=0), "9 established connections: 3"),
        (MoveResult("m1", "m2", True, carried=9, closed=0, left=0), "all have ended"),
        (MoveResult("m1", "m2", True, carried=9, left=9), "9 established connections live on"),
        (MoveResult("m1", "m2", True), "not known"),
    ],
    ids=["nothing", "plain", "closed", "ended", "left", "unknown"],
)
def test_the_result_in_words(result: MoveResult, words: str) -> None:
    assert words in told(CLUSTER, result)


def test_the_result_as_data() -> None:
    data = MoveResult("m1", "m2", True, carried=9, closed=3, left=0).as_json()
    assert data["hitless"] is True
    assert data["connections"] == {"carried": 9, "closed": 3, "left": 0}


def test_a_node_that_was_drained_before_is_left_drained_whatever_comes() -> None:
    move = away(CLUSTER, seen("m1"), "m1", Means.DRAIN)
    assert move is not None and not move.drained_before
    holder = replace(drained("m1"), addresses=facts("m1").addresses)
    again = away(CLUSTER, seen("m1", m1=holder), "m1", Means.DRAIN)
    assert again is not None and again.drained_before


def test_where_the_vip_lies_in_no_subnet_of_the_nodes_it_moves_the_plain_way() -> None:
    """Nobody can pass packets on at layer 2; standing aside needs no card."""
    world = {
        name: replace(facts(name), addresses=bare(name, f"192.0.2.{name[1]}").addresses)
        for name in seen()
    }
    holder = facts("m1")
    vip = next(one for one in holder.addresses or () if str(one.address.ip) == VIP)
    world["m1"] = replace(world["m1"], addresses=(*(world["m1"].addresses or ()), vip))
    move = towards(CLUSTER, world, "m2")
    assert move is not None and move.parts == () and move.relays == ()
    assert set(move.unprepared) == {"m1", "m2", "m3"}
    assert request(CLUSTER, move, "m1", 90.0)["interface"] == ""
    assert formers([], move, "new", 600.0)["m1"]["address"] == ""


def test_the_interface_that_the_cluster_file_names_for_all_counts() -> None:
    of = cluster(vrrp=Vrrp(interface="eth9"))
    node = of.load_balancer_nodes[0]
    found = part(of, facts("m1", seen("m2")), node)
    assert found == f"it has no address in the network of the VIP {VIP}"


def test_another_holder_than_asked_for_is_no_success() -> None:
    assert elsewhere("m2", "m2") is None
    assert elsewhere(None, "m3") is None
    assert elsewhere("m2", "m3") == "has taken the VIP before m2 did"
