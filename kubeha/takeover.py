"""A VIP that runs already, by a keepalived.conf of somebody else's: how kubeha takes it over. Pure.

Their virtual router and ours would not understand each other: changed node by node, one of theirs
and one of ours would hold the VIP at once. So theirs is stopped everywhere just before the first
of ours starts. That interrupts the endpoint for some seconds, once.
"""

from collections.abc import Mapping
from dataclasses import replace

from kubeha import keepalived, paths
from kubeha.facts import NodeFacts, Observed
from kubeha.model import Cluster
from kubeha.world import is_ours

KEEPALIVED = "keepalived.service"


def taken_over(cluster: Cluster, facts: Mapping[str, Observed]) -> tuple[str, ...]:
    """Load balancer nodes where a keepalived that kubeha did not set up runs with the VIP."""
    names = (node.name for node in cluster.load_balancer_nodes)
    return tuple(name for name in names if _theirs(cluster, facts.get(name)))


def _theirs(cluster: Cluster, facts: Observed | None) -> bool:
    if not isinstance(facts, NodeFacts):
        return False
    unit, text = facts.units.get(KEEPALIVED), facts.text_of(paths.KEEPALIVED_CONFIG)
    if unit is None or not unit.active or text is None or is_ours(text):
        return False
    # Of what a file includes, only the running program tells.
    running = keepalived.parse_states(facts.keepalived_json or "") or ()
    carried = {*keepalived.virtual_addresses(text), *(vip for one in running for vip in one.vips)}
    return cluster.endpoint.vip in carried


def stopped(cluster: Cluster, facts: NodeFacts) -> NodeFacts:
    """The node as it will be once its keepalived is stopped: that takes its VIP along."""
    unit = replace(facts.units[KEEPALIVED], active_state="inactive", sub_state="dead")
    own = facts.addresses
    if own is not None:
        own = tuple(one for one in own if one.address.ip != cluster.endpoint.vip)
    units = {**facts.units, KEEPALIVED: unit}
    return replace(facts, units=units, addresses=own, keepalived_json=None)


def after_takeover(
    cluster: Cluster, facts: Mapping[str, NodeFacts]
) -> tuple[tuple[str, ...], dict[str, NodeFacts]]:
    """Who is taken over, and all nodes as they are once that has been done."""
    over = taken_over(cluster, facts)
    after = {n: stopped(cluster, seen) if n in over else seen for n, seen in facts.items()}
    return over, after
