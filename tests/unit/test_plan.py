"""What is changed, on which node, in which order."""

from dataclasses import replace

import pytest
from worlds import CA, addresses, bare, cluster, deployed, missing, text_file, unit

from kubeha import paths
from kubeha.facts import NodeFacts
from kubeha.model import Cluster
from kubeha.plan import HAPROXY, KEEPALIVED, Plan, Reaction, make_plan, wanted
from kubeha.world import World

VIP = "198.51.100.10"


def fresh(of: Cluster) -> dict[str, NodeFacts]:
    return {node.name: bare(node.name, str(node.address)) for node in of.control_plane}


def settled(of: Cluster, holder: str = "m1", **changes: object) -> dict[str, NodeFacts]:
    """The cluster after an apply, with one holder; `changes`: the CA of m1, for instance."""
    facts = fresh(of)
    desired = wanted(World(of, facts))
    return {
        name: deployed(desired[name], seen, holds=VIP if name == holder else None)
        for name, seen in facts.items()
    }


def plan_of(of: Cluster, facts: dict[str, NodeFacts]) -> Plan:
    return make_plan(of, wanted(World(of, facts)), facts)


def test_first_deployment_begins_with_the_primary() -> None:
    plan = plan_of(cluster(), fresh(cluster()))
    assert plan.first and plan.holder is None
    assert [change.node for change in plan.changes] == ["m1", "m2", "m3"]
    first = plan.changes[0]
    assert first.install == ("haproxy", "keepalived")
    assert {file.path for file in first.files} >= {paths.HAPROXY_CONFIG, paths.KEEPALIVED_CONFIG}
    assert [service.reaction for service in first.services] == 3 * [Reaction.START]
    assert all(service.enable for service in first.services)


def test_after_an_apply_there_is_nothing_to_do() -> None:
    assert plan_of(cluster(), settled(cluster())).empty


@pytest.mark.parametrize("holder", ["m1", "m2", "m3"])
def test_the_holder_comes_last_at_a_later_change(holder: str) -> None:
    changed = cluster(api_port=7443)
    plan = plan_of(changed, settled(cluster(), holder))
    assert not plan.first and plan.holder == holder
    nodes = [change.node for change in plan.changes]
    assert nodes[-1] == holder and sorted(nodes) == ["m1", "m2", "m3"]


def test_a_new_node_comes_after_the_holder_that_does_not_know_it_yet() -> None:
    """Until the holder has it among its peers it hears nothing, and would take the VIP."""
    facts = {**settled(cluster(3), "m1"), "m4": bare("m4", "198.51.100.14")}
    plan = plan_of(cluster(4), facts)
    assert [change.node for change in plan.changes] == ["m2", "m3", "m1", "m4"]


def test_a_node_that_is_only_stopped_comes_before_the_holder() -> None:
    of = cluster()
    facts = settled(of, "m1")
    off = {name: unit(name, active=False) for name in facts["m3"].units}
    facts["m3"] = replace(facts["m3"], units=off)
    plan = plan_of(cluster(api_port=7443), facts)
    assert [change.node for change in plan.changes] == ["m2", "m3", "m1"]


def test_preinstalled_packages_are_never_installed() -> None:
    of = cluster(packages="preinstalled")
    assert not any(change.install for change in plan_of(of, fresh(of)).changes)


def test_a_mask_of_the_operator_is_left_alone() -> None:
    of = cluster()
    facts = settled(of)
    masked = unit(HAPROXY, active=False, state="masked")
    facts["m3"] = replace(facts["m3"], units={**facts["m3"].units, HAPROXY: masked})
    (change,) = plan_of(of, facts).changes
    assert change.unmask == ()


def test_settings_on_the_disk_that_were_never_taken_need_a_reload_only() -> None:
    of = cluster()
    facts = settled(of)
    noted = facts["m2"].files[paths.APPLIED]
    lines = (noted.content or "").splitlines()
    stale = [f"{w[0]} 0 {w[2]}" if len(w := line.split()) == 3 else line for line in lines]
    text = text_file(paths.APPLIED, "\n".join(stale) + "\n")
    facts["m2"] = replace(facts["m2"], files={**facts["m2"].files, paths.APPLIED: text})
    (change,) = plan_of(of, facts).changes
    assert {service.reaction for service in change.services} == {Reaction.RELOAD}


def test_new_haproxy_settings_are_reloaded_and_keepalived_left_alone() -> None:
    plan = plan_of(cluster(api_port=7443), settled(cluster()))
    for change in plan.changes:
        assert change.service(HAPROXY).reaction is Reaction.RELOAD
        assert change.service(KEEPALIVED).reaction is Reaction.NONE
        assert {file.path for file in change.files} == {paths.HAPROXY_CONFIG, paths.APPLIED}


def test_the_ca_that_appears_moves_haproxy_to_verified_checks_by_a_reload() -> None:
    of = cluster()
    facts = settled(of)
    ca = text_file(of.kubernetes.ca, CA)
    facts["m1"] = replace(facts["m1"], files={**facts["m1"].files, ca.path: ca})
    plan = plan_of(of, facts)
    assert [change.node for change in plan.changes] == ["m2", "m3", "m1"]
    for change in plan.changes:
        assert change.service(HAPROXY).reaction is Reaction.RELOAD
        assert paths.CA_FILE in {file.path for file in change.files}


