"""Look at all nodes at once: {node: NodeFacts | Unreachable}.

What is asked is decided here, what it means in `facts`. One round trip a node, all in parallel.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from kubeha import kubeconfig, passages, paths
from kubeha.checks.diagnosis import unsettled
from kubeha.errors import HostError
from kubeha.facts import (
    NodeFacts,
    Observed,
    Unreachable,
    journal,
    machine,
    node_facts,
    parse_fetched,
)
from kubeha.host import Host, connect
from kubeha.listening import cross, listen_for_adverts, listen_for_vip
from kubeha.model import Cluster, IPAddress, Node
from kubeha.remote import Command, Credentials
from kubeha.world import (
    API_READYZ,
    API_VERSION,
    CONTROLLERS,
    ENDPOINT_READ,
    ENDPOINT_READYZ,
    ENDPOINT_VERSION,
    LEASE,
    World,
)

log = logging.getLogger(__name__)

FETCH_TIMEOUT = 3.0
ETCD_TIMEOUT = 2.0
# Longer than two nodes have the VIP at once in any handover (docs/how-it-works.md), in seconds.
SETTLING = 0.7
UNITS = ("haproxy.service", "keepalived.service", "kubeha-guard.service")
UNIT_PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,InvocationID"
PACKAGE_LINE = "${Package}\t${Version}\t${db:Status-Abbrev}\n"

QUICK = {
    "addresses": Command(("ip", "-j", "address", "show")),
    "units": Command(("systemctl", "show", "-p", UNIT_PROPERTIES, *UNITS)),
    "packages": Command(("dpkg-query", "-W", "-f", PACKAGE_LINE, "haproxy", "keepalived")),
    **journal.COMMANDS,
}
# What tells who holds the VIP, and why.
ELECTION = {name: QUICK[name] for name in ("addresses", "units", *journal.COMMANDS)}
KEEPALIVED_STATE = {"keepalived": {"state": {"timeout": 2.0}}}
FULL = {
    **QUICK,
    "packages": Command(("dpkg-query", "-W", "-f", PACKAGE_LINE)),
    "conffiles": Command(("dpkg-query", "-W", "-f", "${Conffiles}\n", "haproxy", "keepalived")),
    "listeners": Command(("ss", "-H", "-l", "-n", "-t", "-p")),
    "free": Command(("df", "-P", "-B1", "/", "/etc", "/var")),
    "etc": Command(("test", "-w", "/etc")),
}


@dataclass(frozen=True)
class Fleet:
    """Open connections to the nodes that answered, and why the others did not."""

    hosts: Mapping[str, Host]
    unreachable: Mapping[str, Unreachable] = field(default_factory=dict)


@asynccontextmanager
async def open_fleet(
    cluster: Cluster,
    nodes: Iterable[Node],
    *,
    become_password: str | None = None,
    timeout: float = 10.0,
) -> AsyncIterator[Fleet]:
    """Connect to all nodes at once; a node that does not answer is told, not raised."""
    async with AsyncExitStack() as stack:

        async def enter(node: Node) -> Host | Unreachable:
            try:
                opening = connect(cluster, node, become_password=become_password, timeout=timeout)
                return await stack.enter_async_context(opening)
            except HostError as error:
                return Unreachable(node.name, error.message, error.hint)

        wanted = tuple(nodes)
        opened = await asyncio.gather(*(enter(node) for node in wanted))
        pairs = list(zip(wanted, opened, strict=True))
        yield Fleet(
            {node.name: host for node, host in pairs if isinstance(host, Host)},
            {node.name: lost for node, lost in pairs if isinstance(lost, Unreachable)},
        )


async def observe(
    cluster: Cluster, fleet: Fleet, *, full: bool = False, only: Iterable[str] | None = None
) -> dict[str, Observed]:
    """Facts of every node of the fleet (or of `only` some).

    `full` also reads the files that kubeha writes, all packages, listeners and free space: what
    plan and check need. Without it, what status needs, as fast as possible.
    """
    names = set(only) if only is not None else None
    hosts = [host for name, host in fleet.hosts.items() if names is None or name in names]
    seen = await asyncio.gather(*(look(cluster, host, full=full) for host in hosts))
    found: dict[str, Observed] = {facts.name: facts for facts in seen}
    lost = {n: why for n, why in fleet.unreachable.items() if names is None or n in names}
    return {**found, **lost}


async def look(cluster: Cluster, host: Host, *, full: bool) -> Observed:
    """One node, in one round trip; a connection that breaks makes it Unreachable."""
    files = ["/etc/os-release", cluster.kubernetes.ca]
    files += [paths.GUARD_STATE, paths.DRAIN_FILE, paths.HANDOVER_JOURNAL, paths.KEEPALIVED_CONFIG]
    if full:
        files += [*paths.WRITTEN, paths.APPLIED]
    asks = questions(cluster, host.node)
    commands = FULL if full else QUICK
    if full:
        asks |= control_plane_questions(cluster, host.node)
    if full and host.node.name in {node.name for node in cluster.nodes}:
        vip = cluster.endpoint.vip
        commands = {**commands, **machine.commands(vip)}
        files += machine.FILES
        asks |= machine.questions(vip, install=cluster.packages == "install")
    try:
        seen = await host.observe(commands, files, asks)
    except HostError as error:
        return Unreachable(host.node.name, error.message, error.hint)
    return node_facts(host.node.name, seen)


def questions(cluster: Cluster, node: Node) -> dict[str, dict[str, Any]]:
    """What node/look.py is asked, by the roles that the node has."""
    asks: dict[str, dict[str, Any]] = {"fetch": endpoint_questions(cluster)}
    names = {each.name for each in cluster.load_balancer_nodes}
    if node.name in names:
        asks["socket"] = {
            "stat": {"path": paths.ADMIN_SOCKET, "line": "show stat", "timeout": 2.0},
            "info": {"path": paths.ADMIN_SOCKET, "line": "show info", "timeout": 2.0},
        }
        asks |= KEEPALIVED_STATE
    if node.name in {each.name for each in cluster.control_plane}:
        asks["fetch"].update(api_questions(cluster, node))
    return asks


def control_plane_questions(cluster: Cluster, node: Node) -> dict[str, dict[str, Any]]:
    """What runs there of the control plane and where its kubeconfigs lead; etcd where it serves."""
    serves = node.name in {each.name for each in cluster.control_plane}
    return {"control_plane": {"state": {"etcd": serves, "timeout": ETCD_TIMEOUT}}}


def endpoint_questions(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """/readyz and /version through VIP and port, the certificate checked against the VIP."""
    ask = {
        "address": str(cluster.endpoint.vip),
        "port": cluster.endpoint.port,
        "ca_files": [paths.CA_FILE, cluster.kubernetes.ca],
        "timeout": FETCH_TIMEOUT,
    }
    return {
        ENDPOINT_READYZ: {**ask, "path": "/readyz"},
        ENDPOINT_VERSION: {**ask, "path": "/version"},
    }


def api_questions(cluster: Cluster, node: Node) -> dict[str, dict[str, Any]]:
    """/readyz and /version of the node's own API server, past the load balancer.

    Every API server's certificate names `kubernetes`; not all name the node's address.
    """
    ask = {
        "address": str(node.address),
        "port": cluster.api_port,
        "ca_files": [cluster.kubernetes.ca],
        "server_name": "kubernetes",
        "timeout": FETCH_TIMEOUT,
    }
    return {
        API_READYZ: {**ask, "path": "/readyz"},
        API_VERSION: {**ask, "path": "/version"},
    }


async def glance(
    cluster: Cluster, *, become_password: str | None = None, timeout: float = 3.0
) -> World:
    """The observed world as fast as it can be had: nobody waits for a node that is slow to answer.

    `timeout`: what a node may take to accept the connection, in seconds.
    """

    everybody = (*cluster.nodes, *cluster.clients)
    async with AsyncExitStack() as stack:

        async def see(node: Node) -> tuple[Host | None, Observed]:
            try:
                opening = connect(cluster, node, become_password=become_password, timeout=timeout)
                host = await stack.enter_async_context(opening)
                return host, await look(cluster, host, full=False)
            except HostError as error:
                return None, Unreachable(node.name, error.message, error.hint)

        seen = await asyncio.gather(*(see(node) for node in everybody))
        facts = {one.name: one for _, one in seen}
        world = World(
            cluster,
            {node.name: facts[node.name] for node in cluster.nodes},
            {node.name: facts[node.name] for node in cluster.clients},
        )
        return await look_again(world, {host.node.name: host for host, _ in seen if host})


async def survey(
    cluster: Cluster, fleet: Fleet, *, full: bool, ask_vip: bool = False, listen: bool = False
) -> World:
    """The observed world: all nodes and clients.

    `ask_vip`: also ask who answers for the VIP. `listen`: and hear what is on the wire meanwhile,
    which takes as long as an advertiser may be silent.
    """
    names = {node.name for node in cluster.nodes}
    hosts = {name: host for name, host in fleet.hosts.items() if name in names}
    async with asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(listen_for_adverts(hosts)) if listen else None
        crossing = tasks.create_task(cross(cluster, hosts)) if listen else None
        seen = await observe(cluster, fleet, full=full)
    nodes = {name: facts for name, facts in seen.items() if name in names}
    clients = {name: facts for name, facts in seen.items() if name not in names}
    world = await look_again(World(cluster, nodes, clients), hosts)
    if hearing and crossing:
        return replace(passages.merge(world, crossing.result()), adverts=hearing.result())
    if ask_vip:
        return replace(world, vip_answers=await listen_for_vip(cluster, hosts, nodes))
    return world


async def look_again(world: World, hosts: Mapping[str, Host]) -> World:
    """The same world with a second look at who holds the VIP, if the first may be a handover's."""
    if not unsettled(world):
        return world
    await asyncio.sleep(SETTLING)

    async def see(facts: NodeFacts) -> Observed:
        try:
            seen = await hosts[facts.name].observe(ELECTION, (), KEEPALIVED_STATE)
        except HostError as error:
            return Unreachable(facts.name, error.message, error.hint)
        return renewed(facts, node_facts(facts.name, seen))

    again = await asyncio.gather(*(see(f) for f in world.load_balancers if f.name in hosts))
    nodes = {**world.nodes, **{facts.name: facts for facts in again}}
    return replace(world, nodes=nodes, before=world)


