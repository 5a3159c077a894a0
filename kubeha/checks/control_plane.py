"""Does the control plane behind the endpoint survive the loss of a machine, and do its clients?

Flags of the servers, leader election, and where each node's kubeconfigs lead. etcd is in `etcd`.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import NodeFacts
from kubeha.facts.control_plane import Kubeconfig, Process, Server
from kubeha.world import API_READYZ, CONTROLLERS, World

API_SERVER = "kube-apiserver"
# Files that are meant for the node's own API server: kubeadm's controller manager and scheduler
# always were, its kubelet on control plane nodes is since ControlPlaneKubeletLocalMode (1.31).
LOCAL_BY_DESIGN = ("controller-manager", "scheduler", "kubelet")


def anonymous_readyz(world: World) -> Iterator[Finding]:
    """Before an apply: would HAProxy's checks be refused? kubeha goes on, blind (a warning)."""
    answers = {
        f.name: f.fetched[API_READYZ] for f in world.control_plane if API_READYZ in f.fetched
    }
    refusing = [name for name, answer in answers.items() if answer.status in (401, 403)]
    if not refusing:
        return
    then = (
        "HAProxy could not tell which are ready, and would use all that accept connections"
        if len(refusing) == len(answers)
        else "HAProxy would use the others alone"
    )
    found = kinds.REFUSED_CHECK.at(
        "",
        f"the API servers on {', '.join(refusing)} refuse an anonymous /readyz: {then}",
        "let anonymous users read /readyz (--anonymous-auth=true, or /readyz alone by an"
        " AuthenticationConfiguration, Kubernetes 1.32 and later)",
        ", ".join(f"{name}: HTTP {answers[name].status}" for name in refusing),
    )
    yield replace(found, severity=Severity.WARNING)


def api_server_flags(world: World) -> Iterator[Finding]:
    """Addresses that an API server listens on and gives out."""
    vip = world.cluster.endpoint.vip
    for facts, process in _running(world, API_SERVER):
        if facts.name in loopback_only(world):
            yield kinds.LOOPBACK_ONLY.at(
                facts.name,
                "the API server listens on its own machine only: no load balancer reaches it",
                f"take --bind-address={process.flags['bind-address']} out of its flags (the"
                " default is every address), restart it",
                f"--bind-address={process.flags['bind-address']}",
            )
        if _address(process.flags.get("advertise-address", "")) == vip:
            yield kinds.ADVERTISES_VIP.at(
                facts.name,
                f"the API server advertises the VIP {vip} as its own address: Pods that call"
                " 'kubernetes' all go to the API server of the holder",
                f"set --advertise-address of kube-apiserver on {facts.name} to the node's own"
                " address, restart it",
                f"--advertise-address={process.flags['advertise-address']}",
            )


def loopback_only(world: World) -> frozenset[str]:
    """Nodes whose API server was told to listen on loopback alone."""
    return frozenset(
        facts.name
        for facts, process in _running(world, API_SERVER)
        if (address := _address(process.flags.get("bind-address", ""))) and address.is_loopback
    )


def leader_election(world: World) -> Iterator[Finding]:
    """Of several controllers without election each does the same work: they fight."""
    for name in CONTROLLERS:
        running = _running(world, name)
        careless = [facts.name for facts, process in running if _off(process, "leader-elect")]
        if careless and len({facts.name for facts, _ in running}) > 1:
            yield kinds.NO_ELECTION.at(
                "",
                f"{name} on {', '.join(careless)} runs without leader election beside others: they"
                " act at the same time",
                f"remove --leader-elect=false (or leaderElect: false in its --config file) from"
                f" {name} there, restart it",
                f"it runs on {', '.join(facts.name for facts, _ in running)}",
            )


def controllers_run(world: World) -> Iterator[Finding]:
    """Both controllers beside every API server: the lease can move only to one that runs."""
    for facts in world.control_plane:
        seen = facts.control_plane
        if seen is None or not seen.running(API_SERVER):
            continue
        missing = [name for name in CONTROLLERS if not seen.running(name)]
        if missing:
            yield kinds.CONTROLLER_MISSING.at(
                facts.name,
                f"{' and '.join(missing)} does not run beside the API server",
                "kubeadm: crictl ps -a; crictl logs ID; binaries:"
                f" systemctl status {' '.join(missing)}",
                f"running: {', '.join(sorted({one.name for one in seen.processes}))}",
            )


