"""What is found on the wire, provoked one at a time in an otherwise healthy world."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from test_health import OF, healthy
from test_preflight import ca, only, with_file, world
from worlds import addresses, bare, cluster, mac, text_file

from kubeha import paths
from kubeha.checks.finding import Finding, Severity
from kubeha.checks.health import thorough
from kubeha.checks.preflight import preflight
from kubeha.checks.wire import free_vrid
from kubeha.facts import (
    Advert,
    Connection,
    InterfaceAddress,
    Link,
    NodeFacts,
    Passage,
    Unreachable,
)
from kubeha.model import Endpoint, Vrrp
from kubeha.passages import requests
from kubeha.world import World

STRANGER = "02:00:00:00:00:99"
NODES = ("m1", "m2", "m3")


def advert(
    vrid: int = 10, source: str = "198.51.100.99", vip: str = "198.51.100.60", by: str = STRANGER
) -> Advert:
    ends = ip_address(source), ip_address("ff02::12" if ":" in source else "224.0.0.18")
    return Advert("eth0", by, *ends, 2, vrid, 150, 1.0, (ip_address(vip),))


def heard(*adverts: Advert, of: World | None = None) -> World:
    return replace(of or world(), adverts={name: adverts for name in NODES})


def passages(**changes: Passage) -> dict[tuple[str, str], Passage]:
    """All pairs pass, but those given as m1_m2."""
    good = Passage(True, True, 1500)
    return {(a, b): changes.get(f"{a}_{b}", good) for a in NODES for b in NODES if a != b}


def with_card(facts: NodeFacts, name: str, address: str, mtu: int = 1500) -> NodeFacts:
    """The same machine with a second network card."""
    card = Link(name, mac(str(facts.addresses[0].address.ip), 1), mtu, up=True, ethernet=True)
    seen = InterfaceAddress(name, ip_interface(address))
    return replace(facts, addresses=(*facts.addresses, seen), links=(*facts.links, card))


@pytest.mark.provokes("KH305")
def test_our_vrid_in_use_by_a_stranger() -> None:
    found = only(preflight(heard(advert())))
    assert (found.code, found.severity) == ("KH305", Severity.WARNING)
    assert found.message == (
        "VRID 10 is in use on this segment by 198.51.100.99 (priority 150, VIP 198.51.100.60)"
    )
    assert "vrrp.vrid: 11" in found.fix
    assert found.evidence == (
        "VRRPv2 VRID 10 from 198.51.100.99 (02:00:00:00:00:99) to 224.0.0.18: priority 150,"
        " every 1 s; heard by m1, m2, m3"
    )


@pytest.mark.provokes("KH305")
def test_with_multicast_a_taken_vrid_is_an_error() -> None:
    loud = cluster(vrrp=Vrrp(mode="multicast"))
    found = only(preflight(heard(advert(), of=world(loud))))
    assert (found.code, found.severity) == ("KH305", Severity.ERROR)


@pytest.mark.provokes("KH305")
def test_the_vrid_of_the_cluster_file_counts_and_the_next_free_one_is_proposed() -> None:
    named = cluster(vrrp=Vrrp(vrid=51))
    seen = heard(advert(51), advert(11), advert(12), of=world(named))
    codes = {found.code: found for found in preflight(seen)}
    assert set(codes) == {"KH305", "KH315"}
    # 10 is what the VIP gives.
    assert "vrrp.vrid: 10 " in codes["KH305"].fix
    assert preflight(heard(advert(10), of=world(named)))[0].code == "KH315"


ARTICLE = """vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        198.51.100.10
    }
}
"""


@pytest.mark.provokes("KH305")
def test_files_written_by_hand_fight_now_and_will_not_after_an_apply() -> None:
    by_hand = {
        node.name: with_file(
            bare(node.name, str(node.address)), text_file(paths.KEEPALIVED_CONFIG, ARTICLE)
        )
        for node in OF.nodes
    }
    seen = heard(advert(51), of=World(OF, by_hand))
    before = next(found for found in preflight(seen) if found.code == "KH305")
    assert before.severity is Severity.WARNING and "fights with it" in before.evidence
    assert before.fix.startswith("kubeha apply ends it")
    now = next(found for found in thorough(seen) if found.code == "KH305")
    assert now.severity is Severity.ERROR


def test_the_segments_of_other_cards_are_not_the_vips() -> None:
    """A storage network has virtual routers of its own; their VRIDs meet none of ours."""
    with_storage = {
        node.name: with_card(bare(node.name, str(node.address)), "eth1", f"203.0.113.{number}/24")
        for number, node in enumerate(OF.nodes, 1)
    }
    with_storage["m1"] = with_file(with_storage["m1"], ca())
    loud = cluster(vrrp=Vrrp(mode="multicast"))
    far = replace(advert(), interface="eth1")
    assert preflight(heard(far, replace(far, vrid=51), of=world(loud, **with_storage))) == ()
    both = only(preflight(heard(far, advert(), of=world(loud, **with_storage))))
    assert (both.code, both.severity) == ("KH305", Severity.ERROR)


def test_a_vip_in_no_subnet_may_be_on_any_segment() -> None:
    vip = Endpoint.model_validate({"vip": "192.0.2.10"}, strict=False)
    lost = cluster(endpoint=vip, vrrp=Vrrp(vrid=51))
    codes = {found.code for found in preflight(heard(advert(51), of=world(lost)))}
    assert codes == {"KH302", "KH305"}


def test_only_load_balancers_have_the_interface_that_is_named_for_the_vip() -> None:
    """An API server's card of the same name is in another segment: nobody answers there."""
    apart = cluster(5, vrrp=Vrrp(interface="eth0"))
    apart = apart.model_copy(
        update={"control_plane": apart.nodes[:3], "load_balancers": apart.nodes[3:]}
    )
    nodes = {node.name: bare(node.name, str(node.address)) for node in apart.nodes}
    nodes["m1"] = replace(nodes["m1"], addresses=addresses("203.0.113.11"))
    seen = World(apart, nodes)
    asked = requests(seen, b"12345678")
    assert "198.51.100.10" not in asked["m1"].ask_for.get("eth0", ())
    assert "198.51.100.10" in asked["m2"].ask_for["eth0"]
    assert "198.51.100.10" in asked["m4"].ask_for["eth0"]


