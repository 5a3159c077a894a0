"""Would a host firewall drop what the endpoint lives on?"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.facts import NodeFacts
from kubeha.facts.packet_filter import TCP, VRRP, Drop, Packet, dropped
from kubeha.model import IPAddress, Node
from kubeha.world import World

LEAVING = ("output", "postrouting")
# RFC 9568, section 5.1.1.2: where multicast advertisements go.
GROUPS = {4: ip_address("224.0.0.18"), 6: ip_address("ff02::12")}


def ports(world: World) -> Iterator[Finding]:
    """TCP to the endpoint on load balancer nodes, and to the API servers from them."""
    cluster = world.cluster
    for node in cluster.load_balancer_nodes:
        others = [each for each in (*cluster.nodes, *cluster.clients) if each.name != node.name]
        what = f"the endpoint's port {cluster.endpoint.port}"
        yield from _tcp(world, node, others, cluster.endpoint.vip, cluster.endpoint.port, what)
    for node in cluster.control_plane:
        others = [each for each in cluster.load_balancer_nodes if each.name != node.name]
        what = f"the API server's port {cluster.api_port}"
        yield from _tcp(world, node, others, node.address, cluster.api_port, what)


def _tcp(
    world: World, node: Node, others: list[Node], to: IPAddress, port: int, what: str
) -> Iterator[Finding]:
    found = _from(world, node, others, Packet(TCP, to, to, port, None))
    if found is not None:
        drop, names = found
        yield kinds.PORT_FILTERED.at(
            node.name,
            f"the firewall drops connections to {what} from {names}",
            _opening(drop, f"tcp dport {port}", f"-p tcp --dport {port}", f"{port}/tcp"),
            str(drop),
        )


def vrrp(world: World) -> Iterator[Finding]:
    """Protocol 112, in from every other load balancer node and out to them."""
    cluster = world.cluster
    for node in cluster.load_balancer_nodes:
        others = [each for each in cluster.load_balancer_nodes if each.name != node.name]
        unicast = cluster.vrrp.mode == "unicast"
        group = GROUPS[node.address.version]
        arriving = Packet(VRRP, node.address, node.address if unicast else group, None, None)
        found = _from(world, node, others, arriving)
        way = "from"
        if found is None:
            found, way = _out(world, node, others if unicast else [], group), "to"
        if found is not None:
            drop, names = found
            yield kinds.VRRP_FILTERED.at(
                node.name,
                f"the firewall drops VRRP (protocol 112) {way} {names or 'anybody'}: two nodes"
                " would hold the VIP",
                _opening_vrrp(drop, others),
                str(drop),
            )


def _from(world: World, node: Node, others: list[Node], packet: Packet) -> tuple[Drop, str] | None:
    """The rule that drops this packet when it comes from some of the others, and their names."""
    facts = world.nodes.get(node.name)
    if not isinstance(facts, NodeFacts) or facts.machine is None or facts.machine.tables is None:
        return None
    arriving = replace(packet, interface=_interface(world, node, facts))
    drops = [
        (drop, other.name)
        for other in others
        if other.address.version == packet.destination.version
        and (drop := dropped(facts.machine.tables, replace(arriving, source=other.address)))
    ]
    return (drops[0][0], ", ".join(name for _, name in drops)) if drops else None


def _out(world: World, node: Node, others: list[Node], group: IPAddress) -> tuple[Drop, str] | None:
    facts = world.nodes.get(node.name)
    if not isinstance(facts, NodeFacts) or facts.machine is None or facts.machine.tables is None:
        return None
    interface = _interface(world, node, facts)
    for to, name in [(other.address, other.name) for other in others] or [(group, "")]:
        packet = Packet(VRRP, node.address, to, None, interface, LEAVING)
        if drop := dropped(facts.machine.tables, packet):
            return drop, name
    return None


def _interface(world: World, node: Node, facts: NodeFacts) -> str | None:
    """The interface of the node's own address: what comes from the other nodes comes there."""
    for seen in facts.addresses or ():
        if seen.address.ip == node.address:
            return seen.interface
    return world.cluster.interface_of(node)


def _opening(drop: Drop, nft: str, iptables: str, firewalld: str) -> str:
    """How to open a port in the firewall that closes it, in its own words."""
    if drop.table == "firewalld":
        return (
            f"firewall-cmd --permanent --add-port={firewalld} && firewall-cmd --reload"
            " (with --zone of the interface, if it is not in the default zone)"
        )
    if drop.by_ufw:
        return f"ufw allow {firewalld}"
    if drop.program == "nft":
        where = f"{drop.family} {drop.table} {drop.chain}"
        return f"nft insert rule {where} {nft} accept; and the same in /etc/nftables.conf"
    chain = "OUTPUT" if drop.chain == "OUTPUT" else "INPUT"
    return f"{drop.program} -I {chain} {iptables} -j ACCEPT; and make it permanent"


def _opening_vrrp(drop: Drop, others: list[Node]) -> str:
    if drop.table == "firewalld":
        return "firewall-cmd --permanent --add-protocol=vrrp && firewall-cmd --reload"
    if drop.by_ufw:
        each = (f"ufw allow proto vrrp from {other.address}" for other in others)
        return " && ".join(each)
    return _opening(drop, "meta l4proto 112", "-p 112", "")
