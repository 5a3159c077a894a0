"""The VIP, its subnet, the interfaces and the ports."""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.world import World


def vip_taken(world: World) -> Iterator[Finding]:
    """The VIP answers on the wire although none of our nodes has it."""
    lost = {node.name for node in world.unreachable}
    if world.holders or lost & {node.name for node in world.cluster.load_balancer_nodes}:
        # Then the answer may be our own holder's; its MAC address is not known.
        return
    for mac, nodes in sorted(world.heard().items()):
        yield kinds.VIP_TAKEN.at(
            "",
            f"{world.cluster.endpoint.vip} is in use by a machine with the MAC address {mac}",
            "choose a free VIP, or take the address away from that machine",
            f"it answered {', '.join(sorted(nodes))}",
        )


def vip_subnet(world: World) -> Iterator[Finding]:
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        node = next(n for n in world.cluster.load_balancer_nodes if n.name == facts.name)
        named = world.cluster.interface_of(node)
        if named or facts.addresses is None or facts.interface_for(vip):
            continue
        own = ", ".join(
            f"{seen.interface} {seen.address}"
            for seen in facts.addresses
            if not seen.address.ip.is_loopback and not seen.address.ip.is_link_local
        )
        yield kinds.VIP_NOT_ON_SUBNET.at(
            facts.name,
            f"no interface has an address in the subnet of the VIP {vip}",
            "choose a VIP in the nodes' subnet, or name the interface in the cluster file",
            own,
        )


def named_interface(world: World) -> Iterator[Finding]:
    """An interface named in the cluster file has to be there, with an address."""
    for facts in world.load_balancers:
        node = next(n for n in world.cluster.load_balancer_nodes if n.name == facts.name)
        named = world.cluster.interface_of(node)
        present = {seen.interface for seen in facts.addresses or ()}
        if named and facts.addresses is not None and named not in present:
            yield kinds.VIP_NOT_ON_SUBNET.at(
                facts.name,
                f"the interface {named} of the cluster file is not there or has no address",
                f"correct 'interface' for {facts.name}",
                ", ".join(sorted(present)),
            )


def port_taken(world: World) -> Iterator[Finding]:
    port = world.cluster.endpoint.port
    for facts in world.load_balancers:
        for listener in facts.listeners or ():
            ours = "haproxy.service" in facts.units and facts.units["haproxy.service"].active
            if listener.port == port and not (ours and listener.program == "haproxy"):
                yield kinds.PORT_TAKEN.at(
                    facts.name,
                    f"port {port} is in use by {listener.program or 'a program'},"
                    " which haproxy.service did not start",
                    "stop it there (a container?), or choose another endpoint.port",
                    f"{listener.address}:{listener.port} {listener.program}",
                )
