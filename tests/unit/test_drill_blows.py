"""How faults are done over SSH, whom they strike, and that each of them is undone."""

from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise

import pytest
from test_health import OF, healthy
from worlds import cluster

from kubeha.drill import Victims, choose, loads
from kubeha.drills.blows import BY_SSH, DANGEROUS, SAFE, Target, blow
from kubeha.drills.catalogue import FAULTS, May, Moves
from kubeha.errors import UsageError
from kubeha.world import World

TARGET = Target("eth0", (ip_address("198.51.100.12"),))


def test_every_fault_over_ssh_is_one_of_the_catalogue_and_can_be_made() -> None:
    assert set(BY_SSH) <= set(FAULTS) and not set(SAFE) & set(DANGEROUS)
    for name in BY_SSH:
        assert blow(name, TARGET).blows or name == "drain"


@pytest.mark.parametrize("name", BY_SSH)
def test_each_is_undone_by_one_command(name: str) -> None:
    """But for what the machine and its kubelet mend themselves."""
    heal = blow(name, TARGET).heal
    assert (heal is None) == (name in ("power-off", "kill-apiserver", "drain"))


def test_what_comes_from_the_cluster_file_is_an_argument_and_no_part_of_a_script() -> None:
    odd = Target("eth0;reboot", ())
    made = blow("link-down", odd)
    for argv in (made.heal, *(tuple(each["run"]) for each in made.blows)):
        script = argv[2] if argv[:2] == ("/bin/sh", "-c") else ""
        assert "reboot" not in script


@pytest.mark.parametrize("peer, family", [("198.51.100.12", "ip"), ("2001:db8::12", "ip6")])
def test_only_protocol_112_of_that_peer_is_dropped(peer: str, family: str) -> None:
    (one,) = blow("block-vrrp", Target("eth0", (ip_address(peer),))).blows
    assert one["run"] == ["nft", "-f", "-"]
    rules = [line for line in one["input"].splitlines() if "drop" in line]
    assert len(rules) == 2
    assert f"{family} saddr {{ {peer} }} meta l4proto 112 drop" in rules[0]
    assert f"{family} daddr {{ {peer} }} meta l4proto 112 drop" in rules[1]


WORLD = World(OF, healthy("m2"))


def names(victims: Victims) -> list[str]:
    return [node.name for node in victims.nodes]


def test_the_holder_is_struck_or_whoever_is_named() -> None:
    assert names(choose(WORLD, FAULTS["power-off"], None, 1)) == ["m2"]
    assert names(choose(WORLD, FAULTS["power-off"], "m3", 1)) == ["m3"]
    assert choose(WORLD, FAULTS["link-down"], None, 1).interface == "eth0"


def test_a_node_without_a_load_balancer_cannot_lose_the_vip() -> None:
    apart = cluster(load_balancers=cluster().control_plane[:2])
    world = replace(WORLD, cluster=apart)
    with pytest.raises(UsageError, match="kill-haproxy cannot strike m3"):
        choose(world, FAULTS["kill-haproxy"], "m3", 1)
    assert names(choose(world, FAULTS["kill-apiserver"], "m3", 1)) == ["m3"]


def test_vrrp_is_blocked_to_each_of_the_others_in_turn() -> None:
    pairs = [names(choose(WORLD, FAULTS["block-vrrp"], None, n)) for n in (1, 2)]
    assert sorted(pairs) == [["m2", "m1"], ["m2", "m3"]]


def test_api_servers_are_struck_where_the_vip_is_not() -> None:
    struck = [names(choose(WORLD, FAULTS["kill-apiserver"], None, n))[0] for n in range(4)]
    assert set(struck) == {"m1", "m3"}


def test_one_fault_after_the_other_strikes_another_api_server() -> None:
    """One that has just come back has hardly a connection that could break."""
    order = ("kill-apiserver", "hang-apiserver", "host-vanishes", "fail-readyz")
    struck = [names(choose(WORLD, FAULTS[name], None, 1))[0] for name in order]
    assert all(before != after for before, after in pairwise(struck))


def test_all_and_the_segment() -> None:
    assert len(choose(WORLD, FAULTS["power-cycle-all"], None, 1).nodes) == 3
    assert choose(WORLD, FAULTS["rogue-vrrp"], None, 1) == Victims(())
    assert choose(WORLD, FAULTS["rogue-vrrp"], None, 1).told == ""


def test_clients_together_do_the_same_however_many_machines_they_have() -> None:
    for machines in (1, 2, 4):
        version, stream, watch = loads(machines)
        assert version.rate * machines == loads(1)[0].rate
        assert stream.connections * machines == 12 and watch.connections * machines == 12


def test_clients_that_wait_stay_below_the_limit_of_one_source() -> None:
    """Or HAProxy's own limit would refuse them, and the drill would blame the fault."""
    version, stream, watch = loads(1)
    most = version.rate * version.timeout + stream.connections + watch.connections
    assert most < cluster().haproxy.connections_per_source


def test_a_bystander_s_fault_has_a_bystander_s_promises() -> None:
    fault = FAULTS["hang-haproxy"].on_bystander()
    assert (fault.moves, fault.may_fail, fault.within) == (Moves.NO, May.IN_FLIGHT, None)
    assert FAULTS["kill-apiserver"].on_bystander() == FAULTS["kill-apiserver"]


def test_static_ipv6_addresses_come_back_before_the_routes_and_without_the_vip() -> None:
    made = blow("link-down", Target("eth0", (), "2001:db8::10"))
    keep = made.blows[0]["run"]
    assert "ip -6 -o address show" in keep[2] and keep[-2:] == ["eth0", "2001:db8::10"]
    assert made.heal is not None
    assert made.heal[2].index("address add") < made.heal[2].index("route restore")


def test_a_planned_move_leaves_nothing_that_a_reboot_would_keep() -> None:
    """And nothing to undo that may be the operator's own drain."""
    assert blow("drain", TARGET).heal is None
