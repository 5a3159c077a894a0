"""What would make an apply fail or do harm, found before anything is touched."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from kubeha.checks import (
    automation,
    certificates,
    clock,
    control_plane,
    deployed,
    etcd,
    few_nodes,
    firewall,
    kernel,
    machine,
    network,
    passage,
    rivals,
    software,
    timers,
    wire,
)
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.world import World


def unreachable(world: World) -> Iterator[Finding]:
    for node in world.unreachable:
        yield kinds.UNREACHABLE.at(node.name, node.reason, node.hint or "make it reachable")


CHECKS: tuple[Callable[[World], Iterator[Finding]], ...] = (
    few_nodes.single_nodes,
    timers.short_interval,
    unreachable,
    machine.no_systemd,
    machine.packages,
    machine.foreign_files,
    machine.unreadable,
    machine.masked,
    machine.disk,
    machine.read_only,
    software.too_old,
    software.package_source,
    software.apt_busy,
    software.selinux,
    deployed.stale_vip,
    deployed.two_holders,
    deployed.router_change,
    deployed.left_behind,
    network.vip_taken,
    network.vip_subnet,
    network.named_interface,
    network.wrong_interface,
    clock.clock_off,
    network.address_taken,
    network.shared_segment,
    network.port_taken,
    rivals.api_port_taken,
    rivals.other_managers,
    rivals.fixed_vip,
    rivals.other_routers,
    rivals.second_keepalived,
    firewall.endpoint_port,
    firewall.api_port,
    firewall.vrrp,
    kernel.reverse_path,
    kernel.muted_vip,
    kernel.file_descriptors,
    automation.unattended_upgrades,
    automation.needrestart,
    wire.vrid_taken,
    wire.vip_advertised,
    wire.other_routers,
    wire.not_listened,
    passage.vrrp_blocked,
    passage.large_lost,
    passage.mtu_differs,
    passage.api_blocked,
    passage.untried,
    certificates.cluster_ca,
    certificates.served,
    control_plane.anonymous_readyz,
    control_plane.api_server_flags,
    control_plane.leader_election,
    control_plane.controllers_run,
    etcd.etcd,
    control_plane.kubeconfigs,
)


# Errors of a control plane behind the endpoint which no apply depends on: whoever mends the
# endpoint in an outage must not be refused for them. verify calls them errors.
BEHIND_THE_ENDPOINT = {kinds.NO_ELECTION.code, kinds.ETCD_NO_LEADER.code, kinds.ETCD_ALARM.code}


def preflight(world: World) -> tuple[Finding, ...]:
    """Every finding that speaks against an apply, in the order of the checks."""
    return tuple(_as_preflight(finding) for check in CHECKS for finding in check(world))


def _as_preflight(finding: Finding) -> Finding:
    if finding.code in BEHIND_THE_ENDPOINT:
        return replace(finding, severity=Severity.WARNING)
    return finding