def renewed(old: NodeFacts, new: NodeFacts) -> NodeFacts:
    """All of the first look, but for what tells of the election."""
    return replace(
        old,
        addresses=new.addresses,
        units=new.units,
        keepalived_json=new.keepalived_json,
        keepalived_journal=new.keepalived_journal,
        clock=new.clock,
        clock_offset=new.clock_offset,
    )


async def meet_strangers(cluster: Cluster, world: World, become_password: str | None) -> World:
    """The same world, with a look at machines that are peers but not in the cluster file."""

    async def see(address: IPAddress) -> tuple[str, Observed]:
        # By its address alone: the cluster file, which knows names, does not have it any more.
        node = Node.model_construct(
            name=str(address), address=address, interface=None, ssh=cluster.ssh
        )
        try:
            opening = connect(cluster, node, become_password=become_password, timeout=5.0)
            async with opening as host:
                return str(address), await look(cluster, host, full=False)
        except HostError as error:
            return str(address), Unreachable(node.name, error.message, error.hint)

    seen = await asyncio.gather(*(see(address) for address in world.unknown_peers()))
    return replace(world, strangers=dict(seen))


async def ask_again(cluster: Cluster, fleet: Fleet, world: World) -> World:
    """The same world with answers to the questions that need what the first look has found.

    The endpoint is asked once more from every node, its certificate verified against the cluster's
    CA; where a node has a kubeconfig, also for what needs credentials. Each node uses its own: no
    secret travels from one node to another. The Leases are read by the first that can.
    """
    readers = await asyncio.gather(*(_credentials(cluster, fleet, f) for f in world.everybody))
    who = {facts.name: one for facts, one in zip(world.everybody, readers, strict=True) if one}
    first = next(iter(who), None)
    ca = world.ca()

    async def ask(facts: NodeFacts) -> Observed:
        asks = {key: {**one, "ca": ca} for key, one in endpoint_questions(cluster).items() if ca}
        if facts.name in who:
            leases = facts.name == first
            asks |= authenticated_questions(cluster, who[facts.name], leases=leases)
        try:
            seen = await fleet.hosts[facts.name].observe({}, (), {"fetch": asks})
        except HostError as error:
            return Unreachable(facts.name, error.message, error.hint)
        new = {key: parse_fetched(one) for key, one in seen.answers.get("fetch", {}).items()}
        return replace(facts, fetched={**facts.fetched, **new})

    asked = await asyncio.gather(*(ask(facts) for facts in world.everybody))
    new = {facts.name: facts for facts in asked}
    return replace(
        world,
        nodes={name: new.get(name, seen) for name, seen in world.nodes.items()},
        clients={name: new.get(name, seen) for name, seen in world.clients.items()},
    )


