"""Who holds the VIP, on interfaces and on the wire, and is keepalived's word true?"""

from collections.abc import Iterator

from kubeha import keepalived, paths
from kubeha.checks import finding as kinds
from kubeha.checks.diagnosis import because
from kubeha.checks.finding import Finding
from kubeha.checks.members import Member, members
from kubeha.facts.guard import SteppedAside
from kubeha.world import World, is_ours

GUARD = "kubeha-guard.service"
UNITS = {
    "haproxy.service": kinds.HAPROXY_DOWN,
    "keepalived.service": kinds.KEEPALIVED_DOWN,
}


def one_holder(world: World) -> Iterator[Finding]:
    """Exactly one node has the VIP on an interface, whatever any keepalived believes."""
    vip = world.cluster.endpoint.vip
    holders = world.holders
    if len(holders) > 1:
        yield kinds.TWO_HOLDERS.at(
            "",
            f"{vip} is on {len(holders)} nodes at once: {', '.join(holders)}",
            (because(world) or "see that protocol 112 passes between them in both directions")
            + f"; until then stop keepalived on all but one: systemctl stop keepalived (on"
            f" {holders[-1]})",
            ", ".join(f"{name}: {vip}" for name in holders),
        )
    elif not holders and not (lost := blind(world)):
        yield kinds.NO_HOLDER.at(
            "",
            f"{vip} is on no load balancer node",
            because(world)
            or "see why with: journalctl -u keepalived -u haproxy -n 50 (on each node)",
        )
    elif not holders:
        yield kinds.NO_HOLDER.at(
            "",
            f"{vip} is on no node that could be asked; {', '.join(lost)} could not be",
            "make these nodes reachable, or look at the findings on the endpoint below",
        )


def blind(world: World) -> list[str]:
    """Load balancer nodes of which it is not known whether they hold the VIP."""
    vip = world.cluster.endpoint.vip
    seen = {facts.name: facts.holds(vip) for facts in world.load_balancers}
    return [n.name for n in world.cluster.load_balancer_nodes if seen.get(n.name) is None]


def unread_interfaces(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        if facts.addresses is None:
            yield kinds.UNREADABLE.at(
                facts.name,
                "its interfaces cannot be read: whether it holds the VIP is not known",
                "see whether `ip -j address` works there (package iproute2)",
            )


def on_the_wire(world: World) -> Iterator[Finding]:
    """Other machines get an answer for the VIP; whose it is, is judged elsewhere."""
    vip = world.cluster.endpoint.vip
    asked = [node for node, macs in world.vip_answers.items() if macs is not None]
    if asked and not world.heard() and world.holders:
        yield kinds.VIP_UNANSWERED.at(
            world.holders[0],
            f"{vip} is on the interface of {world.holders[0]} but answers no ARP or NDP",
            "look for arp_ignore, a filter or a link that is down on this node",
            f"asked from {', '.join(asked)}",
        )


def services(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        for name, kind in UNITS.items():
            unit = facts.units.get(name)
            if unit is None or not unit.active:
                state = f"{unit.active_state} ({unit.sub_state})" if unit else "not installed"
                yield kind.at(
                    facts.name,
                    f"{name} is {state}",
                    f"journalctl -u {name} -n 30; then: systemctl start {name}, or kubeha apply",
                )
            elif not unit.enabled:
                yield kinds.NOT_ENABLED.at(
                    facts.name,
                    f"{name} runs but is {unit.unit_file_state or 'not enabled'}",
                    f"kubeha apply, or: systemctl enable {name}",
                )


def guard(world: World) -> Iterator[Finding]:
    """It runs wherever kubeha's keepalived does."""
    for facts in world.load_balancers:
        unit = facts.units.get(GUARD)
        deployed = is_ours(facts.text_of(paths.KEEPALIVED_CONFIG))
        if deployed and (unit is None or not unit.active):
            there = unit is not None and unit.load_state == "loaded"
            yield kinds.GUARD_DOWN.at(
                facts.name,
                f"{GUARD} is {unit.active_state if unit and there else 'not installed'}",
                f"journalctl -u {GUARD} -n 30; then: systemctl start {GUARD}"
                if there
                else "kubeha apply",
            )


def stepped_aside(node: str, aside: SteppedAside) -> Finding:
    """Whom the guard has made way for, and what would let it come back."""
    if aside.why == "isolated":
        return kinds.STEPPED_ASIDE.at(
            node,
            "the guard keeps the VIP away from it: neither the gateway nor any other node answers",
            "see its cable, switch port and VLAN; it takes part again as soon as anybody answers",
            aside.text,
        )
    if aside.why == "hung":
        return kinds.STEPPED_ASIDE.at(
            node,
            "the guard has ended its keepalived, which held the VIP and sent no advertisements",
            "it takes part again by itself; see why it hung: journalctl -u keepalived -n 50",
            aside.text,
        )
    return kinds.STEPPED_ASIDE.at(
        node,
        f"the guard keeps the VIP away from it: {aside.other} holds the VIP, and VRRP does not"
        " pass between the two",
        f"let IP protocol 112 pass between {node} and {aside.other} in both directions, on the"
        " nodes and in the network; it takes part again by itself",
        aside.text,
    )


def vrrp_state(world: World) -> Iterator[Finding]:
    """keepalived's own word against the interface."""
    for member in members(world):
        if keepalived.parse_states(member.facts.keepalived_json or "") is None:
            yield kinds.SILENT.at(
                member.name,
                "keepalived runs but does not write its state when asked by signal",
                "if it hangs: systemctl restart keepalived; a build without JSON cannot answer"
                " (keepalived -v | grep JSON)",
            )
        if member.running is not None and member.running.state == "FAULT":
            yield _fault(member)
        yield from _word_and_deed(world, member)


def _fault(member: Member) -> Finding:
    if aside := member.facts.stepped_aside:
        return stepped_aside(member.name, aside)
    return kinds.FAULT.at(
        member.name,
        "keepalived is in FAULT: this node does not take part in the election",
        "see that HAProxy runs there and the interface is up: systemctl status haproxy",
    )


def _word_and_deed(world: World, member: Member) -> Iterator[Finding]:
    """MASTER with the VIP, or neither; where the VIP is keepalived's business at all."""
    vip = world.cluster.endpoint.vip
    said, holds = member.running, member.facts.holds(vip)
    if said is None or holds is None or (said.vips and vip not in said.vips):
        return
    if (said.state == "MASTER") != holds:
        seen = "is" if holds else "is not"
        yield kinds.STATE_MISMATCH.at(
            member.name,
            f"keepalived says {said.state}, but the VIP {seen} on the interface",
            "systemctl restart keepalived; then look for refused addresses in its journal",
        )
