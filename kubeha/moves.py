"""Planned moves of the VIP: who hands it to whom, what is prepared where, what is refused. Pure.

Make before break: before the VIP moves, every other load balancer node that can be reached is told
to pass packets of flows that it does not know on to the former holder, which keeps the VIP on its
loopback interface until those flows have ended (node/handover does it, docs/planned-moves.md
tells why it works). Not only the successor: it may die in the middle, and the next one takes over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from kubeha import keepalived, paths
from kubeha.errors import ExitCode, KubehaError, UsageError
from kubeha.facts import NodeFacts, Observed, Unreachable
from kubeha.model import Cluster, Node

HAPROXY, KEEPALIVED = "haproxy.service", "keepalived.service"
DEFAULT_DEADLINE = 600.0


class Refused(KubehaError):
    """The move was refused before anything was touched."""

    exit_code = ExitCode.DOES_NOT_HOLD


class Unknown(KubehaError):
    """A node that has a part in the move could not be asked; nothing was touched."""


class Means(StrEnum):
    """How the former holder is told to give the VIP away."""

    ASIDE = "aside"
    DRAIN = "drain"


@dataclass(frozen=True)
class Part:
    """A load balancer node as node/handover has to know it.

    `address` is the one on the VIP's interface: packets are passed on to it at layer 2.
    """

    name: str
    address: str
    interface: str


@dataclass(frozen=True)
class Move:
    """One planned move. `aside`: nodes that stand back until `target` has the VIP.

    `unprepared`: node -> why it takes no part; if it became the holder in the middle, established
    connections would be reset. `drained_before`: the former holder was, already.
    """

    former: str
    target: str
    means: Means
    parts: tuple[Part, ...]
    aside: tuple[str, ...] = ()
    unprepared: Mapping[str, str] = field(default_factory=dict)
    drained_before: bool = False

    @property
    def relays(self) -> tuple[str, ...]:
        """Everybody who may have the VIP next."""
        return tuple(part.name for part in self.parts if part.name != self.former)

    def part(self, name: str) -> Part | None:
        """None for a node that takes no part: `unprepared` tells why."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True)
