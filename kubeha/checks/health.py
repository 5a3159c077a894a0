"""Is it really highly available now? Judged from interfaces and answers, not from anyone's word."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from kubeha import haproxy, keepalived, lease, paths
from kubeha.checks import finding as kinds
from kubeha.checks import preflight
from kubeha.checks.finding import Finding
from kubeha.facts import Fetched, NodeFacts
from kubeha.world import (
    API_READYZ,
    CONTROLLERS,
    ENDPOINT_READ,
    ENDPOINT_READYZ,
    ENDPOINT_VERSION,
    World,
)

# HAProxy took the connection and had no server for it: all that can be seen before there is one.
ACCEPTED = ("closed", "reset", "protocol")
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
            "see that protocol 112 passes between them in both directions; until then stop"
            f" keepalived on all but one: systemctl stop keepalived (on {holders[-1]})",
            ", ".join(f"{name}: {vip}" for name in holders),
        )
    elif not holders and not (lost := blind(world)):
        yield kinds.NO_HOLDER.at(
            "",
            f"{vip} is on no load balancer node",
            "see why with: journalctl -u keepalived -u haproxy -n 50 (on each node)",
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


def enough_left(world: World) -> Iterator[Finding]:
    """Highly available is what survives the next loss."""
    able = [facts.name for facts in world.load_balancers if can_take_the_vip(facts)]
    if world.holders and len(able) < 2 <= len(world.cluster.load_balancer_nodes):
        yield kinds.FEW_BALANCERS.at(
            "",
            f"only {' and '.join(able) or 'no node'} can take the VIP: the next loss is an outage",
            "bring the others back: see the findings on them; kubeha undoes no drain yet:"
            f" echo 0 >{paths.DRAIN_FILE}",
        )
    ready = [f.name for f in world.control_plane if _alive(f.fetched.get(API_READYZ))]
    if ready and len(ready) < 2 <= len(world.cluster.control_plane):
        yield kinds.FEW_API_SERVERS.at(
            "",
            f"only the API server on {ready[0]} is ready: its loss is an outage",
            "bring the others back: see the findings on them",
        )


def can_take_the_vip(facts: NodeFacts) -> bool:
    """HAProxy answers, keepalived takes part, and nobody has drained the node."""
    said = keepalived.parse_state(facts.keepalived_json or "")
    taking_part = said is not None and said.state in ("MASTER", "BACKUP")
    return taking_part and facts.haproxy_info is not None and not facts.drained


def on_the_wire(world: World) -> Iterator[Finding]:
    """Other machines get an answer for the VIP, and only one."""
    vip = world.cluster.endpoint.vip
    heard = world.heard()
    asked = [node for node, macs in world.vip_answers.items() if macs is not None]
    evidence = "; ".join(f"{mac} heard by {', '.join(nodes)}" for mac, nodes in heard.items())
    if asked and not heard and world.holders:
        yield kinds.VIP_UNANSWERED.at(
            world.holders[0],
            f"{vip} is on the interface of {world.holders[0]} but answers no ARP or NDP",
            "look for arp_ignore, a filter or a link that is down on this node",
            f"asked from {', '.join(asked)}",
        )
    if len(heard) > 1:
        yield kinds.VIP_TAKEN.at(
            "",
            f"{vip} is answered by {len(heard)} machines",
            "find the machine with the other MAC address and take the VIP away from it",
            evidence,
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


def vrrp_state(world: World) -> Iterator[Finding]:
    """keepalived's own word against the interface."""
    for facts in world.load_balancers:
        said = keepalived.parse_state(facts.keepalived_json or "")
        holds = facts.holds(world.cluster.endpoint.vip)
        unit = facts.units.get("keepalived.service")
        if said is None and unit is not None and unit.active:
            yield kinds.SILENT.at(
                facts.name,
                "keepalived runs but does not write its state when asked by signal",
                "if it hangs: systemctl restart keepalived; a build without JSON cannot answer"
                " (keepalived -v | grep JSON)",
            )
        if said is None or holds is None:
            continue
        if said.state == "FAULT":
            yield kinds.FAULT.at(
                facts.name,
                "keepalived is in FAULT: this node does not take part in the election",
                "see that HAProxy runs there and the interface is up: systemctl status haproxy",
            )
        if (said.state == "MASTER") != holds:
            seen = "is" if holds else "is not"
            yield kinds.STATE_MISMATCH.at(
                facts.name,
                f"keepalived says {said.state}, but the VIP {seen} on the interface",
                "systemctl restart keepalived; then look for refused addresses in its journal",
            )


def haproxy_servers(world: World) -> Iterator[Finding]:
    """HAProxy's view of every API server, on every load balancer node."""
    for facts in world.load_balancers:
        unit = facts.units.get("haproxy.service")
        if unit is None or not unit.active:
            continue
        if facts.haproxy_stat is None:
            yield kinds.HAPROXY_DOWN.at(
                facts.name,
                "HAProxy runs but does not answer on its admin socket",
                "systemctl restart haproxy",
            )
            continue
        servers = haproxy.api_servers(facts.haproxy_stat)
        if not servers:
            yield kinds.NOT_OURS.at(
                facts.name,
                f"HAProxy runs, but its configuration has no servers in {haproxy.BACKEND}",
                f"kubeha apply; it runs with something else than {paths.HAPROXY_CONFIG} of ours",
            )
        elif not world.bootstrapping:
            yield from _down(facts.name, servers)


