"""Carries out drills: clients at work, a fault, its healing; what was seen is judged afterwards.

Nothing is decided here but the order of things. Whatever ends a trial, its fault is healed; and if
this program is killed, a timer on the node heals it (see `striking`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from kubeha.budget import RATE, bystander
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity, counted
from kubeha.checks.health import health
from kubeha.checks.ignoring import ignoring
from kubeha.drills.catalogue import FAULTS, Fault, Victim
from kubeha.drills.result import Trial, not_begun, trial
from kubeha.drills.timeline import Absence, Change
from kubeha.drills.verdict import Recording, judge
from kubeha.errors import HostError, KubehaError, UsageError
from kubeha.facts import parse_os_release
from kubeha.facts.node import output
from kubeha.history import Attempt, History
from kubeha.host import Host, connect
from kubeha.model import Cluster, Node
from kubeha.observe import glance
from kubeha.remote import Collected, Command, Credentials, Load
from kubeha.sampling import Recorder, read_credentials, request_for, sampling
from kubeha.watching import Watcher, watching
from kubeha.world import World

# How long a client waits for an answer, as kubectl and kubelets do at the least, in seconds.
PATIENCE = 10.0
# So many watches that hardly ever none of them goes through one API server of three.
STREAMS, WATCHES = 12, 12
# Before the strike, to see what is usual, in seconds.
WARM_UP = 1.5
# Until when the endpoint has to be healthy before a trial, and again after it, in seconds.
RECOVERY = 180.0
# A node that is back is watched again so soon: by a new connection, or after a boot, in seconds.
_WATCHED_AGAIN, _BOOTED = 3.5, 5.0
# It last told something so long before the strike, in seconds.
_LAST_SIGN = 1.0
# Warnings that would be somebody else's fault in what is measured.
_SPOIL = {kinds.SERVER_DOWN.code, kinds.API_UNHEALTHY.code}


class NotHealthy(KubehaError):
    """The endpoint is not healthy before a trial: whatever came of it would not be the fault's."""


@dataclass(frozen=True)
class Victims:
    """Whom a trial strikes. `interface`: that of the VIP, on the first of them."""

    nodes: tuple[Node, ...]
    interface: str = ""

    @property
    def told(self) -> str:
        """The node of the trial; nobody where it is all of them or the segment."""
        return self.nodes[0].name if 0 < len(self.nodes) < 3 else ""


@dataclass(frozen=True)
class Blow:
    """When the fault struck, and when it was complete: a killed process dies a little later.

    In seconds since 1970.
    """

    struck: float
    fell: float


class Injector(Protocol):
    """Breaks things and mends them; both raise KubehaError."""

    async def strike(self, fault: Fault, victims: Victims) -> Blow:
        """Break it; returns when that was."""

    async def heal(self) -> float:
        """Undo what was done, if anything was; returns when that began, in seconds since 1970."""


@dataclass
class Moments:
    """When things happened, in seconds since 1970; 0: they did not.

    `healed`: when the healing began, `back`: when it was done.
    """

    begin: float = 0.0
    struck: float = 0.0
    fell: float = 0.0
    healed: float = 0.0
    back: float = 0.0
    end: float = 0.0


