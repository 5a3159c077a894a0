"""Does the etcd behind the API servers survive the loss of a machine?

Every control plane node asks its API server's etcd and each member it lists, with the API server's
own credentials. A member is down when no node that could ask got an answer: a filter between the
nodes, which need not reach each other's client ports, does not make one so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.facts.control_plane import Etcd, EtcdMember
from kubeha.world import World

# What a member says of itself that is told by other means.
_NO_LEADER = "no leader"


@dataclass(frozen=True)
class Members:
    """The members of the cluster, each as the node saw it that learnt most."""

    voters: tuple[EtcdMember, ...]

    @property
    def quorum(self) -> int:
        return len(self.voters) // 2 + 1

    @property
    def down(self) -> tuple[EtcdMember, ...]:
        return tuple(member for member in self.voters if member.answers is False)

    @property
    def leaderless(self) -> bool:
        """Do all that told say that there is none? Without a quorum, there is none."""
        told = [member for member in self.voters if member.leader is not None]
        return bool(told) and not any(member.leader for member in told)


def etcd(world: World) -> Iterator[Finding]:
    """etcd's leader, its members, their number, their alarms."""
    views = _views(world)
    members = _members(views)
    if members is None:
        yield from _not_asked(world, views)
        return
    if members.leaderless:
        yield kinds.ETCD_NO_LEADER.at(
            "",
            "etcd has no leader: nothing in the cluster can be changed",
            f"start its members ({members.quorum} of {len(members.voters)} are needed):"
            " journalctl -u etcd, or crictl logs of the etcd container, on each of them",
            _evidence(members),
        )
    else:
        yield from _down(world, members)
    yield from _number(world, members)
    yield from _alarms(members)
    yield from _one_for_all(world, views, members)


def _views(world: World) -> dict[str, Etcd]:
    """node -> etcd as seen from there."""
    return {
        facts.name: facts.control_plane.etcd
        for facts in world.control_plane
        if facts.control_plane and facts.control_plane.etcd
    }


def _members(views: dict[str, Etcd]) -> Members | None:
    """What all views together know; None if none has a member list."""
    lists = [view.members for view in views.values() if view.members]
    if not lists:
        return None
    # One that was removed, or is cut off, may still show the list of before.
    best = max(lists, key=lambda members: sum(bool(member.leader) for member in members))
    seen = {member.id: _best(member, lists) for member in best}
    return Members(tuple(member for member in seen.values() if not member.learner))


def _best(member: EtcdMember, lists: list[tuple[EtcdMember, ...]]) -> EtcdMember:
    """The member as the view saw it that got most out of it."""
    rank = {True: 2, None: 1, False: 0}
    same = [one for members in lists for one in members if one.id == member.id]
    return max(same, key=lambda one: (rank[one.answers], bool(one.leader)))


def _not_asked(world: World, views: dict[str, Etcd]) -> Iterator[Finding]:
    """No node has a member list: nobody answers anywhere, or nobody understands the question."""
    words = "; ".join(f"{name}: {view.error}" for name, view in views.items())
    if not views:
        return
    everywhere = len(views) == len(world.cluster.control_plane)
    if everywhere and all(view.silent for view in views.values()):
        yield kinds.ETCD_NO_LEADER.at(
            "",
            "no etcd member answers any API server: the cluster has no memory",
            "start etcd: journalctl -u etcd, or crictl logs of the etcd container, on each member",
            words,
        )
        return
    yield kinds.ETCD_UNKNOWN.at(
        "",
        "etcd could not be asked how many members it has and whether they are well",
        "ask it by hand: etcdctl member list; etcdctl endpoint status --cluster (kubeha explain"
        " KH625)",
        words,
    )


