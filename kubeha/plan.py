"""Desired + observed -> what to change on which node, in which order. Pure.

Invariant: at every moment of the rollout at least one node that was healthy before it is left
untouched, so the endpoint has somewhere to live.

Order: at first deployment the primary comes first, so that it holds the VIP before anybody could
contend for it; so it is where somebody else's keepalived has the VIP now (`takeover`). At every
later change the holder comes last of those that run: all others carry the
new state and are known to be healthy before the VIP has to move. Nodes that are new come after it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubeha import keepalived, paths
from kubeha.desired import DesiredFile, DesiredNode, Site, desired_node
from kubeha.facts import NodeFacts
from kubeha.model import Cluster
from kubeha.remote import FileState
from kubeha.takeover import after_takeover
from kubeha.templates import MARK
from kubeha.vrrp import derived_vrid
from kubeha.world import World, is_ours

HAPROXY = "haproxy.service"
KEEPALIVED = "keepalived.service"
GUARD = "kubeha-guard.service"


class Reaction(StrEnum):
    """What a service has to do for its new files to take effect; the strongest one wins."""

    NONE = "none"
    RELOAD = "reload"
    RESTART = "restart"
    START = "start"


@dataclass(frozen=True)
class FileChange:
    """One file: what is there (None: nothing) and what shall be.

    `keep`: a copy of what is replaced stays on the node, because kubeha did not write it.
    """

    before: FileState | None
    after: DesiredFile
    keep: bool

    @property
    def path(self) -> str:
        return self.after.path

    @property
    def text_before(self) -> str | None:
        return self.before.content if self.before else None


@dataclass(frozen=True)
class ServiceChange:
    """What happens to one service, and why."""

    unit: str
    reaction: Reaction
    enable: bool
    reason: str

    @property
    def empty(self) -> bool:
        return self.reaction is Reaction.NONE and not self.enable


@dataclass(frozen=True)
class NodeChange:
    """All that is to be done on one node."""

    node: str
    install: tuple[str, ...]
    files: tuple[FileChange, ...]
    services: tuple[ServiceChange, ...]
    unmask: tuple[str, ...]

    @property
    def empty(self) -> bool:
        quiet = all(service.empty for service in self.services)
        return quiet and not (self.install or self.files or self.unmask)

    def service(self, unit: str) -> ServiceChange:
        return next(service for service in self.services if service.unit == unit)


@dataclass(frozen=True)
class PlannedMove:
    """The VIP leaves its holder before a service there is started anew.

    `wait`: until established connections have ended or the deadline comes, for HAProxy itself,
    which carries them, is what is started anew.
    """

    node: str
    wait: bool


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are carried out; nodes without a change are left out.

    `takeover`: nodes whose keepalived, not set up by kubeha, is stopped before ours first starts.
    `move`: what happens on the holder before its services are started anew, None if they are not.
    """

    cluster: str
    vip: str
    first: bool
    holder: str | None
    changes: tuple[NodeChange, ...]
    takeover: tuple[str, ...] = ()
    move: PlannedMove | None = None

    @property
    def empty(self) -> bool:
        return not self.changes


def wanted(world: World) -> dict[str, DesiredNode]:
    """What every load balancer node should have, in the order of the cluster file.

    The interface is the one on the VIP's subnet, the CA that of the control plane nodes, and the
    VRID: what the file says, else what is deployed, else what the VIP gives.
    """
    cluster, ca = world.cluster, world.ca()
    vrid = cluster.vrrp.vrid or world.deployed_vrid() or derived_vrid(cluster.endpoint.vip)
    desired = {}
    for node in cluster.load_balancer_nodes:
        facts = world.nodes[node.name]
        named = cluster.interface_of(node)
        found = facts.interface_for(cluster.endpoint.vip) if isinstance(facts, NodeFacts) else None
        if interface := named or found:
            desired[node.name] = desired_node(cluster, node.name, Site(interface, vrid, ca))
    return desired


