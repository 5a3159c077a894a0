"""What a node should have: packages, files and units. A pure function of the cluster file.

What only the nodes can tell (the interface, the VRID that is deployed, the cluster's CA) comes in
as a `Site`.
"""

import re
from dataclasses import dataclass

from kubeha import guard, haproxy, keepalived, paths, systemd
from kubeha.errors import ConfigError
from kubeha.model import Cluster, Node
from kubeha.templates import MARK

PACKAGES = ("haproxy", "keepalived")
UNITS = ("haproxy.service", "keepalived.service", "kubeha-guard.service")
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


@dataclass(frozen=True)
class DesiredFile:
    """A file that should be there, byte for byte."""

    path: str
    content: str
    mode: int
    reason: str
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True)
class Site:
    """What only the nodes can tell.

    `ca` is the PEM text of the CA that signed the API servers' certificates, or None while there is
    no cluster yet (bootstrap): then HAProxy checks TCP ports only.
    """

    interface: str
    vrid: int
    ca: str | None


@dataclass(frozen=True)
class DesiredNode:
    """Everything that one load balancer node should have."""

    name: str
    packages: tuple[str, ...]
    files: tuple[DesiredFile, ...]
    units: tuple[str, ...]


def desired_node(cluster: Cluster, name: str, site: Site) -> DesiredNode:
    """Packages, files and units of the load balancer node `name`.

    Raises ConfigError for a node that is no load balancer node and for a CA without certificate.
    """
    node = next((node for node in cluster.load_balancer_nodes if node.name == name), None)
    if node is None:
        raise ConfigError(
            f"{name} is not a load balancer node",
            hint="only load balancer nodes get files: see load_balancers in the cluster file",
        )
    files = (
        *_haproxy_files(cluster, node, site),
        *_keepalived_files(cluster, node, site),
        *_node_programs(cluster, node, site),
        DesiredFile(
            paths.TMPFILES, systemd.render_tmpfiles(), 0o644, "safe values of /run/kubeha at boot"
        ),
    )
    return DesiredNode(name, PACKAGES, files, UNITS)


def _haproxy_files(cluster: Cluster, node: Node, site: Site) -> tuple[DesiredFile, ...]:
    config = haproxy.render_config(cluster, node, verified=site.ca is not None)
    drop_in = systemd.render_haproxy_drop_in(cluster)
    files = [
        DesiredFile(paths.HAPROXY_CONFIG, config, 0o644, "the endpoint, its servers and checks"),
        DesiredFile(paths.HAPROXY_DROP_IN, drop_in, 0o644, "HAProxy's unit: limits and health"),
        DesiredFile(
            paths.ADMIN_SCRIPT, haproxy.render_admin_script(), 0o755, "finds a hung HAProxy"
        ),
    ]
    if site.ca is not None:
        ca = certificates_only(site.ca)
        files.append(DesiredFile(paths.CA_FILE, ca, 0o644, "the CA of the /readyz checks"))
    return tuple(files)


def _keepalived_files(cluster: Cluster, node: Node, site: Site) -> tuple[DesiredFile, ...]:
    config = keepalived.render_config(cluster, node, interface=site.interface, vrid=site.vrid)
    drop_in = systemd.render_keepalived_drop_in(cluster, interface=site.interface)
    return (
        DesiredFile(paths.KEEPALIVED_CONFIG, config, 0o644, "keepalived: who holds the VIP"),
        DesiredFile(
            paths.KEEPALIVED_DROP_IN, drop_in, 0o644, "keepalived's unit: no VIP left behind"
        ),
        DesiredFile(paths.KEEPALIVED_ENV, systemd.render_env(), 0o644, "keepalived's options"),
        DesiredFile(
            paths.HOLDER_SCRIPT,
            keepalived.render_holder_script(),
            0o755,
            "the holder of the VIP stays the holder",
        ),
    )


def _node_programs(cluster: Cluster, node: Node, site: Site) -> tuple[DesiredFile, ...]:
    settings = guard.render_settings(cluster, node, interface=site.interface, vrid=site.vrid)
    return (
        DesiredFile(paths.NODE_SETTINGS, settings, 0o644, "what the node's own programs know"),
        DesiredFile(paths.GUARD_PROGRAM, guard.program("guard"), 0o755, "never two holders"),
        DesiredFile(
            paths.HANDOVER_PROGRAM,
            guard.program("handover"),
            0o755,
            "connections live on while the VIP moves",
        ),
        DesiredFile(paths.GUARD_UNIT, guard.render_unit(), 0o644, "the guard's unit"),
    )


def certificates_only(pem: str) -> str:
    """The certificates in a PEM text and nothing else of it: a key next to them stays where it is.

    Raises ConfigError if there is none.
    """
    found = [re.sub(r"\s*\n\s*", "\n", block) for block in _CERTIFICATE.findall(pem)]
    if not found:
        raise ConfigError(
            "the cluster's CA holds no certificate",
            hint="see kubernetes.ca in the cluster file: it names a PEM file",
        )
    head = f"# {MARK}: the CA of the API servers' certificates.\n"
    return head + "".join(block + "\n" for block in found)
