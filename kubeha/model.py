"""The desired world: what the cluster file says, as frozen values.

Knows nothing of YAML, files or nodes' real state. Observed state lives in `facts`. What needs two
fields at once (duplicate names, a VIP that is a node's address) is judged in `config`, which can
tell the line.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from kubeha.units import NOTATION, format_duration, parse_duration

LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
INTERFACE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$"
CODE = r"^KH[0-9]{3}$"
USER = r"^[A-Za-z_][A-Za-z0-9_.@-]{0,63}\$?$"
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"


def _matching(pattern: str, complaint: str) -> Callable[[str], str]:
    """A validator: the whole text matches, or a ValueError with `complaint`."""
    compiled = re.compile(pattern.removesuffix("$") + r"\Z")

    def validate(text: str) -> str:
        if not compiled.match(text):
            raise ValueError(complaint)
        return text

    return validate


def _text(pattern: str, complaint: str, longest: int) -> tuple[Any, Any]:
    """The two annotations of a restricted text: for the check and for the JSON Schema."""
    return (
        AfterValidator(_matching(pattern, complaint)),
        Field(max_length=longest, json_schema_extra={"pattern": pattern}),
    )


def _parse_address(value: object) -> IPv4Address | IPv6Address:
    """An address from its text; an address as Python knows it passes."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an IPv4 or IPv6 address, as text")
    try:
        return ip_address(value)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address without a prefix length") from None


def _usable(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Refuse addresses that no machine on a LAN can be reached at."""
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise ValueError("must be the address of one machine on the network")
    if isinstance(address, IPv6Address) and (address.scope_id or address.is_link_local):
        raise ValueError("must not be a link-local address: clients could not reach it")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise ValueError("must be written as the IPv4 address that it maps")
    if isinstance(address, IPv4Address) and (address.is_reserved or int(address) < 1 << 24):
        raise ValueError("must be the address of one machine on the network")
    return address


def _between(low: str, high: str) -> tuple[AfterValidator, WithJsonSchema]:
    """The two annotations of a duration's range: for the check and for the JSON Schema."""

    def validate(seconds: float) -> float:
        if not parse_duration(low) <= seconds <= parse_duration(high):
            raise ValueError(f"must be from {low} to {high}")
        return seconds

    schema = {"type": "string", "pattern": NOTATION, "x-from": low, "x-to": high}
    return AfterValidator(validate), WithJsonSchema(schema)


def _whole_centiseconds(seconds: float) -> float:
    """VRRPv3 carries the interval in centiseconds (RFC 9568, section 5.2.7)."""
    if round(seconds * 1000) % 10:
        raise ValueError("must be a multiple of 10ms")
    return seconds


def _kind_of_load_balancers(value: object) -> str:
    return "word" if isinstance(value, str) else "nodes"


IPAddress = Annotated[
    IPv4Address | IPv6Address,
    PlainValidator(_parse_address),
    AfterValidator(_usable),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "format": f} for f in ("ipv4", "ipv6")]}),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": NOTATION}),
]
Label = Annotated[
    str,
    *_text(LABEL, "must be lower case letters, digits and '-', at most 63 (RFC 1123 label)", 63),
]
DnsName = Annotated[str, *_text(DNS_NAME, "must be a DNS name in lower case", 253)]
Interface = Annotated[
    str,
    *_text(
        INTERFACE,
        "must be an interface name: at most 15 letters, digits, '_', '.' and '-'",
        15,
    ),
]
User = Annotated[str, *_text(USER, "must be a user name", 65)]
Text = Annotated[str, *_text(PRINTABLE, "must be text without control characters", 4096)]
Code = Annotated[str, *_text(CODE, "must be a finding's code, such as KH305", 5)]
AbsolutePath = Annotated[
    str,
    *_text(
        r"^/[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$",
        "must be an absolute path without control characters",
        4096,
    ),
]


def is_interface(name: str) -> bool:
    """Whether a name can be a network interface's."""
    return re.fullmatch(INTERFACE, name) is not None


