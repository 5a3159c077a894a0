"""The CA of the cluster, and the certificate that each of its API servers shows.

HAProxy passes TLS through and spreads connections: one bad certificate of three breaks every third
connection, and a look through the VIP alone misses it two times of three. So each API server is
judged by what it showed on its own node.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import Fetched, NodeFacts
from kubeha.facts.certificate import Certificate, parse_certificate, signed_by
from kubeha.world import API_READYZ, World, has_certificate, is_ours

# `kubeadm certs check-expiration` has no threshold; a month leaves time for a maintenance window.
SOON = timedelta(days=30)
# HAProxy's checks verify this name (templates/haproxy.cfg.j2): every installer puts it in.
CHECKED_NAME = "kubernetes"
# How a client says that it does not trust a certificate (node/look.py, error_kind).
UNTRUSTED = ("name", "certificate")


def cluster_ca(world: World) -> Iterator[Finding]:
    cas = world.cas()
    if not world.control_plane:
        return
    bad = [name for name, text in cas.items() if not has_certificate(text)]
    for name in bad:
        yield kinds.UNREADABLE.at(
            name,
            f"{world.cluster.kubernetes.ca} holds no certificate",
            "correct kubernetes.ca in the cluster file, or the file on the node",
        )
    checked = [f.name for f in world.load_balancers if is_ours(f.text_of(paths.CA_FILE))]
    if not cas and checked:
        yield kinds.CA_GONE.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca}, but HAProxy on"
            f" {', '.join(checked)} checks with a CA: an apply would go back to TCP checks",
            "correct kubernetes.ca in the cluster file",
        )
    elif not cas:
        yield kinds.NO_CA.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca} yet",
            "go on (kubeadm init can use the endpoint now), then run kubeha apply once more",
        )
    elif len({text.strip() for text in cas.values()}) > 1:
        yield kinds.CAS_DIFFER.at(
            "",
            "control plane nodes have different cluster CAs: " + ", ".join(sorted(cas)),
            "these nodes belong to different clusters: correct control_plane",
        )


def served(world: World) -> Iterator[Finding]:
    """Every API server's certificate: when it holds, who signed it, whom it names."""
    for facts, answer, certificate in shown(world):
        yield from _validity(facts, answer, certificate)
        if not _outside_validity(facts, answer, certificate):
            yield from _trust(world, facts, answer, certificate)
        yield from _checked_name(facts, certificate)
        yield from _endpoint_names(world, facts, certificate)


def shown(world: World) -> Iterator[tuple[NodeFacts, Fetched, Certificate]]:
    """Those API servers that showed a certificate, with the answer that came with it."""
    for facts in world.control_plane:
        answer = facts.fetched.get(API_READYZ)
        certificate = parse_certificate(answer.certificate) if answer else None
        if answer and certificate:
            yield facts, answer, certificate


def refused(world: World) -> frozenset[str]:
    """Nodes whose API server HAProxy's checks (and kubeha) refuse for its certificate alone."""
    return frozenset(
        facts.name for facts, answer, _ in shown(world) if answer.error_kind in UNTRUSTED
    )


def explains(world: World, answer: Fetched) -> bool:
    """Do findings on single API servers say why a client of the endpoint refused a certificate?"""
    if answer.error_kind not in UNTRUSTED:
        return False
    return any(found.severity is Severity.ERROR for found in served(world))


def _validity(facts: NodeFacts, answer: Fetched, seen: Certificate) -> Iterator[Finding]:
    ends, evidence = _date(seen.not_after), f"valid from {_date(seen.not_before)}"
    evidence += f" until {ends}, issued by {seen.issuer}"
    if not _outside_validity(facts, answer, seen):
        now = _now(facts)
        if now is not None and seen.not_after - now < SOON:
            days = (seen.not_after - now).days
            yield kinds.CERTIFICATE_ENDS.at(
                facts.name,
                f"the API server's certificate expires in {days} days, on {ends}",
                renewal(facts),
                evidence,
            )
    elif (now := _now(facts)) is not None and now < seen.not_before:
        yield kinds.CERTIFICATE_EXPIRED.at(
            facts.name,
            f"the API server's certificate is not valid before {_date(seen.not_before)}",
            "set the clock right of the node, or of the machine that issued it; then issue it anew",
            f"{evidence}; the node's clock says {_date(now)}",
        )
    else:
        yield kinds.CERTIFICATE_EXPIRED.at(
            facts.name,
            f"the API server's certificate expired on {ends}: every client refuses it",
            renewal(facts),
            evidence,
        )