def test_another_interface_needs_a_restart_of_keepalived() -> None:
    of = cluster()
    renamed = of.model_copy(update={"vrrp": of.vrrp.model_copy(update={"interface": "eth1"})})
    plan = plan_of(renamed, settled(of))
    assert plan.changes[0].service(KEEPALIVED).reaction is Reaction.RESTART


def test_a_stopped_service_is_started_and_a_disabled_one_enabled() -> None:
    of = cluster()
    facts = settled(of)
    units = {HAPROXY: unit(HAPROXY, active=False), KEEPALIVED: unit(KEEPALIVED, state="disabled")}
    facts["m2"] = replace(facts["m2"], units=units)
    (change,) = plan_of(of, facts).changes
    assert change.node == "m2"
    assert change.service(HAPROXY).reaction is Reaction.START
    assert not change.service(HAPROXY).enable
    assert change.service(KEEPALIVED).reaction is Reaction.NONE
    assert change.service(KEEPALIVED).enable


def test_a_mask_that_an_interrupted_install_left_is_lifted() -> None:
    of = cluster()
    facts = settled(of)
    masked = unit(HAPROXY, active=False, state="masked-runtime")
    facts["m3"] = replace(facts["m3"], units={**facts["m3"].units, HAPROXY: masked})
    (change,) = plan_of(of, facts).changes
    assert change.unmask == (HAPROXY,)


def test_files_written_but_never_taken_by_the_service_are_found() -> None:
    """A kill -9 between the write and the reload leaves files as wanted and an old process."""
    of = cluster()
    facts = settled(of)
    stale = text_file(paths.APPLIED, f"# Written by kubeha\n{HAPROXY} 0000\n{KEEPALIVED} 0000\n")
    facts["m2"] = replace(facts["m2"], files={**facts["m2"].files, paths.APPLIED: stale})
    (change,) = plan_of(of, facts).changes
    assert change.service(HAPROXY).reaction is Reaction.RESTART
    assert [file.path for file in change.files] == [paths.APPLIED]


@pytest.mark.parametrize("what", ["content", "mode", "owner"])
def test_drift_of_a_file_is_put_right(what: str) -> None:
    of = cluster()
    facts = settled(of)
    state = facts["m2"].files[paths.HOLDER_SCRIPT]
    drifted = {
        "content": replace(state, content="#!/bin/sh\n", sha256="0" * 64),
        "mode": replace(state, mode=0o777),
        "owner": replace(state, owner="nobody"),
    }[what]
    facts["m2"] = replace(facts["m2"], files={**facts["m2"].files, state.path: drifted})
    (change,) = plan_of(of, facts).changes
    assert [file.path for file in change.files if file.path != paths.APPLIED] == [state.path]


def test_a_foreign_file_is_kept_and_ours_is_not() -> None:
    of = cluster()
    facts = fresh(of)
    foreign = text_file(paths.HAPROXY_CONFIG, "global\n    daemon\n")
    facts["m1"] = replace(facts["m1"], files={**facts["m1"].files, foreign.path: foreign})
    changes = {file.path: file for file in plan_of(of, facts).changes[0].files}
    assert changes[paths.HAPROXY_CONFIG].keep
    assert not changes[paths.KEEPALIVED_CONFIG].keep


def test_the_plan_does_not_depend_on_who_was_seen_first() -> None:
    of = cluster()
    facts = settled(cluster(api_port=7443))
    backwards = dict(reversed(facts.items()))
    assert plan_of(of, facts) == plan_of(of, backwards)


def test_the_vrid_that_is_deployed_wins_over_the_derived_one() -> None:
    of = cluster()
    given = of.model_copy(update={"vrrp": of.vrrp.model_copy(update={"vrid": 77})})
    facts = settled(given)
    desired = wanted(World(of, facts))
    text = next(f.content for f in desired["m2"].files if f.path == paths.KEEPALIVED_CONFIG)
    assert "virtual_router_id 77" in text
    assert plan_of(of, facts).empty


def test_a_node_without_an_interface_for_the_vip_gets_no_files() -> None:
    of = cluster()
    facts = fresh(of)
    facts["m2"] = replace(facts["m2"], addresses=addresses("192.0.2.12"))
    assert set(wanted(World(of, facts))) == {"m1", "m3"}


def test_the_vip_alone_does_not_make_an_interface_the_right_one() -> None:
    facts = bare("m1", "192.0.2.11")
    facts = replace(facts, addresses=addresses("192.0.2.11", f"{VIP}/32"))
    assert facts.interface_for(cluster().endpoint.vip) is None
    assert facts.holds(cluster().endpoint.vip)


def test_missing_and_unread_files_are_both_written() -> None:
    of = cluster()
    facts = settled(of)
    files = {**facts["m1"].files, paths.TMPFILES: missing(paths.TMPFILES)}
    del files[paths.KEEPALIVED_ENV]
    facts["m1"] = replace(facts["m1"], files=files)
    (change,) = plan_of(of, facts).changes
    assert {paths.TMPFILES, paths.KEEPALIVED_ENV} <= {file.path for file in change.files}
