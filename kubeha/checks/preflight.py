"""What would make an apply fail or do harm, found before anything is touched."""

from collections.abc import Callable, Iterator

from kubeha.checks import certificates, deployed, machine, network
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.world import World


def unreachable(world: World) -> Iterator[Finding]:
    for node in world.unreachable:
        yield kinds.UNREACHABLE.at(node.name, node.reason, node.hint or "make it reachable")


CHECKS: tuple[Callable[[World], Iterator[Finding]], ...] = (
    unreachable,
    machine.no_systemd,
    machine.packages,
    machine.foreign_files,
    machine.unreadable,
    machine.masked,
    machine.disk,
    machine.read_only,
    deployed.stale_vip,
    deployed.two_holders,
    deployed.router_change,
    deployed.left_behind,
    network.vip_taken,
    network.vip_subnet,
    network.named_interface,
    network.port_taken,
    certificates.cluster_ca,
)


def preflight(world: World) -> tuple[Finding, ...]:
    """Every finding that speaks against an apply, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(world))