def test_no_vrid_may_be_free() -> None:
    assert free_vrid(heard(*(advert(vrid) for vrid in range(1, 256)))) is None


@pytest.mark.provokes("KH305")
def test_verify_judges_by_what_is_deployed() -> None:
    running = World(OF, healthy())
    found = only(thorough_but(running, heard(advert(), of=running)))
    assert (found.code, found.severity) == ("KH305", Severity.WARNING)
    assert "interruption" in found.fix


def thorough_but(usual: World, seen: World) -> tuple[Finding, ...]:
    """What thorough finds in a world and does not in the usual one."""
    return tuple(found for found in thorough(seen) if found not in thorough(usual))


@pytest.mark.parametrize(
    "ours",
    [
        advert(source="198.51.100.11", vip="198.51.100.10", by=mac("198.51.100.11")),
        # Before the node has told its address on another interface, its MAC address does.
        advert(source="203.0.113.1", vip="198.51.100.10", by=mac("198.51.100.11")),
        # Its own files are compared elsewhere.
        advert(source="198.51.100.11", vip="198.51.100.61", by=mac("198.51.100.11")),
    ],
)
def test_what_our_nodes_send_is_no_stranger(ours: Advert) -> None:
    assert preflight(heard(ours)) == ()


def test_a_machine_that_the_cluster_file_has_forgotten_has_a_finding_of_its_own() -> None:
    gone = advert(source="198.51.100.14", vip="198.51.100.10")
    running = replace(heard(gone), strangers={"198.51.100.14": Unreachable("x", "refused")})
    assert {found.code for found in preflight(running)} == {"KH409"}