def make_plan(
    cluster: Cluster, desired: Mapping[str, DesiredNode], facts: Mapping[str, NodeFacts]
) -> Plan:
    """The shortest way from what was seen to what is wanted."""
    vip = cluster.endpoint.vip
    takeover, facts = after_takeover(cluster, facts)
    holder = next((name for name in desired if facts[name].holds(vip)), None)
    first = holder is None and not any(_serves(facts[name]) for name in desired)
    new = set() if first else newcomers(cluster, facts)
    order = sorted(desired, key=lambda name: (name in new, name == holder, _rank(cluster, name)))
    install = cluster.packages == "install"
    all_changes = (change_node(desired[name], facts[name], install=install) for name in order)
    changes = tuple(change for change in all_changes if not change.empty)
    return Plan(
        cluster=cluster.cluster,
        vip=str(vip),
        first=first,
        holder=holder,
        changes=changes,
        takeover=takeover,
        move=planned_move(changes, holder, facts, desired),
    )


def planned_move(
    changes: Iterable[NodeChange],
    holder: str | None,
    facts: Mapping[str, NodeFacts],
    desired: Mapping[str, DesiredNode],
) -> PlannedMove | None:
    """None where the VIP may stay, where there is no other node, or where no move can be planned:
    its keepalived was set up before it knew how to stand aside, or has not taken its file yet."""
    change = next((change for change in changes if change.node == holder), None)
    if change is None or holder is None or len(facts) < 2:
        return None
    anew = {s.unit for s in change.services if s.reaction is Reaction.RESTART}
    known = paths.ASIDE_FILE in (facts[holder].text_of(paths.KEEPALIVED_CONFIG) or "")
    if not known or not anew & {HAPROXY, KEEPALIVED} or _waiting(desired[holder], facts[holder]):
        return None
    return PlannedMove(holder, wait=HAPROXY in anew)


def _waiting(desired: DesiredNode, facts: NodeFacts) -> bool:
    """Is keepalived's file the one that is wanted, but the running process has another?"""
    text = facts.text_of(paths.KEEPALIVED_CONFIG)
    there = any(f.path == paths.KEEPALIVED_CONFIG and f.content == text for f in desired.files)
    return there and interrupted(KEEPALIVED, desired, facts) is not Reaction.NONE


def newcomers(cluster: Cluster, facts: Mapping[str, NodeFacts]) -> set[str]:
    """Nodes that the running keepalived do not have among their peers yet.

    They come after everybody else, the holder included: it sends them no advertisements before it
    knows them, and one that hears none takes the VIP.
    """
    known: set[str] = set()
    for node in cluster.load_balancer_nodes:
        text = facts[node.name].text_of(paths.KEEPALIVED_CONFIG) if node.name in facts else None
        if text is not None and _serves(facts[node.name]):
            peers = {str(address) for address in keepalived.unicast_peers(text)}
            known |= {node.name} | {n.name for n in cluster.nodes if str(n.address) in peers}
    return {node.name for node in cluster.load_balancer_nodes} - known if known else set()


def _serves(facts: NodeFacts) -> bool:
    unit = facts.units.get(KEEPALIVED)
    return unit is not None and unit.active


def _rank(cluster: Cluster, name: str) -> int:
    return [node.name for node in cluster.load_balancer_nodes].index(name)


def change_node(desired: DesiredNode, facts: NodeFacts, *, install: bool = True) -> NodeChange:
    """What one node lacks; `install`: packages, too."""
    packages = tuple(name for name in desired.packages if name not in facts.packages and install)
    files = tuple(change for file in desired.files if (change := change_file(file, facts)))
    services = tuple(change_service(unit, desired, facts, files) for unit in desired.units)
    changed = packages or files or any(not service.empty for service in services)
    stamp = change_file(applied_file(desired), facts) if changed or _stale(desired, facts) else None
    return NodeChange(
        node=desired.name,
        install=packages,
        files=(*files, stamp) if stamp else files,
        services=services,
        unmask=tuple(u for u in desired.units if u in facts.units and facts.units[u].our_mask),
    )


def change_file(file: DesiredFile, facts: NodeFacts) -> FileChange | None:
    """None if content, mode and owner are already as wanted."""
    state = facts.files.get(file.path)
    if state is None or not state.exists:
        return FileChange(None, file, keep=False)
    there = (state.content, state.mode, state.owner, state.group)
    if there == (file.content, file.mode, file.owner, file.group):
        return None
    return FileChange(state, file, keep=not is_ours(state.content))


