"""The desired world: what the cluster file says, as frozen values.

Knows nothing of YAML, files or nodes' real state. Observed state lives in `facts`.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

IPAddress = IPv4Address | IPv6Address
Port = Annotated[int, Field(ge=1, le=65535)]


class Frozen(BaseModel):
    """Strict and immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ssh(Frozen):
    """How to reach nodes over SSH. A node's own values win over the cluster's."""

    user: str | None = None
    port: Port | None = None
    config: str | None = None


class Node(Frozen):
    """One machine: a control plane node, a load balancer node or a client node."""

    name: str
    address: IPAddress
    interface: str | None = None
    ssh: Ssh | None = None


class Endpoint(Frozen):
    """The control plane endpoint: what clients of the API connect to."""

    vip: IPAddress
    port: Port = 8443
    name: str | None = None


class Vrrp(Frozen):
    """Settings of the virtual router."""

    vrid: Annotated[int, Field(ge=1, le=255)] | None = None
    interface: str | None = None
    advert_interval: Annotated[float, Field(ge=0.05, le=40.95)] = 0.1
    mode: Literal["unicast", "multicast"] = "unicast"


class Haproxy(Frozen):
    """Settings of the proxy."""

    balance: Literal["roundrobin", "leastconn"] = "roundrobin"


class Kubernetes(Frozen):
    """Where a control plane node keeps what kubeha needs of Kubernetes."""

    kubeconfig: str = "/etc/kubernetes/admin.conf"
    ca: str = "/etc/kubernetes/pki/ca.crt"


class Cluster(Frozen):
    """A whole cluster file."""

    cluster: str
    endpoint: Endpoint
    control_plane: tuple[Node, ...]
    api_port: Port = 6443
    load_balancers: Literal["control_plane", "external"] | tuple[Node, ...] = "control_plane"
    packages: Literal["install", "preinstalled"] = "install"
    clients: tuple[Node, ...] = ()
    vrrp: Vrrp = Vrrp()
    haproxy: Haproxy = Haproxy()
    ssh: Ssh = Ssh()
    kubernetes: Kubernetes = Kubernetes()

    @property
    def load_balancer_nodes(self) -> tuple[Node, ...]:
        """Machines that run HAProxy and keepalived, in the order of priority."""
        if self.load_balancers == "control_plane":
            return self.control_plane
        if self.load_balancers == "external":
            return ()
        return self.load_balancers

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Load balancer and control plane nodes, each once, without the client nodes."""
        seen = {node.name: node for node in (*self.load_balancer_nodes, *self.control_plane)}
        return tuple(seen.values())