def test_vrids_of_the_other_address_family_are_others() -> None:
    found = preflight(heard(advert(source="fe80::99", vip="fe80::60")))
    assert {each.code for each in found} == set()


@pytest.mark.provokes("KH315")
def test_other_virtual_routers() -> None:
    found = only(preflight(heard(advert(51), advert(52, "198.51.100.98"))))
    assert (found.code, found.severity) == ("KH315", Severity.INFO)
    assert "VRID 51 of 198.51.100.99" in found.message
    assert "VRID 52 of 198.51.100.98" in found.message


@pytest.mark.provokes("KH313")
def test_the_vip_announced_by_another_virtual_router() -> None:
    found = only(preflight(heard(advert(51, vip="198.51.100.10"))))
    assert (found.code, found.severity) == ("KH313", Severity.ERROR)
    assert "198.51.100.99 announces 198.51.100.10" in found.message


@pytest.mark.provokes("KH301")
def test_a_stranger_that_holds_the_vip_by_vrrp_is_told_once() -> None:
    answers = {"m1": (STRANGER,)}
    seen = replace(heard(advert(51, vip="198.51.100.10")), vip_answers=answers)
    found = only(preflight(seen))
    assert found.code == "KH301" and "it speaks VRRP: VRID 51" in found.evidence


@pytest.mark.provokes("KH301")
def test_a_single_stranger_is_seen_beside_a_holder_of_ours() -> None:
    """Nobody hears the holder itself: there is one answer, and it is not ours."""
    running = World(OF, healthy())
    seen = replace(running, vip_answers={"m2": (STRANGER,), "m3": (STRANGER,)})
    found = only(thorough_but(running, seen))
    assert found.code == "KH301" and "m1 holds it as well" in found.message


@pytest.mark.provokes("KH301")
def test_the_holder_hears_a_stranger_that_nobody_else_hears() -> None:
    running = World(OF, healthy())
    seen = replace(running, neighbours={"m1": {"198.51.100.10": (STRANGER,)}})
    found = only(thorough_but(running, seen))
    assert (found.code, found.evidence) == ("KH301", "it answered m1")


def test_the_holder_of_ours_is_no_stranger() -> None:
    running = World(OF, healthy())
    own = {"m2": (mac("198.51.100.11"),), "m3": (mac("198.51.100.11"),)}
    assert thorough_but(running, replace(running, vip_answers=own)) == ()


@pytest.mark.provokes("KH314")
def test_nobody_could_listen() -> None:
    found = only(preflight(replace(world(), adverts={"m1": (), "m2": None})))
    assert (found.code, found.node, found.severity) == ("KH314", "m2", Severity.WARNING)


@pytest.mark.provokes("KH314")
def test_what_could_not_be_tried_is_told() -> None:
    unknown = Passage(None, None, reason="m1 has no interface in the subnet of m2")
    found = only(preflight(replace(world(), passages=passages(m1_m2=unknown))))
    assert (found.code, found.node) == ("KH314", "m1")
    assert found.evidence == "to m2: m1 has no interface in the subnet of m2"


def test_everything_passes() -> None:
    connections = {(a, b): Connection("connected") for a in NODES for b in NODES}
    assert preflight(replace(world(), passages=passages(), connections=connections)) == ()


@pytest.mark.provokes("KH306")
def test_vrrp_that_does_not_get_in() -> None:
    blocked = Passage(False, False, 1500)
    seen = replace(
        world(),
        passages=passages(m1_m2=blocked, m3_m2=blocked),
        neighbours={"m1": {"198.51.100.12": (mac("198.51.100.12"),)}},
    )
    found = only(preflight(seen))
    assert (found.code, found.node, found.severity) == ("KH306", "m2", Severity.ERROR)
    assert "from m1 and m3" in found.message
    assert "m2 is on the wire" in found.evidence and "the other way it passes" in found.evidence
    for source in ("198.51.100.11", "198.51.100.13"):
        assert f"iptables -I INPUT -p 112 -s {source} -j ACCEPT" in found.fix
    assert "--add-protocol=vrrp && firewall-cmd --reload" in found.fix


