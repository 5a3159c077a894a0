"""The configuration files that the load balancer nodes have now, read for lint. Changes nothing."""

import asyncio
from dataclasses import dataclass

from kubeha import paths
from kubeha.errors import HostError
from kubeha.facts import Unreachable
from kubeha.facts.debian import parse_dpkg
from kubeha.facts.node import output
from kubeha.host import Host
from kubeha.lint.sources import Source, recognise
from kubeha.model import Cluster
from kubeha.observe import QUICK, open_fleet
from kubeha.remote import FileState

# What the packages bring: who makes /run/haproxy.
_PACKAGED = (
    "/lib/systemd/system/haproxy.service",
    "/usr/lib/systemd/system/haproxy.service",
    "/usr/lib/tmpfiles.d/haproxy.conf",
)
_READ = (
    paths.HAPROXY_CONFIG,
    paths.KEEPALIVED_CONFIG,
    paths.HAPROXY_DROP_IN,
    paths.TMPFILES,
    *_PACKAGED,
)


@dataclass(frozen=True)
class Deployed:
    """What one node has: files that lint can judge, and the versions of the packages."""

    node: str
    sources: tuple[Source, ...]
    versions: dict[str, str]


async def deployed_files(
    cluster: Cluster, become_password: str | None = None
) -> tuple[tuple[Deployed, ...], tuple[Unreachable, ...]]:
    """Of all load balancer nodes at once, and the nodes that could not be asked."""
    nodes = cluster.load_balancer_nodes
    async with open_fleet(cluster, nodes, become_password=become_password) as fleet:
        seen = await asyncio.gather(*(_read(host) for host in fleet.hosts.values()))
    lost = [*fleet.unreachable.values(), *(each for each in seen if isinstance(each, Unreachable))]
    return tuple(each for each in seen if isinstance(each, Deployed)), tuple(lost)


async def _read(host: Host) -> Deployed | Unreachable:
    """One node, in one round trip."""
    name = host.node.name
    try:
        seen = await host.collect({"packages": QUICK["packages"]}, _READ)
    except HostError as error:
        return Unreachable(name, error.message, error.hint)
    sources = [found for state in seen.files.values() if (found := _source(name, state))]
    return Deployed(name, tuple(sources), parse_dpkg(output(seen.commands.get("packages"))))


def _source(node: str, state: FileState) -> Source | None:
    """None for what is not there, cannot be read or is nothing that lint knows."""
    if not state.content:
        return None
    # What is no UTF-8 there comes as lone surrogates, which cannot be printed.
    text = state.content.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    grammar = recognise(state.path, text)
    return Source(f"{node}:{state.path}", text, grammar, node) if grammar else None
