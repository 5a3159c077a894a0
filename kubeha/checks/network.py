"""The VIP, its subnet, the interfaces and the ports."""

from collections.abc import Iterator
from dataclasses import replace

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import InterfaceAddress, NodeFacts
from kubeha.model import IPAddress, Node
from kubeha.world import World


def vip_taken(world: World) -> Iterator[Finding]:
    """The VIP is answered by a machine that is none of ours, whether one of ours has it or not.

    Nodes whose MAC addresses are not known may be behind as many answers.
    """
    unknown = [n.name for n in world.cluster.load_balancer_nodes if not world.macs_of(n.name)]
    strangers = {mac: by for mac, by in vip_answers(world).items() if not world.machine_with(mac)}
    if len(strangers) <= len(unknown):
        return
    vip = world.cluster.endpoint.vip
    beside = f", and {' and '.join(world.holders)} holds it as well" if world.holders else ""
    for mac, nodes in sorted(strangers.items()):
        yield kinds.VIP_TAKEN.at(
            "",
            f"{vip} is in use by a machine with the MAC address {mac}, which is no node's{beside}",
            "take the address away from that machine (look the MAC address up in the switch), or"
            " choose a free VIP",
            "; ".join([f"it answered {', '.join(sorted(nodes))}", *_adverts_of(world, mac)]),
        )


def vip_answers(world: World) -> dict[str, set[str]]:
    """MAC address that answers for the VIP -> the nodes that heard it, holders among them."""
    vip = str(world.cluster.endpoint.vip)
    found = {mac: set(nodes) for mac, nodes in world.heard().items()}
    for node, heard in world.neighbours.items():
        for mac in heard.get(vip, ()):
            found.setdefault(mac, set()).add(node)
    return found


def _adverts_of(world: World, mac: str) -> list[str]:
    """The virtual routers that a machine was heard with, in words, each once."""
    heard = {
        f"it speaks VRRP: VRID {one.vrid}, priority {one.priority}, from {one.source}"
        for _, one in world.heard_adverts()
        if one.mac == mac
    }
    return sorted(heard)


def address_taken(world: World) -> Iterator[Finding]:
    """Another machine answers for a node's own address: connections go now here, now there.

    Of a node that cannot be asked only the number of its answers tells: SSH may have found the
    other machine.
    """
    for node in world.cluster.nodes:
        answers = _answers_for(world, str(node.address))
        reached = isinstance(world.nodes.get(node.name), NodeFacts)
        known = world.macs_of(node.name) if reached else frozenset()
        others = [mac for mac in sorted(answers) if mac not in known]
        if reached and not known or not reached and len(others) < 2:
            continue
        for mac in others:
            yield _address_taken(world, node, mac, answers[mac])


def _address_taken(world: World, node: Node, mac: str, heard_by: set[str]) -> Finding:
    who = world.machine_with(mac)
    name = who if who and who != node.name else "a machine that is no node"
    if not isinstance(world.nodes.get(node.name), NodeFacts):
        name = "one of several machines"
    own = ", ".join(sorted(world.macs_of(node.name)))
    return kinds.ADDRESS_TAKEN.at(
        node.name,
        f"{node.address} is answered by {name} with the MAC address {mac}",
        "give the other machine another address (look the MAC address up in the switch; on a node:"
        " see ip address and proxy_arp)",
        f"heard by {', '.join(sorted(heard_by))}; {node.name} has {own}",
    )


def _answers_for(world: World, address: str) -> dict[str, set[str]]:
    """MAC address -> the nodes that heard it answer for an address."""
    found: dict[str, set[str]] = {}
    for node, heard in world.neighbours.items():
        for mac in heard.get(address, ()):
            found.setdefault(mac, set()).add(node)
    return found


def shared_segment(world: World) -> Iterator[Finding]:
    """Two interfaces in one segment: each answers ARP for the other's address (ARP flux).

    Peers then send VRRP to the interface on which keepalived does not listen: two or three nodes
    hold the VIP for good (measured). Without an answer to prove it, it is only likely.
    """
    for node in world.cluster.nodes:
        for facts in world.seen((node,)):
            both = _double_answer(world, facts, str(node.address))
            together = _in_one_subnet(facts, node.address)
            if not both and not together:
                continue
            found = kinds.SHARED_SEGMENT.at(
                facts.name,
                f"{' and '.join(both or together)} are in one segment"
                + (f" and both answer for {node.address} (ARP flux)" if both else ""),
                "take one of them out of the segment, or: sysctl -w"
                " net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and the same"
                " in /etc/sysctl.d",
                ", ".join(f"{one.interface} {one.address}" for one in _global(facts)),
            )
            yield found if both else replace(found, severity=Severity.WARNING)


def _double_answer(world: World, facts: NodeFacts, address: str) -> list[str]:
    """The interfaces of a node that one and the same neighbour heard answer for its address."""
    name_of = {link.mac: link.name for link in facts.links or () if link.ethernet}
    for node, heard in world.neighbours.items():
        names = {name_of[mac] for mac in heard.get(address, ()) if mac in name_of}
        if node != facts.name and len(names) > 1:
            return sorted(names)
    return []


def _in_one_subnet(facts: NodeFacts, address: IPAddress) -> list[str]:
    """The Ethernet interfaces with an address in the subnet of the node's own address."""
    cards = {link.name for link in facts.links or () if link.ethernet and link.up}
    networks = [one.address.network for one in _global(facts) if one.address.ip == address]
    found = {
        one.interface
        for one in _global(facts)
        if one.interface in cards and any(one.address.ip in network for network in networks)
    }
    return sorted(found) if len(found) > 1 else []


def _global(facts: NodeFacts) -> list[InterfaceAddress]:
    """Addresses with a subnet: a VIP (/32, /128) has none, loopback and link-local do not count."""
    return [
        one
        for one in facts.addresses or ()
        if one.address.network.num_addresses > 1
        and not one.address.ip.is_loopback
        and not one.address.ip.is_link_local
    ]


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


def wrong_interface(world: World) -> Iterator[Finding]:
    """Clients look for the VIP on the segment of its subnet, keepalived puts it elsewhere."""
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        node = next(n for n in world.cluster.load_balancer_nodes if n.name == facts.name)
        named = world.cluster.interface_of(node)
        present = {seen.interface for seen in facts.addresses or ()}
        has = {seen.interface for seen in _global(facts) if vip in seen.address.network}
        if named in present and has and named not in has:
            right = " or ".join(sorted(has))
            yield kinds.WRONG_INTERFACE.at(
                facts.name,
                f"the cluster file names {named}, but the subnet of the VIP {vip} is on {right}",
                f"correct 'interface' for {facts.name}, or leave it out",
                ", ".join(f"{one.interface} {one.address}" for one in _global(facts)),
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
