"""HAProxy: renders its configuration, reads what it prints. Knows nothing of keepalived."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubeha.model import Cluster, Node
from kubeha.paths import ADMIN_SOCKET, CA_FILE, HAPROXY_CONFIG, HAPROXY_FILE, SERVER_STATE_FILE
from kubeha.templates import fill
from kubeha.units import format_duration

FRONTEND = "kube-endpoint"
BACKEND = "kube-apiserver"
TCP_BACKEND = "kube-apiserver-tcp"
USER = "haproxy"

# Every load balancer node checks every API server: 1 s up to this many, 2 s beyond (each check of
# /readyz is a TLS handshake).
MOST_NODES_THAT_CHECK_EACH_SECOND = 3


def render_config(cluster: Cluster, node: Node, *, verified: bool) -> str:
    """haproxy.cfg of a load balancer node.

    `verified` asks for /readyz over TLS, verified with the CA at CA_FILE; without it (no cluster
    yet) the API servers' TCP ports are checked.
    """
    many = len(cluster.load_balancer_nodes) > MOST_NODES_THAT_CHECK_EACH_SECOND
    return fill(
        "haproxy.cfg.j2",
        name=node.name,
        address=str(node.address),
        vip=str(cluster.endpoint.vip),
        port=cluster.endpoint.port,
        ipv6=cluster.endpoint.vip.version == 6,
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
    return fill(
        "haproxy-admin.py.j2",
        admin_socket=ADMIN_SOCKET,
        state_file=SERVER_STATE_FILE,
        config_file=HAPROXY_CONFIG,
        haproxy_file=HAPROXY_FILE,
        user=USER,
    )


def _bracketed(server: Node) -> str:
    return f"[{server.address}]" if server.address.version == 6 else str(server.address)


@dataclass(frozen=True)
class ServerStatus:
    """One API server as one HAProxy sees it (management guide, section 9.1, `show stat`)."""

    name: str
    status: str
    check_status: str
    check_code: str
    last_check: str

    @property
    def up(self) -> bool:
        """'UP', 'UP 1/3' (going down) and 'no check' count; DOWN, MAINT and DRAIN do not."""
        return self.status.startswith(("UP", "no check"))

    @property
    def evidence(self) -> str:
        words = (self.name, self.status, self.check_status, self.check_code, self.last_check)
        return " ".join(word for word in words if word)


def api_servers(text: str) -> tuple[ServerStatus, ...]:
    """The API servers in the answer to `show stat`, without the fail-open backups.

    CSV read by its header, for columns differ between versions. A check that is running has
    "* " before its status. Anything that is no such answer has no servers.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text.removeprefix("# "))))
    except csv.Error:
        return ()
    return tuple(_server(row) for row in rows if _is_api_server(row))


def _is_api_server(row: Mapping[str, str]) -> bool:
    return (
        row.get("pxname") == BACKEND
        and row.get("svname") not in (None, "", "FRONTEND", "BACKEND")
        and row.get("bck") != "1"
    )


def _server(row: Mapping[str, str]) -> ServerStatus:
    return ServerStatus(
        name=row["svname"],
        status=row.get("status") or "",
        check_status=(row.get("check_status") or "").removeprefix("* "),
        check_code=row.get("check_code") or "",
        last_check=row.get("last_chk") or "",
    )


def parse_info(text: str) -> dict[str, str]:
    """The answer to `show info`: Name: value lines."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in the output of `haproxy -v`, None if there is none."""
    found = re.match(r"HA-?Proxy version ([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