@pytest.mark.provokes("KH308")
def test_large_packets_that_are_lost() -> None:
    small = Passage(True, False, 9000)
    jumbo = with_mtu(bare("m2", "198.51.100.12"), 9000)
    seen = replace(world(m2=jumbo), passages=passages(m2_m1=small))
    found = only(preflight(seen))
    assert (found.code, found.node) == ("KH308", "m1")
    assert "9000 bytes from m2" in found.message
    assert found.evidence == "m1 eth0 1500, m2 eth0 9000, m3 eth0 1500"


def with_mtu(facts: NodeFacts, mtu: int) -> NodeFacts:
    return replace(facts, links=tuple(replace(link, mtu=mtu) for link in facts.links))


@pytest.mark.provokes("KH309")
def test_mtus_that_differ() -> None:
    odd = with_mtu(bare("m2", "198.51.100.12"), 1400)
    found = only(preflight(replace(world(m2=odd), passages=passages())))
    assert (found.code, found.severity) == ("KH309", Severity.WARNING)
    assert "m2 eth0 1400" in found.evidence


def connections(**changes: Connection) -> Mapping[tuple[str, str], Connection]:
    return {(a, b): changes.get(f"{a}_{b}", Connection("connected")) for a in NODES for b in NODES}


@pytest.mark.provokes("KH307")
@pytest.mark.parametrize(
    ("outcome", "words"),
    [("timeout", "no answer"), ("unreachable", "No route to host"), ("refused", "refused")],
)
def test_an_api_server_that_one_node_cannot_connect_to(outcome: str, words: str) -> None:
    said = Connection(outcome, words)
    found = only(preflight(replace(world(), connections=connections(m3_m1=said))))
    assert (found.code, found.node, found.severity) == ("KH307", "m1", Severity.ERROR)
    assert "198.51.100.11:6443 cannot be reached from m3" in found.message
    assert found.evidence == f"m3: {outcome} ({words})"


def test_an_api_server_that_refuses_everybody_is_just_not_there() -> None:
    refused = Connection("refused", "Connection refused")
    down = connections(m1_m1=refused, m2_m1=refused, m3_m1=refused)
    assert preflight(replace(world(), connections=down)) == ()


def test_a_machine_that_is_off_has_no_firewall_to_open() -> None:
    silent = Connection("unreachable", "No route to host")
    off = {(name, "m2"): silent for name in ("m1", "m3")}
    lost = world(m2=Unreachable("m2", "no route to host"))
    assert {each.code for each in preflight(replace(lost, connections=off))} == {"KH201"}
    half = {**off, ("m3", "m2"): Connection("connected")}
    codes = {each.code for each in preflight(replace(lost, connections=half))}
    assert codes == {"KH201", "KH307"}


@pytest.mark.provokes("KH310")
def test_two_interfaces_that_answer_for_one_address() -> None:
    double = with_card(bare("m2", "198.51.100.12"), "eth1", "203.0.113.2/24")
    macs = (mac("198.51.100.12"), mac("198.51.100.12", 1))
    seen = replace(world(m2=double), neighbours={"m1": {"198.51.100.12": macs}})
    found = only(preflight(seen))
    assert (found.code, found.node, found.severity) == ("KH310", "m2", Severity.ERROR)
    assert "eth0 and eth1 are in one segment and both answer for 198.51.100.12" in found.message


@pytest.mark.provokes("KH310")
def test_two_interfaces_in_one_subnet() -> None:
    double = with_card(bare("m2", "198.51.100.12"), "eth1", "198.51.100.202/24")
    found = only(preflight(world(m2=double)))
    assert (found.code, found.severity) == ("KH310", Severity.WARNING)
    holder = replace(bare("m2", "198.51.100.12"), addresses=addresses("198.51.100.12"))
    assert preflight(world(m2=holder)) == ()


