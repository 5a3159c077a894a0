"""Does what has to pass between the nodes pass? VRRP and large packets one way at a time, and TCP.

Measured with probes (kubeha.passages), whatever any firewall's rules look like.
"""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.checks import firewall, network
from kubeha.checks.finding import Finding
from kubeha.facts import Connection, Link, NodeFacts, Passage, Unreachable
from kubeha.world import World


def vrrp_blocked(world: World) -> Iterator[Finding]:
    """A node that does not hear the holder takes the VIP as well."""
    for receiver, pairs in _by_receiver(world).items():
        deaf_to = [sender for sender, passage in pairs.items() if passage.small is False]
        if deaf_to:
            sources = [_address(world, name) for name in deaf_to]
            rule = next(
                filter(None, (firewall.vrrp_rule(world, s, receiver) for s in deaf_to)), None
            )
            yield kinds.VRRP_BLOCKED.at(
                receiver,
                f"VRRP (protocol 112) from {' and '.join(deaf_to)} does not get in: this node would"
                " take the VIP although another one holds it",
                firewall.opening_vrrp(rule, sources) if rule else _let_in(receiver, sources),
                "; ".join(
                    [
                        *([f"rule: {rule}"] if rule else []),
                        *(_tried(world, sender, receiver) for sender in deaf_to),
                    ]
                ),
            )


def _let_in(receiver: str, sources: list[str]) -> str:
    """Where no rule of the receiver's is known to be the one that drops."""
    program = "ip6tables" if ":" in sources[0] else "iptables"
    commands = "; ".join(f"{program} -I INPUT -p 112 -s {each} -j ACCEPT" for each in sources)
    return (
        f"on {receiver}, let protocol 112 in from {' '.join(sources)}: see nft list ruleset (or"
        f" iptables-save); {commands}; or firewall-cmd --permanent --add-protocol=vrrp &&"
        " firewall-cmd --reload; and see filters on the way"
    )


def large_lost(world: World) -> Iterator[Finding]:
    """Handshakes work, certificates and lists never arrive: clients hang."""
    for receiver, pairs in _by_receiver(world).items():
        lost = [name for name, one in pairs.items() if one.small and one.large is False]
        if lost:
            size = max(pairs[name].mtu for name in lost)
            yield kinds.LARGE_LOST.at(
                receiver,
                f"packets of {size} bytes from {' and '.join(lost)} do not arrive, small ones do",
                "give all nodes' interfaces and the switches between them the same MTU:"
                " ip link set dev IFACE mtu BYTES, and in the network's configuration",
                _mtus(world),
            )


def mtu_differs(world: World) -> Iterator[Finding]:
    """Where large packets are seen to be lost, that is said instead."""
    mtus = {facts.name: link.mtu for facts, link in vip_links(world)}
    lost = any(one.small and one.large is False for one in world.passages.values())
    if len(set(mtus.values())) > 1 and not lost:
        yield kinds.MTU_DIFFERS.at(
            "",
            "the interfaces of the VIP do not have the same MTU: what a node with the larger one"
            " sends may be lost",
            "set the same MTU on all nodes: ip link set dev IFACE mtu BYTES, and in the network's"
            " configuration",
            _mtus(world),
        )


def api_blocked(world: World) -> Iterator[Finding]:
    """HAProxy on a node can use only the API servers to which that node can connect.

    A node whose address somebody else has, too, reaches nobody reliably, which is told as such.
    """
    twice = addresses_taken(world)
    for server in world.cluster.control_plane:
        if server.name in twice:
            continue
        tried = {
            name: said
            for (name, target), said in world.connections.items()
            if target == server.name and name not in twice
        }
        answered = any(said.outcome == "connected" for said in tried.values())
        if isinstance(world.nodes.get(server.name), Unreachable) and not answered:
            continue  # the machine is off, which is told as such
        bad = {name: said for name, said in tried.items() if _bad(said, answered)}
        if bad:
            where = f"{server.address}:{world.cluster.api_port}"
            rules = (firewall.api_rule(world, name, server.name) for name in sorted(bad))
            rule = next(filter(None, rules), None)
            yield kinds.API_BLOCKED.at(
                server.name,
                f"the API server at {where} cannot be reached from {' and '.join(sorted(bad))}",
                firewall.opening(rule, world.cluster.api_port)
                if rule
                else _open_api(server.name, world.cluster.api_port, bad),
                (f"rule: {rule}; " if rule else "")
                + "; ".join(
                    f"{name}: {said.outcome} ({said.words})" for name, said in sorted(bad.items())
                ),
            )


def _bad(said: Connection, answered: bool) -> bool:
    """Refused by everybody is an API server that does not run: that has a finding of its own."""
    return said.blocked or (said.outcome == "refused" and answered)


def _open_api(server: str, port: int, bad: dict[str, Connection]) -> str:
    if all(said.outcome == "refused" for said in bad.values()):
        return (
            f"see who rejects TCP port {port} of {server} for these nodes, or whether the API"
            f" server listens on all addresses (ss -ltn sport = :{port})"
        )
    return (
        f"open TCP port {port} on {server} for these nodes: firewall-cmd --permanent"
        f" --add-port={port}/tcp && firewall-cmd --reload, ufw allow {port}/tcp, or in nft; and see"
        " filters on the way"
    )


def untried(world: World) -> Iterator[Finding]:
    """What could not be tried is not known to work."""
    reasons: dict[str, list[str]] = {}
    for (sender, receiver), passage in world.passages.items():
        if passage.small is None:
            reasons.setdefault(sender, []).append(f"to {receiver}: {passage.reason}")
    for sender, words in reasons.items():
        yield kinds.NOT_LISTENED.at(
            sender,
            "whether VRRP passes from here to other load balancer nodes could not be tried",
            "see the reason; load balancer nodes have to share one network segment",
            "; ".join(words),
        )


def addresses_taken(world: World) -> frozenset[str]:
    """Nodes whose address somebody else has too: a probe may have reached the other machine."""
    return frozenset(found.node for found in network.address_taken(world))


def vip_links(world: World) -> Iterator[tuple[NodeFacts, Link]]:
    """The interface of the VIP on every load balancer node, where both are known."""
    for facts in world.load_balancers:
        name = world.vip_interface(facts)
        yield from ((facts, link) for link in facts.links or () if link.name == name)


def _mtus(world: World) -> str:
    return ", ".join(f"{facts.name} {link.name} {link.mtu}" for facts, link in vip_links(world))


def _by_receiver(world: World) -> dict[str, dict[str, Passage]]:
    """Receiver -> sender -> what passed."""
    found: dict[str, dict[str, Passage]] = {}
    twice = addresses_taken(world)
    for (sender, receiver), passage in world.passages.items():
        if sender in twice or receiver in twice:
            continue
        found.setdefault(receiver, {})[sender] = passage
    return found


def _address(world: World, name: str) -> str:
    return next(str(node.address) for node in world.cluster.nodes if node.name == name)


def _tried(world: World, sender: str, receiver: str) -> str:
    """One direction in words; who answers ARP there is at least plugged in."""
    back = world.passages.get((receiver, sender))
    other_way = "the other way it passes" if back and back.small else "nor does it the other way"
    answers = world.neighbours.get(sender, {}).get(_address(world, receiver))
    wire = "is on the wire (ARP or NDP)" if answers else "does not answer ARP or NDP"
    return f"from {sender}: 5 probes, none arrived; {receiver} {wire}; {other_way}"
