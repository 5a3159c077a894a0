"""Other virtual routers on the segment: who they are, and whether they are in our way."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kubeha import keepalived, paths, vrrp
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import Advert, NodeFacts
from kubeha.grammar.virtual_router import VirtualRouter
from kubeha.model import IPAddress
from kubeha.world import World


@dataclass(frozen=True)
class Neighbour:
    """A virtual router that is not ours: an advertisement of it, and the nodes that heard it.

    `near`: was it heard on the segment of the VIP? Elsewhere its VRID is in nobody's way.
    """

    advert: Advert
    nodes: tuple[str, ...]
    near: bool = True

    @property
    def name(self) -> str:
        """Such as: 198.51.100.99 (priority 150, VIP 198.51.100.60)."""
        vips = ", ".join(str(each) for each in self.advert.addresses) or "none"
        return f"{self.advert.source} (priority {self.advert.priority}, VIP {vips})"

    @property
    def evidence(self) -> str:
        """The advertisement in words, with what is wrong with it and who heard it."""
        one = self.advert
        words = [
            f"VRRPv{one.version} VRID {one.vrid} from {one.source} ({one.mac}) to"
            f" {one.destination}: priority {one.priority}, every {one.interval:g} s",
            *one.flaws,
            f"heard by {', '.join(self.nodes)}",
        ]
        return "; ".join(words)


def neighbours(world: World) -> tuple[Neighbour, ...]:
    """Every other virtual router heard, each once.

    Not ours: what a node of the cluster sends for the VIP or with our VRID (its own files are
    compared elsewhere). Nor what a machine sends that is still a peer although the cluster file
    has forgotten it: that has a finding of its own.
    """
    heard: dict[tuple[int, IPAddress, tuple[IPAddress, ...]], list[tuple[str, Advert]]] = {}
    for node, one in world.heard_adverts():
        if not _ours(world, one):
            heard.setdefault((one.vrid, one.source, one.addresses), []).append((node, one))
    return tuple(
        Neighbour(
            seen[0][1],
            tuple(sorted({node for node, _ in seen})),
            near=any(_near(world, node, one) for node, one in seen),
        )
        for _, seen in sorted(heard.items(), key=str)
    )


def _near(world: World, node: str, one: Advert) -> bool:
    """Was it heard where the VIP is, as far as is known? Machines have cards in other segments."""
    vip, facts = world.cluster.endpoint.vip, world.nodes.get(node)
    if not isinstance(facts, NodeFacts) or facts.addresses is None:
        return True
    known = {seen.interface for seen in facts.addresses if vip in seen.address.network}
    named = world.vip_interface(facts)
    unknown = not known and named is None and facts in world.load_balancers
    return unknown or one.interface in (*known, named)


def _ours(world: World, one: Advert) -> bool:
    if str(one.source) in world.strangers:
        return True
    known = one.source in world.addresses_of_ours() or world.machine_with(one.mac) is not None
    return known and (world.cluster.endpoint.vip in one.addresses or one.vrid in vrids(world))


def own_routers(world: World) -> tuple[VirtualRouter, ...]:
    """What is configured on the nodes for the VIP now, whoever wrote it."""
    vip = world.cluster.endpoint.vip
    return tuple(one for one in configured(world) if vip in one.addresses)


def configured(world: World) -> Iterator[VirtualRouter]:
    """Every virtual router in the keepalived.conf of a load balancer node."""
    for facts in world.load_balancers:
        if text := facts.text_of(paths.KEEPALIVED_CONFIG):
            yield from keepalived.routers(text)


def vrids(world: World) -> tuple[int, ...]:
    """The VRID that an apply would deploy, and those that are deployed for the VIP."""
    deployed = {one.vrid for one in own_routers(world) if one.vrid is not None}
    derived = vrrp.derived_vrid(world.cluster.endpoint.vip)
    wanted = world.cluster.vrrp.vrid or world.deployed_vrid() or derived
    return (wanted, *sorted(deployed - {wanted}))


def will_multicast(world: World) -> bool:
    """Would an apply make the nodes speak to the whole segment? A node without peers does."""
    return world.cluster.vrrp.mode == "multicast" or len(world.cluster.load_balancer_nodes) == 1


def vrid_taken(world: World) -> Iterator[Finding]:
    """Before an apply: judged by what it would deploy."""
    yield from _vrid_taken(world, will_multicast(world))


def vrid_fought_over(world: World) -> Iterator[Finding]:
    """On a running endpoint: judged by what is deployed."""
    yield from _vrid_taken(world, any(not one.unicast for one in own_routers(world)))


def _vrid_taken(world: World, multicast: bool) -> Iterator[Finding]:
    """Two groups with one VRID take each other for members and fight, or fall silent.

    Not where ours speak unicast: they never hear the other, nor it them (measured, with versions
    2.2.7 and 2.3.3 of keepalived).
    """
    ours = vrids(world)
    family = world.cluster.endpoint.vip.version
    for other in neighbours(world):
        vrid = other.advert.vrid
        if vrid not in ours or other.advert.source.version != family or not other.near:
            continue
        fights = any(one.vrid == vrid and not one.unicast for one in own_routers(world))
        found = kinds.VRID_TAKEN.at(
            "",
            f"VRID {vrid} is in use on this segment by {other.name}",
            _way_out(world, multicast, fights),
            other.evidence
            + ("; what is deployed here fights with it by multicast" if fights else ""),
        )
        yield found if multicast else replace(found, severity=Severity.WARNING)


def _way_out(world: World, multicast: bool, fights: bool) -> str:
    free = free_vrid(world)
    if free is None:
        return "no VRID is free on this segment: keep vrrp.mode: unicast"
    words = f"set vrrp.vrid: {free} in the cluster file (nobody was heard with it)"
    if world.deployed_vrid() is not None:
        words += ", which takes an interruption; or have theirs changed"
    if multicast:
        return f"{words}; or vrrp.mode: unicast, which hears no stranger"
    if fights:
        return f"kubeha apply ends it, for unicast hears no stranger; to be rid of it: {words}"
    return f"nothing breaks while vrrp.mode is unicast; to be rid of it: {words}"


def free_vrid(world: World) -> int | None:
    """The next VRID after the derived one that nobody was heard with and no node has configured."""
    taken = {one.vrid for _, one in world.heard_adverts()} | {*vrids(world)}
    taken |= {one.vrid for one in configured(world) if one.vrid is not None}
    first = vrrp.derived_vrid(world.cluster.endpoint.vip)
    candidates = ((first - 1 + step) % 255 + 1 for step in range(255))
    return next((each for each in candidates if each not in taken), None)


def other_routers(world: World) -> Iterator[Finding]:
    """The neighbours that are in nobody's way, for whoever chooses a VRID next."""
    said = {*vrids(world)}
    others = [each for each in neighbours(world) if each.near and each.advert.vrid not in said]
    others = [each for each in others if world.cluster.endpoint.vip not in each.advert.addresses]
    if others:
        yield kinds.ROUTERS_NEARBY.at(
            "",
            f"{len(others)} other virtual router(s) on this segment: "
            + ", ".join(f"VRID {each.advert.vrid} of {each.name}" for each in others[:8]),
            "nothing to do: they use other VRIDs and other addresses",
            "; ".join(each.evidence for each in others[:3]),
        )


def vip_advertised(world: World) -> Iterator[Finding]:
    """Another virtual router claims the VIP, whatever its VRID and whether it has it now."""
    vip = world.cluster.endpoint.vip
    answering = set(world.heard())
    for other in neighbours(world):
        if vip in other.advert.addresses and other.advert.mac not in answering:
            yield kinds.VIP_ADVERTISED.at(
                "",
                f"{other.advert.source} announces {vip} as its own by VRRP"
                f" (VRID {other.advert.vrid}, priority {other.advert.priority})",
                f"choose a free VIP, or take {vip} out of the configuration of"
                f" {other.advert.source}",
                other.evidence,
            )


def not_listened(world: World) -> Iterator[Finding]:
    """Silence that nobody listened to proves nothing."""
    for node, heard in world.adverts.items():
        if heard is None:
            yield kinds.NOT_LISTENED.at(
                node,
                "it cannot listen for VRRP: what else is on its segment is not known",
                "allow root raw sockets there (CAP_NET_RAW, AF_PACKET); kubeha -v shows the error",
            )
