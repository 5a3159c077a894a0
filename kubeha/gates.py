"""What has to be seen before a rollout goes on. Pure: each answers why not, or None."""

from collections.abc import Mapping

from kubeha import haproxy
from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.model import Cluster
from kubeha.plan import HAPROXY, KEEPALIVED, Plan


def haproxy_serves(seen: Observed, before: NodeFacts, renewed: bool) -> str | None:
    """HAProxy's unit is active, a worker answers, and after a change it is a new one.

    Without the last, the old worker would answer while the new one fails, and the gate would
    pass wrongly.
    """
    if isinstance(seen, Unreachable):
        return seen.reason
    unit = seen.units.get(HAPROXY)
    if unit is None or not unit.active:
        return f"haproxy.service is {unit.active_state if unit else 'not there'}"
    if seen.haproxy_info is None:
        return "HAProxy does not answer on its admin socket"
    pid = haproxy.parse_info(seen.haproxy_info).get("Pid")
    if renewed and before.haproxy_info is not None:
        if pid == haproxy.parse_info(before.haproxy_info).get("Pid"):
            return "the old HAProxy worker still answers"
    return None


def vip_is_held(
    cluster: Cluster, plan: Plan, node: str, seen: Mapping[str, Observed]
) -> str | None:
    """keepalived runs on the node, and exactly one node holds the VIP: the right one."""
    own = seen[node]
    if isinstance(own, Unreachable):
        return own.reason
    unit = own.units.get(KEEPALIVED)
    if unit is None or not unit.active:
        return f"keepalived.service is {unit.active_state if unit else 'not there'}"
    vip = cluster.endpoint.vip
    holders = [n for n, facts in seen.items() if isinstance(facts, NodeFacts) and facts.holds(vip)]
    if len(holders) != 1:
        return f"the VIP {vip} is held by {' and '.join(holders) or 'no node'}"
    expected = expected_holder(plan, node)
    if expected is not None and holders != [expected]:
        return f"the VIP {vip} is held by {holders[0]}, not by {expected}"
    return None


def expected_holder(plan: Plan, node: str) -> str | None:
    """Who has to hold the VIP after this node's change; None where it may be anybody.

    At first deployment it is the node that was changed first (the primary). Later a backup's
    change leaves the VIP where it was; the former holder's own change may move it.
    """
    if plan.first:
        return plan.changes[0].node
    return None if node == plan.holder else plan.holder


def vip_answers(cluster: Cluster, answers: Mapping[str, tuple[str, ...]]) -> str | None:
    """The VIP is on the wire: other nodes hear one MAC address answer for it."""
    silent = sorted(node for node, macs in answers.items() if not macs)
    if silent:
        return f"{cluster.endpoint.vip} does not answer ARP or NDP when asked from {silent[0]}"
    heard = sorted({mac for macs in answers.values() for mac in macs})
    if len(heard) > 1:
        return f"{cluster.endpoint.vip} is answered by more than one MAC: {', '.join(heard)}"
    return None