class Frozen(BaseModel):
    """Strict and immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Ssh(Frozen):
    """How to reach nodes over SSH. A node's own values win over the cluster's."""

    user: User | None = Field(
        None, description="User to log in as; root, or one that `sudo -n` lets become root."
    )
    port: Port | None = Field(None, description="TCP port of the SSH server.")
    config: Text | None = Field(
        None,
        description="OpenSSH client configuration to use instead of ~/.ssh/config; relative to "
        "the cluster file.",
    )


class Node(Frozen):
    """One machine: a control plane node, a load balancer node or a client node."""

    name: Label = Field(description="Short name, used in reports, file names and HAProxy.")
    address: IPAddress = Field(
        description="Address at which the other nodes reach it; VRRP is spoken from it too."
    )
    interface: Interface | None = Field(
        None, description="Network interface of the VIP on this node, if it differs from others."
    )
    ssh: Ssh | None = Field(None, description="SSH settings of this node; they win over `ssh`.")


class Endpoint(Frozen):
    """The control plane endpoint: what clients of the API connect to."""

    vip: IPAddress = Field(
        description="Floating address; free, and on the same network as the load balancer nodes."
    )
    port: Port = Field(8443, description="TCP port of the endpoint.")
    name: DnsName | None = Field(
        None, description="DNS name of the VIP, if clients use one (controlPlaneEndpoint)."
    )


class Vrrp(Frozen):
    """Settings of the virtual router."""

    vrid: Annotated[int, Field(ge=1, le=255)] | None = Field(
        None,
        description="Virtual router ID: must be free on the network. Without it, the last byte "
        "of the VIP (255 where that is 0). What is deployed is never changed silently.",
    )
    interface: Interface | None = Field(
        None,
        description="Network interface of the VIP on every node; without it, the one "
        "on the VIP's subnet.",
    )
    advert_interval: Annotated[
        Duration, *_between("50ms", "40s"), AfterValidator(_whole_centiseconds)
    ] = Field(
        0.1,
        description="Time between VRRP advertisements, a multiple of 10ms. A crashed holder is "
        "replaced after about 3.5 of them. Take 300ms where machines are paused often.",
    )
    mode: Literal["unicast", "multicast"] = Field(
        "unicast",
        description="Unicast is immune to a VRID that is taken and to multicast filters.",
    )


class Haproxy(Frozen):
    """Settings of the proxy."""

    balance: Literal["leastconn", "roundrobin"] = Field(
        "leastconn",
        description="How new connections are spread. leastconn keeps them away from an API server "
        "that hangs, and evens them out after one came back; roundrobin gives each its turn.",
    )
    connect_timeout: Annotated[Duration, *_between("50ms", "10s")] = Field(
        0.3,
        description="How long to wait for an API server's TCP handshake before trying another. "
        "Longer than the slowest round trip between the nodes.",
    )
    idle_timeout: Annotated[Duration, *_between("1m", "24h")] = Field(
        14400.0,
        description="How long a connection may carry nothing before it is closed. Not below the "
        "kubelet's streamingConnectionIdleTimeout.",
    )
    max_connections: Annotated[int, Field(ge=100, le=500_000)] = Field(
        8000, description="Connections that one load balancer node carries at the same time."
    )
    connections_per_source: Annotated[int, Field(ge=10, le=500_000)] = Field(
        500,
        description="Connections that one client address may have at the same time. Raise it "
        "where many clients share an address (NAT, a bastion, another proxy).",
    )


class Kubernetes(Frozen):
    """Where a control plane node keeps what kubeha needs of Kubernetes."""

    kubeconfig: AbsolutePath = Field(
        "/etc/kubernetes/admin.conf", description="kubeconfig with which `verify` reads, on a node."
    )
    ca: AbsolutePath = Field(
        "/etc/kubernetes/pki/ca.crt",
        description="CA of the API servers' certificates, on a control plane node.",
    )


class Ignore(Frozen):
    """A finding that does not count: it is told with the reason, and refuses nothing."""

    code: Code = Field(description="Code of the finding, such as KH305.")
    node: Text | None = Field(
        None, description="Node that it is about; without it, any node and the cluster."
    )
    reason: Text = Field(
        min_length=1, description="Why it may be so; whoever reads the output sees it."
    )

    @property
    def words(self) -> str:
        """As the command line writes it: `KH305@m2`."""
        return f"{self.code}@{self.node}" if self.node else self.code


LoadBalancers = Annotated[
    Annotated[Literal["control_plane", "external"], Tag("word")]
    | Annotated[tuple[Node, ...], Tag("nodes")],
    Discriminator(_kind_of_load_balancers),
]


class Cluster(Frozen):
    """A whole cluster file."""

    cluster: Label = Field(description="Name of the cluster, used in reports.")
    endpoint: Endpoint = Field(description="What clients connect to.")
    control_plane: tuple[Node, ...] = Field(
        min_length=1,
        max_length=31,
        description="Machines that run the API; the order is the order of priority.",
    )
    api_port: Port = Field(6443, description="TCP port of every API server.")
    load_balancers: LoadBalancers = Field(
        "control_plane",
        description="Machines that run HAProxy and keepalived, at most 7: `control_plane`, a list "
        "of nodes in the order of priority, or `external` for a load balancer of somebody else's.",
    )
    packages: Literal["install", "preinstalled"] = Field(
        "install", description="`preinstalled` for nodes without access to a package mirror."
    )
    clients: tuple[Node, ...] = Field(
        (), description="Hosts from which drills and verify look at the endpoint."
    )
    vrrp: Vrrp = Field(Vrrp(), description="Settings of the virtual router.")
    haproxy: Haproxy = Field(Haproxy(), description="Settings of the proxy.")
    ssh: Ssh = Field(Ssh(), description="How to reach the nodes.")
    kubernetes: Kubernetes = Field(
        Kubernetes(), description="Where a control plane node keeps its files."
    )
    ignore: tuple[Ignore, ...] = Field(
        (), description="Findings that do not count, each with the reason."
    )

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
        seen: dict[str, Node] = {}
        for node in (*self.load_balancer_nodes, *self.control_plane):
            seen.setdefault(node.name, node)
        return tuple(seen.values())

    def interface_of(self, node: Node) -> str | None:
        """The interface which the cluster file names for a node, if it names one."""
        return node.interface or self.vrrp.interface
