"""Rules on the files of several nodes: what must agree between them, and what must not."""

from collections.abc import Iterator, Mapping

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Kind
from kubeha.compare import Aspect, Difference, differences, together
from kubeha.grammar.keepalived import Parsed
from kubeha.grammar.virtual_router import VirtualRouter, virtual_routers
from kubeha.lint import FileFinding, at
from kubeha.lint.haproxy_subject import Subject

KINDS: Mapping[Aspect, Kind] = {
    Aspect.VERSION: kinds.FILES_VERSION,
    Aspect.VRID: kinds.FILES_VRID,
    Aspect.VIPS: kinds.FILES_VIPS,
    Aspect.CAST: kinds.FILES_CAST,
    Aspect.PEERS: kinds.FILES_PEERS,
    Aspect.AUTHENTICATION: kinds.FILES_AUTHENTICATION,
    Aspect.INTERVAL: kinds.FILES_INTERVAL,
    Aspect.LEARNED_INTERVAL: kinds.FILES_LEARNED,
    Aspect.PRIORITY: kinds.FILES_PRIORITY,
}


def judge(
    keepalived: Mapping[str, Parsed], haproxy: Mapping[str, Subject]
) -> tuple[FileFinding, ...]:
    """Every finding on the nodes' files against each other, by node; none for one node."""
    return (*virtual_router_findings(keepalived), *endpoint_findings(haproxy))


def virtual_router_findings(keepalived: Mapping[str, Parsed]) -> Iterator[FileFinding]:
    """KH788 to KH796: instances that are meant to be one virtual router and are not."""
    for group in together({node: virtual_routers(each) for node, each in keepalived.items()}):
        for difference in differences(group):
            yield _finding(group, difference)


def _finding(group: Mapping[str, VirtualRouter], difference: Difference) -> FileFinding:
    odd = next((node for node in difference.odd if node in group), next(iter(group)))
    place = group[odd].place
    return at(
        KINDS[difference.aspect],
        place.file,
        place.line,
        difference.message,
        difference.fix,
        difference.evidence,
        odd if len(difference.odd) == 1 else "",
    )


def endpoint_findings(haproxy: Mapping[str, Subject]) -> Iterator[FileFinding]:
    """KH786, KH787: after a move of the VIP clients meet another HAProxy, which must be alike."""
    telling = {node: each for node, each in haproxy.items() if each.api_backends}
    if len(telling) < 2:
        return
    servers = {node: _servers(each) for node, each in telling.items()}
    ports = {node: _ports(each) for node, each in telling.items()}
    yield from _odd(telling, servers, kinds.SERVERS_DIFFER, "API servers", "list the same servers")
    yield from _odd(telling, ports, kinds.PORTS_DIFFER, "the endpoint on", "bind the same port")


def _servers(subject: Subject) -> str:
    """The API servers, without order and names."""
    found = {
        (str(server.address.ip or server.address.host), server.address.first_port or 0)
        for _, server in subject.api_servers()
    }
    return ", ".join(f"{host}:{port}" for host, port in sorted(found))


def _ports(subject: Subject) -> str:
    """The ports on which clients come, but those for the machine itself alone."""
    found = {
        bind.address.first_port
        for bind in subject.api_binds
        if bind.address.first_port is not None and not bind.address.loopback
    }
    return ", ".join(f"port {port}" for port in sorted(found))


def _odd(
    subjects: Mapping[str, Subject], said: Mapping[str, str], kind: Kind, what: str, fix: str
) -> Iterator[FileFinding]:
    """A finding on each node that says something else than most."""
    values = [value for value in said.values() if value]
    if len(set(values)) < 2:
        return
    usual = max(values, key=values.count)
    for node, value in said.items():
        if value and value != usual:
            subject = subjects[node]
            where = subject.api_frontends[0].section
            found = next(n for n, each in said.items() if each == usual)
            yield at(
                kind,
                subject.file,
                where.line,
                f"{node} has {what} {value}, but {found} {usual}",
                f"{fix} on every node",
                where.text,
                node,
            )