async def _credentials(cluster: Cluster, fleet: Fleet, facts: NodeFacts) -> Credentials | None:
    """What the node's own kubeconfig holds or names; None if it has none that can be used."""
    host, path = fleet.hosts[facts.name], cluster.kubernetes.kubeconfig
    try:
        text = (await host.collect({}, [path])).files[path].content
        if not text:
            return None
        named = kubeconfig.referenced(text)
        files = (await host.collect({}, named)).files if named else {}
        contents = {path: state.content or "" for path, state in files.items()}
        return kubeconfig.credentials(text, contents)
    except (HostError, kubeconfig.KubeconfigError) as error:
        log.info("%s: %s", host.node.name, error)
        return None


def authenticated_questions(
    cluster: Cluster, credentials: Credentials, *, leases: bool
) -> dict[str, dict[str, Any]]:
    """A read that goes to etcd, and who leads, through the endpoint."""
    ask = {
        "address": str(cluster.endpoint.vip),
        "port": cluster.endpoint.port,
        "ca": credentials.ca,
        "certificate": credentials.certificate,
        "key": credentials.key,
        "token": credentials.token,
        "timeout": FETCH_TIMEOUT,
    }
    paths_of = {ENDPOINT_READ: "/api/v1/namespaces/default"}
    if leases:
        where = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
        paths_of |= {LEASE + name: f"{where}/{name}" for name in CONTROLLERS}
    return {key: {**ask, "path": where} for key, where in paths_of.items()}
