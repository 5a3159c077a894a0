"""What has to be seen before a rollout goes on. Pure: each answers why not, or None."""

from collections.abc import Mapping

from kubeha import haproxy, keepalived
from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.model import Cluster
from kubeha.plan import GUARD, HAPROXY, KEEPALIVED

# What HAProxy says of a check that has passed; INI, while none has, does not count.
PASSED = ("L4OK", "L6OK", "L7OK")
TAKES_PART = ("MASTER", "BACKUP")


def haproxy_serves(seen: Observed, before: NodeFacts, renewed: bool) -> str | None:
    """HAProxy is active and answers; after a change, a new worker that has found an API server.

    Without the last two, the old worker would answer while the new one fails, and settings with
    which no API server can be reached would be rolled out everywhere.
    """
    if isinstance(seen, Unreachable):
        return seen.reason
    unit = seen.units.get(HAPROXY)
    if unit is None or not unit.active:
        return f"haproxy.service is {unit.active_state if unit else 'not there'}"
    if seen.haproxy_info is None:
        return "HAProxy does not answer on its admin socket"
    if renewed and before.haproxy_info is not None:
        pid = haproxy.parse_info(seen.haproxy_info).get("Pid")
        if pid == haproxy.parse_info(before.haproxy_info).get("Pid"):
            return "the old HAProxy worker still answers"
    if has_ready_server(before) and not has_ready_server(seen):
        return "HAProxy has found no API server ready with its new settings"
    return None


def has_ready_server(facts: NodeFacts) -> bool:
    """Has a check of an API server passed in this HAProxy?"""
    servers = haproxy.api_servers(facts.haproxy_stat or "")
    return any(server.up and server.check_status in PASSED for server in servers)


def keepalived_takes_part(seen: Observed, before: NodeFacts, renewed: bool) -> str | None:
    """keepalived is active and neither in FAULT nor mute; after a restart, a new instance."""
    if isinstance(seen, Unreachable):
        return seen.reason
    unit = seen.units.get(KEEPALIVED)
    if unit is None or not unit.active:
        return f"keepalived.service is {unit.active_state if unit else 'not there'}"
    was = before.units.get(KEEPALIVED)
    if renewed and was is not None and was.active and was.invocation_id == unit.invocation_id:
        return "the old keepalived still runs"
    said = keepalived.parse_state(seen.keepalived_json or "")
    if said is None:
        return "keepalived does not tell its state"
    if said.state not in TAKES_PART:
        aside = seen.stepped_aside
        return f"keepalived is in {said.state}" + (f", for {aside.text}" if aside else "")
    return None


def guard_runs(seen: Observed, before: NodeFacts, renewed: bool) -> str | None:
    """The guard is active, which it is only once it listens; after a restart, a new instance."""
    if isinstance(seen, Unreachable):
        return seen.reason
    unit = seen.units.get(GUARD)
    if unit is None or not unit.active:
        return f"{GUARD} is {unit.active_state if unit else 'not there'}"
    was = before.units.get(GUARD)
    if renewed and was is not None and was.active and was.invocation_id == unit.invocation_id:
        return "the old guard still runs"
    return None


def vip_is_held(cluster: Cluster, expected: str | None, seen: Mapping[str, Observed]) -> str | None:
    """Exactly one node holds the VIP, seen on the interfaces of all; `expected`: that one."""
    vip = cluster.endpoint.vip
    holders, blind = [], []
    for name, facts in seen.items():
        holds = None if isinstance(facts, Unreachable) else facts.holds(vip)
        if holds is None:
            blind.append(name)
        elif holds:
            holders.append(name)
    if len(holders) > 1 or (not holders and not blind):
        return f"the VIP {vip} is held by {' and '.join(holders) or 'no node'}"
    if blind:
        return f"{' and '.join(blind)} cannot be asked who holds the VIP {vip}"
    if expected is not None and holders != [expected]:
        return f"the VIP {vip} is held by {holders[0]}, not by {expected}"
    return None


def can_keep_the_vip(facts: NodeFacts) -> bool:
    """Is this holder well? One that is drained or sick may lose the VIP to any node that starts."""
    unit = facts.units.get(HAPROXY)
    said = keepalived.parse_state(facts.keepalived_json or "")
    healthy = unit is not None and unit.active and facts.haproxy_info is not None
    return healthy and not facts.drained and said is not None and said.state == "MASTER"


def vip_answers(cluster: Cluster, answers: Mapping[str, tuple[str, ...] | None]) -> str | None:
    """The VIP is on the wire: other nodes hear one MAC address answer for it."""
    vip = cluster.endpoint.vip
    heard = {node: macs for node, macs in answers.items() if macs is not None}
    if not heard and len(cluster.load_balancer_nodes) > 1:
        return f"no other node could ask who answers for {vip}"
    silent = sorted(node for node, macs in heard.items() if not macs)
    if silent:
        return f"{vip} does not answer ARP or NDP when asked from {silent[0]}"
    voices = sorted({mac for macs in heard.values() for mac in macs})
    if len(voices) > 1:
        return f"{vip} is answered by more than one MAC: {', '.join(voices)}"
    return None