@dataclass
class Drill:
    """The trials of one drill on one cluster.

    `limit`: the operator's own for silences; `recovery`: how long is waited for a healthy endpoint.
    """

    cluster: Cluster
    injector: Injector
    clients: tuple[Node, ...]
    password: str | None = None
    limit: float | None = None
    credentials: Credentials | None = field(default=None, repr=False)
    recovery: float = RECOVERY

    async def trial(
        self, fault: Fault, number: int, node: str | None, worst: float | None
    ) -> Trial:
        """One trial, from healthy to healthy; `worst`: the silence that the budget allows.

        Raises NotHealthy where the endpoint does not become healthy before it.
        """
        begun = time.time()
        world, wrong = await self._healthy()
        if wrong:
            raise NotHealthy(
                f"nothing was broken, for the endpoint is not healthy: {'; '.join(wrong)}",
                hint="kubeha verify says what to do; then the same drill again, with --resume",
            )
        victims = choose(world, fault, node, number)
        holder = world.holders[0]
        if fault.strikes_holder and victims.told != holder:
            fault, worst = fault.on_bystander(), self.limit or bystander(fault, self.cluster)
        try:
            seen, struck = await self._record(fault, victims, holder)
        except KubehaError as error:
            return not_begun(fault, number, victims.told, begun, [str(error)])
        _, unhealthy = await self._healthy()
        seen = replace(seen, unhealthy=unhealthy)
        return trial(fault, number, seen, judge(seen, fault, worst), struck)

    async def _healthy(self) -> tuple[World, list[str]]:
        """Look until nothing is wrong, or it takes too long: the world, and what is wrong."""
        deadline = time.monotonic() + self.recovery
        while True:
            world = await glance(self.cluster, become_password=self.password)
            found = counted(ignoring(health(world), self.cluster.ignore))
            wrong = [_words(each) for each in found if _spoils(each)]
            if not wrong or time.monotonic() > deadline:
                return world, wrong
            await asyncio.sleep(1.0)

    async def _record(self, fault: Fault, victims: Victims, holder: str) -> tuple[Recording, float]:
        """Strike and heal while clients work and the nodes are watched."""
        moments, lost, history = Moments(), [], History()
        balancers = self.cluster.load_balancer_nodes
        async with (
            self._hosts(victims) as hosts,
            watching(self.cluster, balancers, self.password) as watchers,
        ):
            try:
                async with self._at_work(hosts, moments) as recorder:
                    await self._break_and_heal(fault, victims, watchers, moments)
                history = recorder.history
            except HostError as error:
                if not moments.struck:
                    raise
                lost.append(f"clients were lost: {error}")
            moments.end = time.time()
        absences = _absences(fault, victims, moments)
        return Recording(
            node=victims.told,
            holder=holder,
            begin=moments.begin - moments.struck,
            end=moments.end - moments.struck,
            fell=moments.fell - moments.struck,
            healed=moments.healed - moments.struck,
            attempts=_attempts(history, moments.struck),
            changes=_changes(watchers.values(), moments.struck),
            absences=absences,
            lost=[*lost, *_blind(watchers, fault, victims, moments)],
        ), moments.struck

    @asynccontextmanager
    async def _hosts(self, victims: Victims) -> AsyncIterator[list[Host]]:
        """Connections to the clients' machines; one that is struck itself is none."""
        if self.credentials is None:
            self.credentials = await self._read_credentials()
        struck = {node.name for node in victims.nodes}
        nodes = [node for node in self.clients if node.name not in struck]
        if not nodes:
            hint = "name machines outside of the load balancers: clients in the cluster file"
            raise HostError("every client is struck itself", hint=hint, kind="clients")
        async with AsyncExitStack() as stack:
            ways = [connect(self.cluster, node, become_password=self.password) for node in nodes]
            yield [await stack.enter_async_context(way) for way in ways]

    async def _read_credentials(self) -> Credentials:
        node = self.cluster.control_plane[0]
        async with connect(self.cluster, node, become_password=self.password) as host:
            return await read_credentials(host, self.cluster.kubernetes.kubeconfig)

    @asynccontextmanager
    async def _at_work(self, hosts: Sequence[Host], moments: Moments) -> AsyncIterator[Recorder]:
        """Clients at work on these machines, long enough to know what is usual."""
        assert self.credentials is not None
        request = request_for(self.cluster, self.credentials, loads(len(hosts)))
        moments.begin = time.time()
        async with sampling(hosts, request) as recorder:
            await asyncio.sleep(WARM_UP)
            yield recorder

    async def _break_and_heal(
        self, fault: Fault, victims: Victims, watchers: Mapping[str, Watcher], moments: Moments
    ) -> None:
        try:
            blow = await self.injector.strike(fault, victims)
            moments.struck, moments.fell = blow.struck, blow.fell
            for node in victims.nodes if fault.reboots else ():
                if node.name in watchers:
                    watchers[node.name].renew()
            await asyncio.sleep(fault.watch)
        finally:
            moments.healed = await self.injector.heal()
            moments.back = time.time()
        await asyncio.sleep(fault.after)