class MoveResult:
    """What came of a planned move.

    `former` is None and `moved` False where the VIP had not to move. `plain` says why established
    connections could not be kept, "" where they were. `carried`: the former holder's connections
    when the VIP moved; `closed`: those that the deadline ended; `left`: those that still live on
    there, where nobody waited; None where it could not be found out.
    """

    former: str | None
    holder: str
    moved: bool
    plain: str = ""
    carried: int | None = None
    closed: int | None = None
    left: int | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def lasting(self, seconds: float) -> "MoveResult":
        return replace(self, seconds=seconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "moved": self.moved,
            "former": self.former,
            "holder": self.holder,
            "hitless": self.moved and not self.plain,
            "plain": self.plain or None,
            "connections": {"carried": self.carried, "closed": self.closed, "left": self.left},
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


def node_named(cluster: Cluster, name: str) -> Node:
    """The load balancer node of that name. Raises UsageError if there is none."""
    names = [node.name for node in cluster.load_balancer_nodes]
    if name not in names:
        raise UsageError(
            f"{name} is not a load balancer node",
            hint=f"the load balancer nodes are {', '.join(names)}",
        )
    return cluster.load_balancer_nodes[names.index(name)]


def holder_of(cluster: Cluster, seen: Mapping[str, Observed]) -> str:
    """The one holder. Raises Refused where there is none or more than one."""
    vip = cluster.endpoint.vip
    holders = [name for name, facts in seen.items() if _facts(facts) and _facts(facts).holds(vip)]
    if len(holders) == 1:
        return holders[0]
    lost = [name for name, facts in seen.items() if isinstance(facts, Unreachable)]
    if not holders and lost:
        raise Unknown(
            f"no node that can be asked holds the VIP {vip}; {' and '.join(lost)} cannot be asked",
            hint="make every load balancer node reachable, then try again",
        )
    raise Refused(
        f"the VIP {vip} is held by {' and '.join(holders) or 'no node'}; nothing was touched",
        hint="see why with: kubeha status",
    )


def _facts(seen: Observed | None) -> Any:
    return seen if isinstance(seen, NodeFacts) else None


def unfit(cluster: Cluster, seen: Observed | None) -> str | None:
    """Why a node cannot take the VIP now, or None."""
    if seen is None or isinstance(seen, Unreachable):
        return f"it cannot be asked: {seen.reason}" if seen else "nobody has asked it"
    if seen.drained:
        return "it is drained"
    if not _active(seen, HAPROXY) or seen.haproxy_info is None:
        return "its HAProxy does not answer"
    if not _active(seen, KEEPALIVED):
        return "its keepalived does not run"
    said = keepalived.parse_state(seen.keepalived_json or "", cluster.endpoint.vip)
    if said is None:
        return "its keepalived does not tell its state"
    if said.state not in ("MASTER", "BACKUP"):
        return f"its keepalived is in {said.state}"
    return None


def _active(seen: NodeFacts, unit: str) -> bool:
    return unit in seen.units and seen.units[unit].active


def can_stand_aside(facts: NodeFacts) -> bool:
    """Does its keepalived watch the file by which a move tells it to stand back?"""
    text = facts.text_of(paths.KEEPALIVED_CONFIG) or ""
    return f'"{paths.ASIDE_FILE}"' in text


def away(cluster: Cluster, seen: Mapping[str, Observed], name: str, means: Means) -> Move | None:
    """The VIP goes from this node to the one that VRRP elects; None if it has not got it.

    Raises Refused or Unknown before anything is touched.
    """
    node_named(cluster, name)
    _reachable(seen, name, "it has to give the VIP away")
    holder = holder_of(cluster, seen)
    if holder != name:
        return None
    fit = [each for each in _others(cluster, name) if unfit(cluster, seen.get(each)) is None]
    if not fit:
        reasons = (f"{each}: {unfit(cluster, seen.get(each))}" for each in _others(cluster, name))
        raise Refused(
            f"no other node can take the VIP from {name} ({'; '.join(reasons)});"
            " nothing was touched",
            hint="bring another load balancer node back first: kubeha status",
            node=name,
        )
    aside = (name,) if means is Means.ASIDE else ()
    move = _move(cluster, seen, name, fit[0], means, aside)
    return replace(move, drained_before=_facts(seen[name]).drained)


def towards(cluster: Cluster, seen: Mapping[str, Observed], name: str) -> Move | None:
    """The VIP goes to this node, whoever has it now; None if it is there already.

    Raises Refused or Unknown before anything is touched.
    """
    node_named(cluster, name)
    _reachable(seen, name, "it is to take the VIP")
    holder = holder_of(cluster, seen)
    if holder == name:
        return None
    if (reason := unfit(cluster, seen.get(name))) is not None:
        hint = "kubeha undrain it first" if "drained" in reason else "see kubeha status"
        raise Refused(
            f"it cannot take the VIP: {reason}; nothing was touched", node=name, hint=hint
        )
    order = [node.name for node in cluster.load_balancer_nodes]
    above = [each for each in order[: order.index(name)] if each != holder]
    aside = (*(each for each in above if unfit(cluster, seen.get(each)) is None), holder)
    return _move(cluster, seen, holder, name, Means.ASIDE, aside)


def _reachable(seen: Mapping[str, Observed], name: str, why: str) -> None:
    facts = seen.get(name)
    if isinstance(facts, Unreachable):
        raise Unknown(
            f"cannot be asked ({facts.reason}), but {why}; nothing was touched",
            node=name,
            hint=facts.hint,
        )


def _others(cluster: Cluster, name: str) -> list[str]:
    return [node.name for node in cluster.load_balancer_nodes if node.name != name]


def _move(
    cluster: Cluster,
    seen: Mapping[str, Observed],
    former: str,
    target: str,
    means: Means,
    aside: Sequence[str],
) -> Move:
    watching = [name for name in aside if can_stand_aside(_facts(seen[name]))]
    if missing := [name for name in aside if name not in watching]:
        raise Refused(
            f"keepalived on {' and '.join(missing)} does not know how to stand back;"
            " nothing was touched",
            hint="its files are of an older kubeha: kubeha apply",
        )
    parts, unprepared = [], {}
    for node in cluster.load_balancer_nodes:
        found = part(cluster, seen.get(node.name), node)
        if isinstance(found, Part):
            parts.append(found)
        else:
            unprepared[node.name] = found
    return Move(former, target, means, tuple(parts), tuple(aside), unprepared)


def part(cluster: Cluster, seen: Observed | None, node: Node) -> Part | str:
    """The node's card and address in the VIP's segment, or why it takes no part."""
    if not isinstance(seen, NodeFacts):
        return f"it cannot be asked: {seen.reason if seen else 'nobody has tried'}"
    vip = cluster.endpoint.vip
    interface = cluster.interface_of(node) or seen.interface_for(vip)
    for one in seen.addresses or ():
        if one.interface == interface and one.address.ip != vip and vip in one.address.network:
            return Part(node.name, str(one.address.ip), one.interface)
    return f"it has no address in the network of the VIP {vip}"


def formers(
    states: Iterable[Mapping[str, Any]], move: Move, identifier: str, deadline: float
) -> dict[str, dict[str, Any]]:
    """Whose connections live on after this move: {name: {id, address, seconds}}.

    Besides the holder of now, those of earlier moves that any node still knows of (`states`: what
    `handover status` answers): a node that was away meanwhile has to learn of them.
    """
    found: dict[str, dict[str, Any]] = {}
    for state in states:
        for name, one in state.get("formers", {}).items():
            known = {"id": one["id"], "address": one["address"], "seconds": one["rest"]}
            if name not in found or known["seconds"] > found[name]["seconds"]:
                found[name] = known
    own = move.part(move.former)
    address = own.address if own is not None else ""
    found[move.former] = {"id": identifier, "address": address, "seconds": deadline}
    return found


def request(cluster: Cluster, move: Move, name: str, prepared: float) -> dict[str, Any]:
    """What a node has to know for any of its acts, as node/handover reads it.

    Standing aside needs no interface, so a node that takes no part can still do that.
    """
    part = move.part(name)
    return {
        "me": name,
        "vip": str(cluster.endpoint.vip),
        "port": cluster.endpoint.port,
        "interface": part.interface if part is not None else "",
        "prepared": prepared,
        "formers": {},
    }


def elsewhere(to: str | None, holder: str) -> str | None:
    """What there is to say of a VIP that went to another node than it was sent to; None if not."""
    return None if to in (None, holder) else f"has taken the VIP before {to} did"


def lasting(seconds: float) -> str:
    """As one says it: 8m12s, 40s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def progress(count: int | None, seconds: float) -> str:
    """One line on the connections that are left, and for how long they may stay."""
    rest = lasting(seconds)
    if count is None:
        return f"cannot count its connections, deadline in {rest}"
    return f"{count} connection{'' if count == 1 else 's'} left, deadline in {rest}"


def told(cluster: Cluster, result: MoveResult, drained: str | None = None) -> str:
    """The result in words; `drained`: the node that was to be drained."""
    vip = cluster.endpoint.vip
    lines = []
    if drained:
        lines.append(f"{drained} is drained: it takes the VIP only if no other node can.")
    if result.former is None:
        return "\n".join([*lines, f"{vip} is held by {result.holder}; nothing had to move."])
    lines.append(f"{vip} moved from {result.former} to {result.holder}.")
    if result.plain:
        lines.append(f"Its established connections were not kept: {result.plain}.")
    elif result.carried == 0:
        lines.append("It had no established connections.")
    elif result.closed is not None:
        ended = "" if result.carried is None else f"{result.carried} established connections: "
        rest = f"{result.closed} closed at the deadline" if result.closed else "all have ended"
        lines.append(f"{ended}{rest}." if ended else f"{rest.capitalize()}.")
    elif result.left is not None:
        lines.append(f"{result.left} established connections live on through {result.former}.")
    else:
        lines.append("What became of its established connections is not known.")
    return "\n".join(lines)
