"""Do HAProxy, the API servers and the endpoint in front of them serve?"""

from collections.abc import Iterator

from kubeha import haproxy, lease, paths
from kubeha.checks import certificates, control_plane
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.facts import Fetched
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
            yield from _down(facts.name, servers, judged(world))


def judged(world: World) -> frozenset[str]:
    """Nodes whose API server is out for a reason that has a finding of its own."""
    return certificates.refused(world) | control_plane.loopback_only(world)


def _down(
    node: str, servers: tuple[haproxy.ServerStatus, ...], told: frozenset[str]
) -> Iterator[Finding]:
    """What one HAProxy says of API servers that it does not use; `told`: why is known of these."""
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
        for server in (each for each in down if each.name not in told):
            yield kinds.SERVER_DOWN.at(
                node,
                f"HAProxy has taken API server {server.name} out: {server.status}",
                f"see whether kube-apiserver runs on {server.name}",
                server.evidence,
            )


def api_servers(world: World) -> Iterator[Finding]:
    """Every API server itself, asked on its own node. While bootstrapping: one finding."""
    asked = [(f, f.fetched[API_READYZ]) for f in world.control_plane if API_READYZ in f.fetched]
    sick = [(facts, answer) for facts, answer in asked if not alive(answer)]
    if world.bootstrapping:
        yield kinds.NO_API.at(
            "",
            "no API server listens on any control plane node yet",
            "start the control plane (kubeadm init with this endpoint), then: kubeha apply",
        )
        return
    told = judged(world)
    for facts, answer in ((f, one) for f, one in sick if f.name not in told):
        yield kinds.API_UNHEALTHY.at(
            facts.name,
            f"the API server is not ready: {answer.reason}",
            "journalctl -u kube-apiserver, or: crictl logs of the kube-apiserver container",
            answer.body.strip().replace("\n", " ")[:300],
        )


def alive(answer: Fetched | None) -> bool:
    """401 is an answer of a healthy server with --anonymous-auth=false."""
    return answer is not None and answer.status in (200, 401)


def endpoint(world: World) -> Iterator[Finding]:
    """The endpoint as seen from every node and every client node."""
    where = f"{world.cluster.endpoint.vip}:{world.cluster.endpoint.port}"
    for facts in world.everybody:
        told = False
        for key in (ENDPOINT_VERSION, ENDPOINT_READYZ):
            answer = facts.fetched.get(key)
            if answer is None or alive(answer) or (key == ENDPOINT_READYZ and told):
                continue
            told = True
            if world.bootstrapping and answer.error_kind in ACCEPTED:
                continue
            if certificates.explains(world, answer):
                continue
            if answer.error_kind == "name":
                # Whose certificate it is cannot be told: no API server showed one that lacks it.
                yield kinds.CERTIFICATE_NAME.at(
                    facts.name,
                    f"the certificate behind {where} does not name {world.cluster.endpoint.vip}",
                    certificates.issue_anew(world, facts),
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
        if answer.status != 200 and not certificates.explains(world, answer):
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
        if answer is None or certificates.explains(world, answer):
            continue
        if reason := lease.problem(answer):
            yield kinds.LEASE_STALE.at(
                "",
                f"{name}: {reason}",
                f"see whether {name} runs with --leader-elect on the control plane nodes",
            )
