"""Is it really highly available now? Judged from interfaces and answers, not from anyone's word.

The checks of a running endpoint, in the order in which they are told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from kubeha import keepalived
from kubeha.checks import (
    automation,
    certificates,
    clock,
    control_plane,
    diagnosis,
    etcd,
    firewall,
    holder,
    kernel,
    network,
    passage,
    preflight,
    rivals,
    serving,
    software,
    wire,
)
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.checks.serving import alive
from kubeha.facts import NodeFacts
from kubeha.model import IPAddress
from kubeha.world import API_READYZ, World


def enough_left(world: World) -> Iterator[Finding]:
    """Highly available is what survives the next loss."""
    vip = world.cluster.endpoint.vip
    able = [facts.name for facts in world.load_balancers if can_take_the_vip(facts, vip)]
    if world.holders and len(able) < 2 <= len(world.cluster.load_balancer_nodes):
        yield kinds.FEW_BALANCERS.at(
            "",
            f"only {' and '.join(able) or 'no node'} can take the VIP: the next loss is an outage",
            "bring the others back: see the findings on them; of a drained node: kubeha undrain",
        )
    ready = [f.name for f in world.control_plane if alive(f.fetched.get(API_READYZ))]
    if ready and len(ready) < 2 <= len(world.cluster.control_plane):
        yield kinds.FEW_API_SERVERS.at(
            "",
            f"only the API server on {ready[0]} is ready: its loss is an outage",
            "bring the others back: see the findings on them",
        )


def can_take_the_vip(facts: NodeFacts, vip: IPAddress) -> bool:
    """HAProxy answers, keepalived takes part, and nobody has drained the node."""
    said = keepalived.parse_state(facts.keepalived_json or "", vip)
    taking_part = said is not None and said.state in ("MASTER", "BACKUP")
    return taking_part and facts.haproxy_info is not None and not facts.drained


CHECKS: tuple[Callable[[World], Iterator[Finding]], ...] = (
    preflight.unreachable,
    holder.unread_interfaces,
    holder.one_holder,
    enough_left,
    holder.on_the_wire,
    network.vip_taken,
    diagnosis.disagreements,
    diagnosis.not_loaded,
    diagnosis.not_configured,
    network.shared_segment,
    diagnosis.stranger,
    diagnosis.deaf,
    diagnosis.flapping,
    holder.services,
    holder.guard,
    holder.vrrp_state,
    serving.haproxy_servers,
    serving.api_servers,
    serving.endpoint,
    certificates.cluster_ca,
    certificates.served,
)
# What needs credentials, or asks for more than a glance.
THOROUGH = (
    *CHECKS,
    clock.clock_off,
    network.address_taken,
    wire.vrid_fought_over,
    wire.vip_advertised,
    wire.not_listened,
    passage.vrrp_blocked,
    passage.large_lost,
    passage.mtu_differs,
    passage.api_blocked,
    passage.untried,
    firewall.endpoint_port,
    firewall.api_port,
    firewall.vrrp,
    kernel.reverse_path,
    kernel.muted_vip,
    kernel.file_descriptors,
    kernel.real_time,
    kernel.inotify,
    rivals.api_port_taken,
    rivals.other_managers,
    rivals.fixed_vip,
    rivals.second_keepalived,
    software.selinux,
    automation.unattended_upgrades,
    automation.needrestart,
    serving.authenticated_read,
    serving.leases,
    control_plane.api_server_flags,
    control_plane.leader_election,
    control_plane.controllers_run,
    etcd.etcd,
    control_plane.kubeconfigs,
)


def health(world: World) -> tuple[Finding, ...]:
    """Findings on the running endpoint from a glance, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(world))


def thorough(world: World) -> tuple[Finding, ...]:
    """`health`, and what was asked with credentials: a read from etcd, and who leads."""
    return tuple(finding for check in THOROUGH for finding in check(world))


def drift(changed: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """Nodes where apply would have something to do: node -> paths of files that differ."""
    return tuple(
        kinds.DRIFT.at(
            node,
            "this node is not as the cluster file says",
            "see what differs with kubeha plan, put it right with kubeha apply",
            ", ".join(paths),
        )
        for node, paths in changed.items()
    )
