"""Does what already runs allow a change: holders, peers, the virtual router itself?"""

from collections.abc import Iterator
from dataclasses import replace

from kubeha import keepalived, paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import Unreachable
from kubeha.world import World, is_ours


def stale_vip(world: World) -> Iterator[Finding]:
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        unit = facts.units.get("keepalived.service")
        if unit is not None and unit.active:
            continue
        for seen in facts.addresses or ():
            if seen.address.ip == vip:
                yield kinds.STALE_VIP.at(
                    facts.name,
                    f"{vip} is on {seen.interface}, but keepalived does not run there",
                    f"if nothing else manages it: ip address del {seen.address} dev"
                    f" {seen.interface}",
                )


def two_holders(world: World) -> Iterator[Finding]:
    """With two holders there is no order in which a change could be made."""
    if len(world.holders) > 1:
        yield kinds.TWO_HOLDERS.at(
            "",
            f"{world.cluster.endpoint.vip} is on {' and '.join(world.holders)} at once",
            "see what is wrong with kubeha verify; mend that first",
        )


def left_behind(world: World) -> Iterator[Finding]:
    """Once the others have forgotten it, it hears nothing and takes the VIP as well."""
    for address, seen in world.strangers.items():
        if isinstance(seen, Unreachable):
            found = kinds.LEFT_BEHIND.at(
                "",
                f"{address} is still a peer, is not in the cluster file, and cannot be asked:"
                f" {seen.reason}",
                "if it ever comes back, first there:"
                " systemctl disable --now keepalived haproxy kubeha-guard",
            )
            yield replace(found, severity=Severity.WARNING)
        elif (unit := seen.units.get("keepalived.service")) and unit.active:
            yield kinds.LEFT_BEHIND.at(
                "",
                f"{address} is not in the cluster file any more, but its keepalived runs",
                f"on {address}: systemctl disable --now keepalived haproxy kubeha-guard",
            )


def router_change(world: World) -> Iterator[Finding]:
    """Changed node by node, the nodes would not understand each other: two holders, or none."""
    cluster = world.cluster
    several = len(cluster.load_balancer_nodes) > 1
    for facts in world.load_balancers:
        text = facts.text_of(paths.KEEPALIVED_CONFIG)
        unit = facts.units.get("keepalived.service")
        if text is None or not is_ours(text) or unit is None or not unit.active:
            continue
        now = keepalived.identity(text)
        vips = keepalived.virtual_addresses(text)
        unicast = cluster.vrrp.mode == "unicast" and several
        changes = [
            f"vrrp.vrid {now.vrid} -> {cluster.vrrp.vrid}"
            if cluster.vrrp.vrid not in (None, now.vrid) else "",
            f"endpoint.vip {vips[0]} -> {cluster.endpoint.vip}"
            if vips and cluster.endpoint.vip not in vips else "",
            f"{'unicast' if now.unicast else 'multicast'} -> {'uni' if unicast else 'multi'}cast"
            if now.unicast != unicast else "",
        ]  # fmt: skip
        if words := ", ".join(change for change in changes if change):
            yield kinds.ROUTER_CHANGE.at(
                facts.name,
                f"{words}: changed node by node, two nodes would hold a VIP, or none",
                "take the value back; or plan an interruption: systemctl stop keepalived on every"
                " load balancer node, then kubeha apply",
                f"{paths.KEEPALIVED_CONFIG} there",
            )
