"""Plans over generated clusters and states: they converge, and depend on nothing by chance."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from worlds import bare, cluster, deployed, file_state, missing, unit

from kubeha.facts import NodeFacts
from kubeha.model import Cluster
from kubeha.plan import NodeChange, make_plan, newcomers, wanted
from kubeha.world import World

VIP = "198.51.100.10"


@st.composite
def sites(draw: st.DrawFn) -> tuple[Cluster, dict[str, NodeFacts]]:
    """A cluster of 2 to 7 nodes, each bare, as wanted, or with some of its files and units off."""
    of = cluster(draw(st.integers(2, 7)), api_port=draw(st.sampled_from([6443, 7443])))
    bares = {node.name: bare(node.name, str(node.address)) for node in of.control_plane}
    desired = wanted(World(of, bares))
    facts = {}
    for name, seen in bares.items():
        if draw(st.booleans()):
            facts[name] = seen
            continue
        facts[name] = deployed(desired[name], seen)
        for file in draw(st.lists(st.sampled_from(desired[name].files), max_size=3)):
            state = draw(st.sampled_from([missing(file.path), edited(file)]))
            files = {**facts[name].files, file.path: state}
            facts[name] = replace(facts[name], files=files)
        if draw(st.booleans()):
            off = unit(draw(st.sampled_from(desired[name].units)), active=False, state="disabled")
            facts[name] = replace(facts[name], units={**facts[name].units, off.name: off})
    running = [name for name, seen in facts.items() if seen.units]
    if running and draw(st.booleans()):
        holder = draw(st.sampled_from(running))
        own = facts[holder]
        facts[holder] = replace(own, addresses=deployed(desired[holder], own, holds=VIP).addresses)
    return of, facts


def edited(file):
    return replace(file_state(file), content="# by hand\n", sha256="0" * 64)


def carried_out(change: NodeChange, facts: NodeFacts) -> NodeFacts:
    """The node after its change, with nothing done but what the change says."""
    files = {**facts.files, **{file.path: file_state(file.after) for file in change.files}}
    packages = {**facts.packages, **{name: "1.0" for name in change.install}}
    units = dict(facts.units)
    for service in change.services:
        was = units.get(service.unit) or unit(service.unit, active=False, state="disabled")
        state = "enabled" if service.enable else was.unit_file_state
        units[service.unit] = unit(
            service.unit, active=was.active or service.reaction == "start", state=state
        )
    return replace(facts, files=files, packages=packages, units=units)


@given(sites())
def test_after_a_plan_is_carried_out_the_next_one_is_empty(site) -> None:
    of, facts = site
    desired = wanted(World(of, facts))
    plan = make_plan(of, desired, facts)
    after = dict(facts)
    for change in plan.changes:
        after[change.node] = carried_out(change, after[change.node])
    assert make_plan(of, wanted(World(of, after)), after).empty


@given(sites())
def test_from_every_prefix_a_new_plan_leads_to_the_same_end(site) -> None:
    of, facts = site
    desired = wanted(World(of, facts))
    changes = make_plan(of, desired, facts).changes
    whole = {c.node: carried_out(c, facts[c.node]) for c in changes}
    state = dict(facts)
    for change in changes:
        state[change.node] = carried_out(change, state[change.node])
        rest = make_plan(of, wanted(World(of, state)), state)
        end = {**state, **{c.node: carried_out(c, state[c.node]) for c in rest.changes}}
        assert end == {**facts, **whole}


@given(sites(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_observation(site, random) -> None:
    of, facts = site
    names = list(facts)
    random.shuffle(names)
    shuffled = {name: facts[name] for name in names}
    assert make_plan(of, wanted(World(of, shuffled)), shuffled) == make_plan(
        of, wanted(World(of, facts)), facts
    )


@given(sites())
def test_the_holder_is_the_last_of_those_that_run_and_nobody_comes_twice(site) -> None:
    of, facts = site
    plan = make_plan(of, wanted(World(of, facts)), facts)
    nodes = [change.node for change in plan.changes]
    assert len(nodes) == len(set(nodes))
    old = [name for name in nodes if name not in newcomers(of, facts)]
    if plan.holder in old:
        assert old[-1] == plan.holder
    assert nodes == [*old, *(name for name in nodes if name not in old)] or plan.first
