"""Would a host firewall drop what the endpoint lives on, and by which rule?

What was measured on the wire (checks/passage) has its own finding, which names the rule as well.
Here is what was not: the endpoint's port before anything listens there, and what passes now only
because the firewall remembers an earlier packet, and will not after ten minutes of silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import NodeFacts
from kubeha.facts.packet_filter import TCP, VRRP, Drop, Packet, dropped
from kubeha.model import IPAddress, Node
from kubeha.world import World

LEAVING = ("output", "postrouting")
# RFC 9568, sections 5.1.1.2 and 5.1.2.2: where multicast advertisements go.
GROUPS = {4: ip_address("224.0.0.18"), 6: ip_address("ff02::12")}


def endpoint_port(world: World) -> Iterator[Finding]:
    """Everybody else's connections to the VIP on each load balancer node."""
    vip, port = world.cluster.endpoint.vip, world.cluster.endpoint.port
    for node in world.cluster.load_balancer_nodes:
        others = _others((*world.cluster.nodes, *world.cluster.clients), node)
        drops = [(o.name, drop) for o in others if (drop := tcp_rule(world, o, node, vip, port))]
        yield from _filtered(node, f"the endpoint's port {port}", drops, port)


def api_port(world: World) -> Iterator[Finding]:
    """Load balancer nodes' connections to API servers, where they could not be tried."""
    port = world.cluster.api_port
    for node in world.cluster.control_plane:
        others = [
            other
            for other in _others(world.cluster.load_balancer_nodes, node)
            if (other.name, node.name) not in world.connections
        ]
        drops = [(o.name, drop) for o in others if (drop := api_rule(world, o.name, node.name))]
        yield from _filtered(node, f"the API server's port {port}", drops, port)


def _filtered(
    node: Node, where: str, drops: Sequence[tuple[str, Drop]], port: int
) -> Iterator[Finding]:
    """One finding for all whose connections the node drops: their names, and the rule that does."""
    if drops:
        rule = drops[0][1]
        names = ", ".join(name for name, _ in drops)
        yield kinds.PORT_FILTERED.at(
            node.name,
            f"the firewall drops connections to {where} from {names}",
            opening(rule, port),
            str(rule),
        )


def vrrp(world: World) -> Iterator[Finding]:
    """Protocol 112 between load balancer nodes, where it was not seen to be blocked."""
    for node in world.cluster.load_balancer_nodes:
        drops: list[tuple[str, Drop]] = []
        passes = False
        for other in _others(world.cluster.load_balancer_nodes, node):
            passage = world.passages.get((other.name, node.name))
            if passage is not None and passage.small is False:
                continue
            if drop := vrrp_rule(world, other.name, node.name):
                drops.append((other.name, drop))
                passes = passes or (passage is not None and bool(passage.small))
        if drops:
            names = " and ".join(name for name, _ in drops)
            found = kinds.VRRP_FILTERED.at(
                node.name,
                f"the firewall drops VRRP (protocol 112) from {names}"
                + (" unless it remembers an earlier packet" if passes else "")
                + ": two nodes would hold the VIP",
                opening_vrrp(drops[0][1], [o.address for o in _others_named(world, drops)]),
                str(drops[0][1]),
            )
            yield replace(found, severity=Severity.WARNING) if passes else found


def vrrp_rule(world: World, sender: str, receiver: str) -> Drop | None:
    """The rule, on either of the two, that drops advertisements; None: none that is sure to."""
    nodes = {node.name: node for node in world.cluster.load_balancer_nodes}
    source, target = nodes.get(sender), nodes.get(receiver)
    if source is None or target is None:
        return None
    unicast = world.cluster.vrrp.mode == "unicast"
    to = target.address if unicast else GROUPS[source.address.version]
    packet = Packet(VRRP, source.address, to, None, None)
    arriving = _dropped(world, target, packet)
    return arriving or _dropped(world, source, replace(packet, hooks=LEAVING))


def api_rule(world: World, sender: str, receiver: str) -> Drop | None:
    """The rule of the receiver that drops connections to its API server."""
    nodes = {node.name: node for node in world.cluster.nodes}
    source, target = nodes.get(sender), nodes.get(receiver)
    if source is None or target is None:
        return None
    return tcp_rule(world, source, target, target.address, world.cluster.api_port)


def tcp_rule(world: World, source: Node, node: Node, to: IPAddress, port: int) -> Drop | None:
    """The rule of `node` that drops connections from `source` to an address of its own."""
    if source.address.version != to.version:
        return None
    return _dropped(world, node, Packet(TCP, source.address, to, port, None))


def _dropped(world: World, node: Node, packet: Packet) -> Drop | None:
    facts = world.nodes.get(node.name)
    if not isinstance(facts, NodeFacts) or facts.machine is None:
        return None
    through = replace(packet, interface=_interface(world, node, facts))
    return dropped(facts.machine.tables or (), through)


def _interface(world: World, node: Node, facts: NodeFacts) -> str | None:
    """The interface of the node's own address: what comes from the other nodes comes there."""
    for seen in facts.addresses or ():
        if seen.address.ip == node.address:
            return seen.interface
    return world.cluster.interface_of(node)


def _others(nodes: tuple[Node, ...], node: Node) -> list[Node]:
    return [each for each in nodes if each.name != node.name]


def _others_named(world: World, drops: list[tuple[str, Drop]]) -> list[Node]:
    names = {name for name, _ in drops}
    return [node for node in world.cluster.load_balancer_nodes if node.name in names]


def opening(drop: Drop, port: int) -> str:
    """How to open a TCP port in the firewall that closes it, in its own words."""
    if drop.table == "firewalld":
        return (
            f"firewall-cmd --permanent --add-port={port}/tcp && firewall-cmd --reload (with"
            " --zone=ZONE, if the interface is not in the default zone)"
        )
    if drop.by_ufw:
        return f"ufw allow {port}/tcp"
    return _by_hand(drop, f"tcp dport {port}", f"-p tcp --dport {port}")


def opening_vrrp(drop: Drop, sources: Sequence[IPAddress | str]) -> str:
    """How to let protocol 112 in from these addresses, in the words of the firewall."""
    if drop.table == "firewalld":
        return "firewall-cmd --permanent --add-protocol=vrrp && firewall-cmd --reload"
    if drop.by_ufw:
        return " && ".join(f"ufw allow proto vrrp from {source}" for source in sources)
    return _by_hand(drop, "meta l4proto 112", "-p 112")


def _by_hand(drop: Drop, nft: str, iptables: str) -> str:
    if drop.program == "nft":
        where = f"{drop.family} {drop.table} {drop.base}"
        return f"nft insert rule {where} {nft} accept, and the same in /etc/nftables.conf"
    return f"{drop.program} -I {drop.base} {iptables} -j ACCEPT, and make it permanent"