def _down(node: str, servers: tuple[haproxy.ServerStatus, ...]) -> Iterator[Finding]:
    """What one HAProxy says of API servers that it does not use."""
    down = [server for server in servers if not server.up]
    evidence = "; ".join(server.evidence for server in down)
    if down and all(server.check_code in ("401", "403") for server in down):
        yield kinds.REFUSED_CHECK.at(
            node,
            "API servers answer HAProxy's /readyz with 401 or 403: it cannot tell which are ready",
            "let anonymous users read /readyz (--anonymous-auth, or the endpoints allowed in an"
            " AuthenticationConfiguration of Kubernetes 1.32 and later)",
            evidence,
        )
    elif len(down) == len(servers):
        yield kinds.ALL_SERVERS_DOWN.at(
            node,
            "HAProxy sees no ready API server; it passes connections to any that accepts them",
            "see the findings on the API servers",
            evidence,
        )
    else:
        for server in down:
            yield kinds.SERVER_DOWN.at(
                node,
                f"HAProxy has taken API server {server.name} out: {server.status}",
                f"see whether kube-apiserver runs on {server.name}",
                server.evidence,
            )


def api_servers(world: World) -> Iterator[Finding]:
    """Every API server itself, asked on its own node. While bootstrapping: one finding."""
    asked = [(f, f.fetched[API_READYZ]) for f in world.control_plane if API_READYZ in f.fetched]
    sick = [(facts, answer) for facts, answer in asked if not _alive(answer)]
    if world.bootstrapping:
        yield kinds.NO_API.at(
            "",
            "no API server listens on any control plane node yet",
            "start the control plane (kubeadm init with this endpoint), then: kubeha apply",
        )
        return
    for facts, answer in sick:
        yield kinds.API_UNHEALTHY.at(
            facts.name,
            f"the API server is not ready: {answer.reason}",
            "journalctl -u kube-apiserver, or: crictl logs of the kube-apiserver container",
            answer.body.strip().replace("\n", " ")[:300],
        )


def _alive(answer: Fetched | None) -> bool:
    """401 is an answer of a healthy server with --anonymous-auth=false."""
    return answer is not None and answer.status in (200, 401)


def endpoint(world: World) -> Iterator[Finding]:
    """The endpoint as seen from every node and every client node."""
    where = f"{world.cluster.endpoint.vip}:{world.cluster.endpoint.port}"
    for facts in world.everybody:
        told = False
        for key in (ENDPOINT_VERSION, ENDPOINT_READYZ):
            answer = facts.fetched.get(key)
            if answer is None or _alive(answer) or (key == ENDPOINT_READYZ and told):
                continue
            told = True
            if world.bootstrapping and answer.error_kind in ACCEPTED:
                continue
            if answer.error_kind == "name":
                yield kinds.CERTIFICATE_NAME.at(
                    facts.name,
                    f"the certificate behind {where} does not name {world.cluster.endpoint.vip}",
                    "kubeadm: add the VIP to certSANs in the ClusterConfiguration, remove"
                    " apiserver.crt and apiserver.key, run: kubeadm init phase certs apiserver"
                    " --config FILE; else issue it anew with this IP among its SANs",
                    answer.error,
                )
                continue
            yield kinds.ENDPOINT_DOWN.at(
                facts.name,
                f"https://{where}{'/version' if key == ENDPOINT_VERSION else '/readyz'}"
                f" fails from here: {answer.reason}",
                "see the findings on the VIP, HAProxy and the API servers",
                answer.body.strip().replace("\n", " ")[:200],
            )


def authenticated_read(world: World) -> Iterator[Finding]:
    """An etcd-backed read with the cluster's own credentials, from every node that tried."""
    tried = [(f, f.fetched[ENDPOINT_READ]) for f in world.everybody if ENDPOINT_READ in f.fetched]
    for facts, answer in tried:
        if answer.status != 200:
            yield kinds.READ_FAILED.at(
                facts.name,
                f"reading a namespace through the endpoint fails: {answer.reason}",
                "if /readyz is fine, look at etcd and at the credentials in the kubeconfig",
                answer.body.strip()[:200],
            )
    if not tried and world.cas():
        yield kinds.NOT_READ.at(
            "",
            f"no node has a {world.cluster.kubernetes.kubeconfig} that can be read with",
            "set kubernetes.kubeconfig to an administrator's kubeconfig on the nodes",
        )


def leases(world: World) -> Iterator[Finding]:
    """kube-controller-manager and kube-scheduler have a leader which is alive."""
    for name in CONTROLLERS:
        answer = world.lease(name)
        if answer is not None and (reason := lease.problem(answer)):
            yield kinds.LEASE_STALE.at(
                "",
                f"{name}: {reason}",
                f"see whether {name} runs with --leader-elect on the control plane nodes",
            )


CHECKS: tuple[Callable[[World], Iterator[Finding]], ...] = (
    preflight.unreachable,
    unread_interfaces,
    one_holder,
    enough_left,
    on_the_wire,
    services,
    vrrp_state,
    haproxy_servers,
    api_servers,
    endpoint,
    preflight.cluster_ca,
)
# What needs credentials, or asks for more than a glance.
THOROUGH = (*CHECKS, authenticated_read, leases)


def health(world: World) -> tuple[Finding, ...]:
    """Findings on the running endpoint from a glance, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(world))


def thorough(world: World) -> tuple[Finding, ...]:
    """`health`, and what was asked with credentials: a read from etcd, and who leads."""
    return tuple(finding for check in THOROUGH for finding in check(world))


def drift(changed: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """Nodes where apply would have something to do: node -> paths of files that differ."""
    return tuple(
        kinds.DRIFT.at(
            node,
            "this node is not as the cluster file says",
            "see what differs with kubeha plan, put it right with kubeha apply",
            ", ".join(paths),
        )
        for node, paths in changed.items()
    )
