"""HAProxy: renders its configuration. Knows nothing of keepalived."""

from kubeha.model import Cluster, Node
from kubeha.paths import ADMIN_SOCKET, CA_FILE, SERVER_STATE_FILE
from kubeha.templates import fill
from kubeha.units import format_duration

FRONTEND = "kube-endpoint"
BACKEND = "kube-apiserver"
TCP_BACKEND = "kube-apiserver-tcp"

# Every load balancer node checks every API server: 1 s up to this many, 2 s beyond (each check of
# /readyz is a TLS handshake).
MOST_NODES_THAT_CHECK_EACH_SECOND = 3


def render_config(cluster: Cluster, node: Node, *, verified: bool) -> str:
    """haproxy.cfg of a load balancer node.

    `verified` asks for /readyz over TLS, verified with the CA at CA_FILE; without it (no cluster
    yet) the API servers' TCP ports are checked.
    """
    ipv6 = cluster.endpoint.vip.version == 6
    many = len(cluster.load_balancer_nodes) > MOST_NODES_THAT_CHECK_EACH_SECOND
    return fill(
        "haproxy.cfg.j2",
        name=node.name,
        address=str(node.address),
        vip=str(cluster.endpoint.vip),
        bind=f"[::]:{cluster.endpoint.port} v6only" if ipv6 else f":{cluster.endpoint.port}",
        table_type="ipv6" if ipv6 else "ip",
        servers=[
            {"name": server.name, "address": _bracketed(server)} for server in cluster.control_plane
        ],
        api_port=cluster.api_port,
        verified=verified,
        inter="2s" if many else "1s",
        balance=cluster.haproxy.balance,
        connect_timeout=format_duration(cluster.haproxy.connect_timeout),
        idle_timeout=format_duration(cluster.haproxy.idle_timeout),
        max_connections=cluster.haproxy.max_connections,
        per_source=cluster.haproxy.connections_per_source,
        frontend=FRONTEND,
        backend=BACKEND,
        tcp_backend=TCP_BACKEND,
        admin_socket=ADMIN_SOCKET,
        state_file=SERVER_STATE_FILE,
        ca_file=CA_FILE,
    )


def render_admin_script() -> str:
    """The script that asks HAProxy's admin socket; see its own text."""
    return fill("haproxy-admin.py.j2", admin_socket=ADMIN_SOCKET, state_file=SERVER_STATE_FILE)


def _bracketed(server: Node) -> str:
    return f"[{server.address}]" if server.address.version == 6 else str(server.address)