def loads(machines: int) -> tuple[Load, ...]:
    """What each of so many machines of clients does, so that all together do the same."""
    share = max(1, machines)
    return (
        Load("version", rate=RATE / share, timeout=PATIENCE),
        Load("stream", connections=max(1, STREAMS // share), interval=0.5, timeout=PATIENCE),
        Load("watch", connections=max(1, WATCHES // share), timeout=PATIENCE),
    )


def choose(world: World, fault: Fault, node: str | None, number: int) -> Victims:
    """Who is struck in a trial; `node` is whom the operator named. The world is healthy.

    Raises UsageError for a node that the fault cannot strike.
    """
    cluster = world.cluster
    holder = world.holders[0]
    balancers = {each.name: each for each in cluster.load_balancer_nodes}
    servers = {each.name: each for each in cluster.control_plane}
    others = [each for each in cluster.control_plane if each.name != holder]
    if fault.victim is Victim.SEGMENT:
        return Victims(())
    if fault.victim is Victim.ALL:
        return Victims(cluster.nodes)
    possible = servers if fault.victim is Victim.OTHER else balancers
    if node is not None and node not in possible:
        hint = f"--node may be one of {', '.join(possible)}"
        raise UsageError(f"{fault.name} cannot strike {node}", hint=hint)
    if fault.victim is Victim.OTHER:
        # Not the one that the fault before it has struck: it has hardly a connection yet.
        turn = number + list(FAULTS).index(fault.name)
        return Victims((servers[node] if node else others[turn % len(others)],))
    first = balancers[node or holder]
    interface = next(
        (world.vip_interface(f) for f in world.load_balancers if f.name == first.name), None
    )
    peers = [each for each in cluster.load_balancer_nodes if each.name != first.name]
    second = (peers[number % len(peers)],) if fault.victim is Victim.PAIR and peers else ()
    return Victims((first, *second), interface or "")


def _spoils(found: Finding) -> bool:
    return found.severity is Severity.ERROR or found.code in _SPOIL


def _words(found: Finding) -> str:
    where = f"{found.node}: " if found.node else ""
    return f"{where}{found.message} ({found.code})"


def _attempts(history: History, struck: float) -> tuple[Attempt, ...]:
    return tuple(
        replace(each, start=each.start - struck, end=each.end - struck) for each in history.attempts
    )


def _changes(watchers: Iterable[Watcher], struck: float) -> tuple[Change, ...]:
    return tuple(
        Change(told.at - struck, watcher.node.name, told.what, told.name, told.value)
        for watcher in watchers
        for told in watcher.told
    )


def _absences(fault: Fault, victims: Victims, moments: Moments) -> tuple[Absence, ...]:
    """Whom nobody could reach, from the strike until it was healed."""
    if not fault.off_wire:
        return ()
    until = moments.healed - moments.struck
    return tuple(Absence(node.name, 0.0, until) for node in victims.nodes)


def _blind(
    watchers: Mapping[str, Watcher], fault: Fault, victims: Victims, moments: Moments
) -> list[str]:
    """Nodes that were not watched for a while, although they could have held the VIP.

    A victim that nobody can reach holds nothing until it is back, and is watched again soon.
    """
    absent = {node.name for node in victims.nodes} if fault.off_wire else set()
    again = moments.back + (_BOOTED if fault.reboots else _WATCHED_AGAIN)
    return [
        f"{name}: not watched for {until - since:.1f} s from {since - moments.struck:+.1f} s"
        for name, watcher in watchers.items()
        for since, until in watcher.gaps
        if until > moments.struck
        and not (name in absent and since > moments.struck - _LAST_SIGN and until < again)
    ]


PROGRAMS = ("keepalived", "haproxy")
_ABOUT = {
    "kernel": Command(("uname", "-r")),
    "packages": Command(("dpkg-query", "-W", "-f", "${Package}\t${Version}\n", *PROGRAMS)),
}


async def about(cluster: Cluster, password: str | None) -> dict[str, dict[str, str]]:
    """What the load balancer nodes are: for the head of the result. Raises HostError."""

    async def ask(node: Node) -> dict[str, str]:
        async with connect(cluster, node, become_password=password) as host:
            seen = await host.collect(_ABOUT, ("/etc/os-release",))
        return {"address": str(node.address), **_versions(seen)}

    nodes = cluster.load_balancer_nodes
    told = await asyncio.gather(*(ask(node) for node in nodes))
    return {node.name: each for node, each in zip(nodes, told, strict=True)}


def _versions(seen: Collected) -> dict[str, str]:
    rows = (line.split("\t") for line in output(seen.commands["packages"]).splitlines())
    versions = {row[0]: row[1] for row in rows if len(row) == 2}
    release = parse_os_release(seen.files["/etc/os-release"].content or "")
    return {
        **{name: versions.get(name, "") for name in PROGRAMS},
        "kernel": output(seen.commands["kernel"]).strip(),
        "os": release.pretty_name,
    }