def change_service(
    unit: str, desired: DesiredNode, facts: NodeFacts, files: Iterable[FileChange]
) -> ServiceChange:
    """The mildest reaction that makes every changed file of the service effective."""
    seen = facts.units.get(unit)
    enable = seen is None or not seen.enabled
    if seen is None or not seen.active:
        return ServiceChange(unit, Reaction.START, enable, "it does not run")
    wanted = [(reaction(unit, change), change.path) for change in files]
    restarts = [path for what, path in wanted if what is Reaction.RESTART]
    reloads = [path for what, path in wanted if what is Reaction.RELOAD]
    if restarts:
        return ServiceChange(unit, Reaction.RESTART, enable, f"{', '.join(restarts)} changes")
    if reloads:
        return ServiceChange(unit, Reaction.RELOAD, enable, f"{', '.join(reloads)} changes")
    late = interrupted(unit, desired, facts)
    if late is not Reaction.NONE:
        reason = "an earlier apply was interrupted before the service took its files"
        return ServiceChange(unit, late, enable, reason)
    return ServiceChange(unit, Reaction.NONE, enable, "it has all it needs")


def reaction(unit: str, change: FileChange) -> Reaction:
    """How a service has to take one changed file.

    A reload of HAProxy breaks no connection at once (docs/how-it-works.md), and keepalived reloads
    most of its settings without an advertisement lost; its unit's drop-in and its command line
    need a restart, and so do the settings that identify the virtual router.
    """
    path = change.path
    if path in SETTINGS_OF[unit]:
        if unit == KEEPALIVED and _identity(change.text_before) != _identity(change.after.content):
            return Reaction.RESTART
        return Reaction.RELOAD
    if path in PROCESS_OF[unit]:
        return Reaction.RESTART
    return Reaction.NONE


# Read again at a reload.
SETTINGS_OF = {
    HAPROXY: (paths.HAPROXY_CONFIG, paths.CA_FILE),
    KEEPALIVED: (paths.KEEPALIVED_CONFIG,),
    GUARD: (),
}
# Read only when the process starts.
PROCESS_OF = {
    HAPROXY: (paths.HAPROXY_DROP_IN,),
    KEEPALIVED: (paths.KEEPALIVED_DROP_IN, paths.KEEPALIVED_ENV),
    GUARD: (paths.GUARD_PROGRAM, paths.GUARD_UNIT, paths.NODE_SETTINGS),
}


def _identity(text: str | None) -> keepalived.Identity | None:
    """What makes it another virtual router: VRID, version, interface, way of sending."""
    return None if text is None else keepalived.identity(text)


def digest(unit: str, desired: DesiredNode, what: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 over those files of the service, with their paths."""
    state = hashlib.sha256()
    for file in sorted(desired.files, key=lambda file: file.path):
        if file.path in what[unit]:
            state.update(f"{file.path}\0{len(file.content)}\0{file.content}".encode())
    return state.hexdigest()


def digests(desired: DesiredNode) -> dict[str, tuple[str, str]]:
    """unit -> digests of what it reads at a reload, and of what it reads only when it starts."""
    return {
        unit: (digest(unit, desired, SETTINGS_OF), digest(unit, desired, PROCESS_OF))
        for unit in sorted(desired.units)
    }


def applied_file(desired: DesiredNode) -> DesiredFile:
    """The note that kubeha leaves when a node's services have taken their files.

    A rollout that was killed between a write and the reload is found by it.
    """
    lines = [f"{unit} {' '.join(pair)}\n" for unit, pair in digests(desired).items()]
    text = f"# {MARK}: what the running services were last given.\n" + "".join(lines)
    return DesiredFile(paths.APPLIED, text, 0o644, "tells an interrupted apply apart")


def interrupted(unit: str, desired: DesiredNode, facts: NodeFacts) -> Reaction:
    """What a running service has to do to take files that are on the disk already."""
    noted = _applied(unit, facts)
    settings, process = digests(desired)[unit]
    if noted is None or noted[1] != process:
        return Reaction.RESTART
    return Reaction.NONE if noted[0] == settings else Reaction.RELOAD


def _applied(unit: str, facts: NodeFacts) -> tuple[str, str] | None:
    for line in (facts.text_of(paths.APPLIED) or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == unit:
            return words[1], words[2]
    return None


def _stale(desired: DesiredNode, facts: NodeFacts) -> bool:
    return any(_applied(unit, facts) != pair for unit, pair in digests(desired).items())
