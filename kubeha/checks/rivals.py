"""Who else on the nodes would hold the VIP, or is in the way of what will?"""

from collections.abc import Iterator

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.checks.serving import alive
from kubeha.facts import NodeFacts
from kubeha.facts.claims import KUBE_VIP, Claim
from kubeha.facts.machine import Process
from kubeha.grammar.keepalived import parse
from kubeha.grammar.virtual_router import virtual_routers
from kubeha.world import API_READYZ, World, is_ours

KEEPALIVED = "keepalived.service"


def other_managers(world: World) -> Iterator[Finding]:
    """Any program but our keepalived that is configured with the VIP."""
    vip = world.cluster.endpoint.vip
    for facts in world.seen(world.cluster.nodes):
        if facts.machine is None:
            continue
        claims = [claim for claim in facts.machine.claims if claim.manager]
        for claim in claims:
            yield kinds.OTHER_MANAGER.at(
                facts.name,
                f"{claim.manager} is configured to hold {vip}, too",
                _removal(claim),
                f"{claim.path}: {claim.line}",
            )
        told = {claim.manager for claim in claims}
        for process in facts.machine.processes or ():
            if process.names_vip and process.name not in ("keepalived", *told):
                yield kinds.OTHER_MANAGER.at(
                    facts.name,
                    f"{process.name} runs with {vip} among its settings",
                    f"stop what starts it (systemctl status {process.pid} tells its unit or pod)",
                    f"process {process.pid}: {process.name}",
                )


def _removal(claim: Claim) -> str:
    if claim.manager == KUBE_VIP:
        return (
            f"move {claim.path} out of that directory on every node, then wait until the VIP is"
            " gone; or keep kube-vip and do without kubeha"
        )
    return f"take the VIP out of {claim.manager} (its configuration is in {claim.path})"


def fixed_vip(world: World) -> Iterator[Finding]:
    """The VIP in the system's own network configuration: it would come back at each boot."""
    for facts in world.seen(world.cluster.nodes):
        for claim in facts.machine.claims if facts.machine else ():
            if not claim.manager:
                yield kinds.FIXED_VIP.at(
                    facts.name,
                    f"{world.cluster.endpoint.vip} is a fixed address in the network configuration:"
                    " this node would hold it after every boot, whoever else does",
                    f"take the line out of {claim.path}; then, unless the node is the holder:"
                    f" ip address del {world.cluster.endpoint.vip}/PREFIX dev INTERFACE",
                    f"{claim.path}: {claim.line}",
                )


def other_routers(world: World) -> Iterator[Finding]:
    """Virtual routers with other VIPs in a keepalived.conf that kubeha would replace."""
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        text = facts.text_of(paths.KEEPALIVED_CONFIG)
        if text is None or is_ours(text) or facts.is_pristine(paths.KEEPALIVED_CONFIG):
            continue
        routers = virtual_routers(parse(text, paths.KEEPALIVED_CONFIG))
        others = [r for r in routers if r.vips and vip not in {one.address for one in r.vips}]
        if others:
            names = ", ".join(f"{r.instance} (VRID {r.vrid})" for r in others)
            yield kinds.OTHER_ROUTERS.at(
                facts.name,
                f"keepalived.conf also has virtual routers for other addresses: {names};"
                " an apply --adopt would end them",
                "move them to other machines first, or take other load balancer nodes for kubeha",
                "; ".join(f"{r.instance}: {', '.join(str(a) for a in r.vips)}" for r in others),
            )


def second_keepalived(world: World) -> Iterator[Finding]:
    """A keepalived beside the service's: its configuration is not known, its VIPs may be ours."""
    for facts in world.load_balancers:
        strays = _strays(facts)
        if strays:
            pids = ", ".join(str(process.pid) for process in strays)
            yield kinds.SECOND_KEEPALIVED.at(
                facts.name,
                f"a keepalived runs that {KEEPALIVED} did not start (process {pids})",
                f"see what started it: systemctl status {strays[0].pid}; if it has this VIP, too,"
                " stop it there",
                strays[0].cgroup.strip().splitlines()[-1] if strays[0].cgroup.strip() else "",
            )


def _strays(facts: NodeFacts) -> list[Process]:
    """keepalived processes in the host's network that are not of its service."""
    processes = (facts.machine.processes or ()) if facts.machine else ()
    found = [p for p in processes if p.name == "keepalived" and p.host_network]
    return [process for process in found if not process.of(KEEPALIVED)]


# How programs that are API servers, or have one inside, call themselves.
API_SERVERS = ("kube-apiserver", "kubelite", "k3s", "rke2", "k0s", "hyperkube", "apiserver")


def api_port_taken(world: World) -> Iterator[Finding]:
    """Something that is no API server listens where the API server has to."""
    port = world.cluster.api_port
    for facts in world.control_plane:
        answer = facts.fetched.get(API_READYZ)
        there = [one for one in facts.listeners or () if one.port == port and one.program]
        strangers = [one for one in there if not one.program.startswith(API_SERVERS)]
        # Whatever it is called: what answers /readyz is an API server, or stands for one.
        if there and len(strangers) == len(there) and answer is not None and not alive(answer):
            first = strangers[0]
            yield kinds.API_PORT_TAKEN.at(
                facts.name,
                f"port {port} is in use by {first.program}, which is no API server",
                "stop it, or set api_port to where the API servers listen (a load balancer on the"
                " same machine needs another port than they)",
                f"{first.address}:{first.port} {first.program}; /readyz there: {answer.reason}",
            )