def _outside_validity(facts: NodeFacts, answer: Fetched, seen: Certificate) -> bool:
    """By the node's clock; without one, by what the node's own TLS library said."""
    now = _now(facts)
    if now is None:
        return answer.error_kind == "certificate" and (
            "expired" in answer.error or "not yet valid" in answer.error
        )
    return not seen.not_before <= now <= seen.not_after


def _now(facts: NodeFacts) -> datetime | None:
    return None if facts.clock is None else datetime.fromtimestamp(facts.clock, UTC)


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _trust(world: World, facts: NodeFacts, answer: Fetched, seen: Certificate) -> Iterator[Finding]:
    """OpenSSL's verdict on the node, which knows intermediate CAs; else the signature alone."""
    ca = facts.text_of(world.cluster.kubernetes.ca)
    if answer.error_kind == "certificate":
        trusted, why = False, answer.error
    elif ca is None and (other := world.ca()) is not None:
        # This node has no CA to verify with: nothing was, there.
        trusted, why = signed_by(answer.certificate, other) is not False, "not signed by it"
    else:
        return
    if not trusted:
        yield kinds.CERTIFICATE_FOREIGN.at(
            facts.name,
            f"the API server's certificate is not signed by {world.cluster.kubernetes.ca}",
            f"issue it anew with the cluster's CA: {issue_anew(world, facts)}",
            f"issued by {seen.issuer}; {why}",
        )


def _checked_name(facts: NodeFacts, seen: Certificate) -> Iterator[Finding]:
    if not seen.names(CHECKED_NAME):
        yield kinds.CERTIFICATE_UNCHECKABLE.at(
            facts.name,
            f"the API server's certificate does not name '{CHECKED_NAME}': HAProxy's checks would"
            " refuse it, and so do Pods",
            "issue it anew with the DNS names that Kubernetes asks for: kubernetes,"
            " kubernetes.default, kubernetes.default.svc and the service domain's",
            f"it names {seen.alternatives}",
        )


def _endpoint_names(world: World, facts: NodeFacts, seen: Certificate) -> Iterator[Finding]:
    endpoint = world.cluster.endpoint
    wanted = [endpoint.vip, *([endpoint.name] if endpoint.name else [])]
    missing = [str(one) for one in wanted if not seen.names(one)]
    if missing:
        yield kinds.CERTIFICATE_NAME.at(
            facts.name,
            f"the API server's certificate does not name {' and '.join(missing)}: clients of the"
            " endpoint refuse every connection that HAProxy gives to this API server",
            issue_anew(world, facts),
            f"it names {seen.alternatives}",
        )


def certificate_file(facts: NodeFacts) -> str:
    """Where its API server has its certificate; kubeadm's place if its flags are not known."""
    servers = facts.control_plane.running("kube-apiserver") if facts.control_plane else ()
    named = (process.flags.get("tls-cert-file", "") for process in servers)
    return next(filter(None, named), KUBEADM_FILE)


KUBEADM_FILE = "/etc/kubernetes/pki/apiserver.crt"
KUBEASZ_DIRECTORY = "/etc/kubernetes/ssl/"


def issue_anew(world: World, facts: NodeFacts) -> str:
    """How to have the certificate with the endpoint's names, by what the cluster was made with."""
    endpoint = world.cluster.endpoint
    names = " and ".join(str(one) for one in (endpoint.vip, endpoint.name) if one)
    file = certificate_file(facts)
    if file.startswith(KUBEASZ_DIRECTORY):
        return (
            f"add {names} to MASTER_CERT_HOSTS in kubeasz's clusters/NAME/config.yml, then:"
            " ezctl setup NAME 04 -t change_cert,restart_master"
        )
    if file != KUBEADM_FILE:
        return f"issue {file} anew with {names} among its SANs (kubeha explain KH604), restart"
    return (
        f"add {names} to apiServer.certSANs in kubeadm's ClusterConfiguration, then there:"
        " mkdir -p /root/pki-old; mv /etc/kubernetes/pki/apiserver.* /root/pki-old/;"
        " kubeadm init phase certs apiserver --config FILE; restart kube-apiserver"
        " (every command: kubeha explain KH604)"
    )


def renewal(facts: NodeFacts) -> str:
    """How to have it for longer, with the same names."""
    file = certificate_file(facts)
    if file == KUBEADM_FILE:
        return "there: kubeadm certs renew apiserver; then restart kube-apiserver"
    if file.startswith(KUBEASZ_DIRECTORY):
        return "on kubeasz's machine: ezctl setup NAME 04 -t change_cert,restart_master"
    return f"issue {file} anew with the same names, restart kube-apiserver"