def _down(world: World, members: Members) -> Iterator[Finding]:
    """Members that are gone while the others still agree."""
    for member in members.down:
        node = _node(world, member)
        if node in {lost.name for lost in world.unreachable}:
            continue  # the whole machine is: told already
        if not member.urls:
            yield kinds.ETCD_MEMBER_DOWN.at(
                node,
                f"etcd member {member.label} was added and has never started: it counts for the"
                " quorum",
                f"start it, or: etcdctl member remove {_hexadecimal(member.id)}",
            )
            continue
        left = len(members.voters) - len(members.down) - members.quorum
        yield kinds.ETCD_MEMBER_DOWN.at(
            node,
            f"etcd member {member.label} does not answer: the loss of"
            f" {'one more' if left == 0 else f'{left + 1} more'} stops the cluster",
            "journalctl -u etcd, or crictl logs of the etcd container, there; if the machine is"
            f" gone for good: etcdctl member remove {_hexadecimal(member.id)}",
            f"{', '.join(member.urls)}: {member.error}",
        )


def _number(world: World, members: Members) -> Iterator[Finding]:
    """An even number survives no more than one member less; a single one survives nothing."""
    count = len(members.voters)
    if count == 1 and len(world.cluster.control_plane) > 1:
        yield kinds.ETCD_ALONE.at(
            "",
            "etcd has a single member: its loss is the loss of the cluster",
            "join etcd members on two more machines (kubeadm join --control-plane does it)",
            members.voters[0].label,
        )
    elif count % 2 == 0:
        survives = count - members.quorum
        yield kinds.ETCD_EVEN.at(
            "",
            f"etcd has {count} members: it survives the loss of"
            f" {survives or 'none'}, no more than {count - 1} would, and more can fail",
            f"add one, or remove one (an odd number: {count + 1} or {count - 1})",
            ", ".join(member.label for member in members.voters),
        )


def _alarms(members: Members) -> Iterator[Finding]:
    alarms = {
        alarm: member.label
        for member in members.voters
        for alarm in member.alarms
        if _NO_LEADER not in alarm
    }
    if alarms:
        yield kinds.ETCD_ALARM.at(
            "",
            f"etcd has raised an alarm: {'; '.join(sorted(alarms))}",
            "NOSPACE (nothing can be written): etcdctl compact, etcdctl defrag, then etcdctl alarm"
            " disarm (kubeha explain KH624)",
            "; ".join(f"{member}: {alarm}" for alarm, member in sorted(alarms.items())),
        )


def _one_for_all(world: World, views: dict[str, Etcd], members: Members) -> Iterator[Finding]:
    """Several members, but every API server knows the same one alone."""
    known = {
        name: {_machine(world, name, url) for url in view.endpoints} for name, view in views.items()
    }
    everybody = set().union(*known.values())
    if len(known) > 1 and len(everybody) == 1 and len(members.voters) > 1:
        (machine,) = everybody
        yield kinds.ONE_ETCD.at(
            "",
            f"all API servers use the etcd member on {machine} alone: its loss stops every one",
            "give each API server its own machine's member, or all of them, in --etcd-servers",
            "; ".join(f"{name}: {', '.join(view.endpoints)}" for name, view in views.items()),
        )


def _machine(world: World, node: str, url: str) -> str:
    """Where the member of an API server on `node` is: a node of the cluster file, or an address."""
    host = _host(url)
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        return node
    return next((one.name for one in world.cluster.nodes if str(one.address) == host), host)


def _node(world: World, member: EtcdMember) -> str:
    """The node of the cluster file on which a member lives, or nothing."""
    hosts = {_host(url) for url in (*member.urls, *member.peers)}
    return next((node.name for node in world.cluster.nodes if str(node.address) in hosts), "")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _evidence(members: Members) -> str:
    return "; ".join(
        f"{one.label}: {one.error or (f'leader {one.leader}' if one.leader else 'no leader')}"
        for one in members.voters
    )


def _hexadecimal(number: str | None) -> str:
    """Ids as etcdctl takes them; the JSON gateway gives them in decimal."""
    return f"{int(number):x}" if number and number.isdigit() else str(number)