def kubeconfigs(world: World) -> Iterator[Finding]:
    """Kubeconfigs on every node that know one machine instead of the endpoint, a node at a time."""
    endpoint = f"https://{_host_port(world)}"
    for facts in world.everybody:
        past, local = _astray(world, facts)
        if past:
            paths = [config.path for config, _ in past]
            yield kinds.KUBECONFIG_ELSEWHERE.at(
                facts.name,
                f"{_listed(paths)} lead{'s' if len(paths) == 1 else ''} to one machine instead of"
                " the endpoint: clients are cut off with it",
                _redirection(past, endpoint),
                "; ".join(f"{config.path}: {why}" for config, why in past),
            )
        if local:
            yield kinds.KUBECONFIG_LOCAL.at(
                facts.name,
                f"{_listed(local)} know{'s' if len(local) == 1 else ''} only this node's own API"
                " server",
                f"once the endpoint answers: kubectl config set-cluster NAME --server={endpoint}"
                " --kubeconfig=FILE",
            )


def _astray(world: World, facts: NodeFacts) -> tuple[list[tuple[Kubeconfig, str]], list[str]]:
    """Kubeconfigs that lead past the endpoint (and where to), and those that lead home."""
    past: list[tuple[Kubeconfig, str]] = []
    local: list[str] = []
    for config in (
        (*facts.control_plane.kubeconfigs, *_masters(facts)) if facts.control_plane else ()
    ):
        leads = [_leads(world, facts, server) for server in config.servers]
        # One that has the endpoint as well has it for everyday use.
        if "" in leads or not leads:
            continue
        elsewhere = [where for where in leads if where and where != LOCAL]
        if elsewhere:
            past.append((config, elsewhere[0]))
        elif LOCAL in leads and not any(word in config.path for word in LOCAL_BY_DESIGN):
            local.append(config.path)
    return past, local


LOCAL = "local"


def _leads(world: World, facts: NodeFacts, server: Server) -> str | None:
    """Where a server is: "" the endpoint, LOCAL, words for a single other machine, None unknown."""
    cluster = world.cluster
    addresses = set(server.addresses or ())
    if server.host == cluster.endpoint.name or cluster.endpoint.vip in addresses:
        past_haproxy = server.port == cluster.api_port != cluster.endpoint.port
        return f"{server.url}: the VIP, but past HAProxy" if past_haproxy else ""
    own = {seen.address.ip for seen in facts.addresses or ()}
    if addresses and all(one in own or one.is_loopback for one in addresses):
        serves = facts.name in {node.name for node in cluster.control_plane}
        return LOCAL if serves and server.port == cluster.api_port else None
    others = [node.name for node in cluster.nodes if node.address in addresses]
    if len(others) == 1 and server.port in (cluster.api_port, cluster.endpoint.port):
        return f"{server.url} ({others[0]})"
    return None


def _masters(facts: NodeFacts) -> Iterator[Kubeconfig]:
    """--master of a controller wins over its kubeconfig."""
    for name in CONTROLLERS:
        for process in facts.control_plane.running(name) if facts.control_plane else ():
            url = process.flags.get("master", "")
            try:
                parts = urlsplit(url)
                port = parts.port or (443 if parts.scheme == "https" else 80)
            except ValueError:
                continue
            address = _address(parts.hostname or "")
            if url and address:
                server = Server(url, parts.hostname or "", port, (address,))
                yield Kubeconfig(f"--master of {name}", (server,))


def _redirection(past: list[tuple[Kubeconfig, str]], endpoint: str) -> str:
    """sed for files of the node; what is inside a container, or a flag, has other ways."""
    todo = []
    files = [config for config, _ in past if config.path.startswith("/")]
    if files:
        urls = sorted({server.url for config in files for server in config.servers})
        edits = " ".join(f"-e 's#{url}#{endpoint}#'" for url in urls)
        names = " ".join(config.path for config in files)
        todo.append(f"sed -i {edits} {names}; then restart what uses them (kubelet, kube-proxy)")
    if any(config.path.startswith("kube-proxy:") for config, _ in past):
        todo.append(
            f"kubectl -n kube-system edit configmap kube-proxy (server: {endpoint}), kubectl -n"
            " kube-system rollout restart daemonset kube-proxy"
        )
    if any(config.path.startswith("--master") for config, _ in past):
        todo.append("take the --master away, its --kubeconfig will do")
    return f"once the endpoint answers: {'; '.join(todo) or 'change its server'}"


def _listed(paths: list[str]) -> str:
    return " and ".join([*([", ".join(paths[:-1])] if paths[:-1] else []), paths[-1]])


def _host_port(world: World) -> str:
    endpoint = world.cluster.endpoint
    host = endpoint.name or str(endpoint.vip)
    return f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"


def _running(world: World, name: str) -> list[tuple[NodeFacts, Process]]:
    """Every process of that name on the control plane nodes, beside its node."""
    return [
        (facts, process)
        for facts in world.control_plane
        if facts.control_plane
        for process in facts.control_plane.running(name)
    ]


def _off(process: Process, flag: str) -> bool:
    """Is a flag that is on by default switched off? As Go's strconv.ParseBool reads it."""
    return process.flags.get(flag, "true").lower() in ("false", "f", "0")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