@pytest.mark.provokes("KH311")
@pytest.mark.parametrize(
    ("other", "who"), [(STRANGER, "a machine that is no node"), (mac("198.51.100.13"), "m3")]
)
def test_another_machine_answers_for_a_nodes_address(other: str, who: str) -> None:
    answers = {"198.51.100.12": (mac("198.51.100.12"), other)}
    found = only(preflight(replace(world(), neighbours={"m1": answers})))
    assert (found.code, found.node, found.severity) == ("KH311", "m2", Severity.ERROR)
    assert f"answered by {who} with the MAC address {other}" in found.message


@pytest.mark.provokes("KH311")
def test_two_answers_for_a_node_that_cannot_be_asked() -> None:
    """SSH may have found the other machine."""
    lost = world(m2=Unreachable("m2", "refused"))
    answers = {"198.51.100.12": (mac("198.51.100.12"), STRANGER)}
    found = preflight(replace(lost, neighbours={"m1": answers}))
    assert [each.code for each in found] == ["KH201", "KH311", "KH311"]
    one = replace(lost, neighbours={"m1": {"198.51.100.12": (STRANGER,)}})
    assert [each.code for each in preflight(one)] == ["KH201"]


@pytest.mark.provokes("KH311")
def test_a_stolen_address_explains_what_did_not_get_through() -> None:
    """Each probe may have reached the other machine, and each answer to the node itself."""
    answers = {"m1": {"198.51.100.12": (mac("198.51.100.12"), STRANGER)}}
    silence = Connection("timeout", "no answer")
    lost = connections(m1_m2=silence, m2_m3=silence)
    deaf = passages(m1_m2=Passage(small=False, large=False, mtu=1500))
    found = preflight(replace(world(), neighbours=answers, connections=lost, passages=deaf))
    assert [each.code for each in found] == ["KH311"]


@pytest.mark.provokes("KH312")
def test_an_interface_that_is_not_the_one_of_the_subnet() -> None:
    elsewhere = cluster(vrrp=Vrrp(interface="eth1"))
    facts = with_card(bare("m2", "198.51.100.12"), "eth1", "203.0.113.2/24")
    nodes = {
        node.name: with_card(bare(node.name, str(node.address)), "eth1", f"203.0.113.{number}/24")
        for number, node in enumerate(elsewhere.nodes, 1)
    }
    nodes["m1"] = with_file(nodes["m1"], ca())
    found = preflight(world(elsewhere, **nodes))
    assert [(each.code, each.node) for each in found] == [("KH312", name) for name in NODES]
    assert "names eth1" in found[0].message and "is on eth0" in found[0].message
    assert preflight(world(m2=facts)) == ()


def test_an_interface_that_is_named_for_a_vip_in_no_subnet_is_believed() -> None:
    vip = Endpoint.model_validate({"vip": "192.0.2.10"}, strict=False)
    named = cluster(endpoint=vip, vrrp=Vrrp(interface="eth0"))
    assert preflight(world(named)) == ()


@pytest.mark.provokes("KH229")
def test_a_clock_that_is_off() -> None:
    found = only(preflight(world(m2=replace(bare("m2", "198.51.100.12"), clock_offset=-61.0))))
    assert (found.code, found.node, found.severity) == ("KH229", "m2", Severity.WARNING)
    assert found.message == "its clock is 61 s slow"


@pytest.mark.parametrize("offset", [4.9, -4.9, None])
def test_a_clock_that_is_near_enough_or_not_known(offset: float | None) -> None:
    near = replace(bare("m2", "198.51.100.12"), clock_offset=offset)
    assert preflight(world(m2=near)) == ()


def test_the_operators_own_clock_is_off() -> None:
    nodes = {
        node.name: replace(bare(node.name, str(node.address)), clock_offset=300.0 + number)
        for number, node in enumerate(OF.nodes)
    }
    assert not [found for found in preflight(world(**nodes)) if found.code == "KH229"]
