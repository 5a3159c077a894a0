"""What each node has to ask and send on the wire, and what the answers of all say together. Pure.

Every ordered pair of load balancer nodes is tried by itself: firewalls are one-way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kubeha.checks.wire import free_vrid
from kubeha.facts import Connection, NodeFacts, Passage
from kubeha.facts.wire import PROBE_MARK
from kubeha.model import IPAddress, Node
from kubeha.remote import PassageAnswer, PassageRequest, Peer
from kubeha.world import World

# Of the mark: what tells one run's probes from another's.
RUN_BYTES = 8


def requests(world: World, run: bytes) -> dict[str, PassageRequest]:
    """Node -> what it is asked to do; `run` are RUN_BYTES that no other run has.

    The VRID of the probes is one that neither our configuration nor any on the nodes has. That
    nobody else was heard with it does not matter: a probe goes to one of our machines alone.
    """
    vrid = free_vrid(world)
    return {
        facts.name: PassageRequest(
            me={"number": _number(world, facts.name), "address": str(_node(world, facts).address)},
            peers=tuple(_peers(world, facts)) if vrid else (),
            ask_for=_ask_for(world, facts),
            targets=_targets(world, facts),
            vrid=vrid or 0,
            mark=(PROBE_MARK + run).hex(),
        )
        for facts in world.seen(world.cluster.nodes)
    }


def _number(world: World, name: str) -> int:
    return next(i for i, node in enumerate(world.cluster.nodes) if node.name == name)


def _node(world: World, facts: NodeFacts) -> Node:
    return next(node for node in world.cluster.nodes if node.name == facts.name)


def _peers(world: World, facts: NodeFacts) -> Iterator[Peer]:
    if facts not in world.load_balancers:
        return
    for other in world.load_balancers:
        address = _node(world, other).address
        interface = facts.interface_for(address)
        if other.name != facts.name and interface is not None:
            mac = _mac(other, address)
            yield Peer(_number(world, other.name), str(address), interface, mac)


def _mac(facts: NodeFacts, address: IPAddress) -> str | None:
    """MAC address of the interface that has an address."""
    has = next((one.interface for one in facts.addresses or () if one.address.ip == address), None)
    return next(
        (link.mac for link in facts.links or () if link.name == has and link.ethernet), None
    )


def _ask_for(world: World, facts: NodeFacts) -> dict[str, tuple[str, ...]]:
    """Interface -> the addresses of all nodes on its subnet, and the VIP."""
    found: dict[str, list[str]] = {}
    vip = world.cluster.endpoint.vip
    for address in (*(node.address for node in world.cluster.nodes), vip):
        interface = facts.interface_for(address) or _interface_with(facts, address)
        if address == vip:
            interface = world.vip_interface(facts)
        if interface:
            found.setdefault(interface, []).append(str(address))
    return {interface: tuple(addresses) for interface, addresses in found.items()}


def _interface_with(facts: NodeFacts, address: IPAddress) -> str | None:
    """Its own address is asked for, too: whoever answers that is somebody else."""
    return next((one.interface for one in facts.addresses or () if one.address.ip == address), None)


def _targets(world: World, facts: NodeFacts) -> dict[str, tuple[str, int]]:
    if facts not in world.load_balancers:
        return {}
    port = world.cluster.api_port
    return {node.name: (str(node.address), port) for node in world.cluster.control_plane}


def merge(world: World, answers: Mapping[str, PassageAnswer | str]) -> World:
    """The same world with what was found; a text instead of an answer says why there is none."""
    vip = str(world.cluster.endpoint.vip)
    got = {name: one for name, one in answers.items() if isinstance(one, PassageAnswer)}
    neighbours = {
        name: {address: tuple(macs) for address, macs in one.neighbours.items()}
        for name, one in got.items()
    }
    holders = world.holders
    return replace(
        world,
        neighbours=neighbours,
        # A machine does not answer itself: what the holder hears says nothing of its own.
        vip_answers={
            name: neighbours[name].get(vip) if name in neighbours else None
            for name in answers
            if name not in holders
        },
        passages=_passages(world, answers),
        connections={
            (name, target): Connection(*said)
            for name, one in got.items()
            for target, said in one.connections.items()
        },
    )


def _passages(
    world: World, answers: Mapping[str, PassageAnswer | str]
) -> dict[tuple[str, str], Passage]:
    names = [facts.name for facts in world.load_balancers]
    return {
        (sender, receiver): _passage(world, answers, sender, receiver)
        for sender in names
        for receiver in names
        if sender != receiver
    }


def _passage(
    world: World, answers: Mapping[str, PassageAnswer | str], sender: str, receiver: str
) -> Passage:
    sent, heard = answers.get(sender, "not asked"), answers.get(receiver, "not asked")
    if isinstance(sent, str) or isinstance(heard, str):
        return Passage(None, None, reason=sent if isinstance(sent, str) else str(heard))
    left = sent.sent.get(str(_number(world, receiver)))
    if left is None:
        return Passage(None, None, reason=f"{sender} has no interface in the subnet of {receiver}")
    if "error" in left:
        return Passage(None, None, int(left.get("mtu", 0)), str(left["error"]))
    sizes = heard.arrived.get(str(_number(world, sender)), ())
    return Passage("small" in sizes, "large" in sizes, int(left["mtu"]))
