"""keepalived: renders its configuration, reads what it prints. Knows nothing of HAProxy."""

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from kubeha import paths, vrrp
from kubeha.model import Cluster, Node
from kubeha.templates import fill

INSTANCE = "kubeha"


def render_config(cluster: Cluster, node: Node, *, interface: str, vrid: int) -> str:
    """keepalived.conf of a load balancer node."""
    nodes = cluster.load_balancer_nodes
    index = nodes.index(node)
    peers = [str(peer.address) for peer in nodes if peer.name != node.name]
    return fill(
        "keepalived.conf.j2",
        name=node.name,
        address=str(node.address),
        # A single load balancer node has no peer to send to.
        unicast=cluster.vrrp.mode == "unicast" and bool(peers),
        peers=peers,
        interface=interface,
        vrid=vrid,
        priority=vrrp.base_priorities(len(nodes))[index],
        bonus=vrrp.holder_bonus(len(nodes), index),
        drain=vrrp.DRAIN,
        hung=vrrp.HUNG,
        advert_interval=f"{cluster.vrrp.advert_interval:g}",
        vip=str(cluster.endpoint.vip),
        prefix=cluster.endpoint.vip.max_prefixlen,
        instance=INSTANCE,
        check_script=paths.ADMIN_SCRIPT,
        holder_script=paths.HOLDER_SCRIPT,
        haproxy_file=paths.HAPROXY_FILE,
        holder_file=paths.HOLDER_FILE,
        drain_file=paths.DRAIN_FILE,
    )


def render_holder_script() -> str:
    """The script that keepalived runs at each change of state; see its own text."""
    return fill("holder.sh.j2", holder_file=paths.HOLDER_FILE)


# Values of `state` in the JSON dump (include/vrrp.h of keepalived: VRRP_STATE_*).
_STATES = {0: "INIT", 1: "BACKUP", 2: "MASTER", 3: "FAULT"}


@dataclass(frozen=True)
class VrrpState:
    """What keepalived says of its virtual router; its word, not what the interface shows."""

    state: str
    priority: int
    become_master: int
    adverts_received: int


def parse_state(text: str) -> VrrpState | None:
    """Our instance in keepalived's JSON dump; None if it is not there or the text is none."""
    try:
        instances = json.loads(text)
        found = next(each for each in instances if each["data"]["iname"] == INSTANCE)
        data, stats = found["data"], found.get("stats", {})
        return VrrpState(
            state=_STATES.get(data["state"], f"unknown ({data['state']})"),
            priority=int(data["effective_priority"]),
            become_master=int(stats.get("become_master", 0)),
            adverts_received=int(stats.get("advert_rcvd", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration):
        return None


@dataclass(frozen=True)
class Identity:
    """What makes a virtual router this one: nodes that differ in it do not speak to each other."""

    vrid: int | None
    version: str | None
    interface: str | None
    unicast: bool


def identity(text: str) -> Identity:
    """Identity of the first vrrp_instance in a keepalived.conf that kubeha wrote."""
    values: dict[str, str] = {}
    unicast = False
    inside = False
    for line in text.splitlines():
        words = line.split("#", 1)[0].split("!", 1)[0].split()
        inside = inside or words[:1] == ["vrrp_instance"]
        if inside and len(words) >= 2:
            values.setdefault(words[0], words[1])
            unicast = unicast or words[0] == "unicast_peer"
    vrid = values.get("virtual_router_id", "")
    return Identity(
        vrid=int(vrid) if re.fullmatch("[0-9]{1,3}", vrid) else None,
        version=values.get("version"),
        interface=values.get("interface"),
        unicast=unicast,
    )


def virtual_addresses(text: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """The VIPs in a keepalived.conf, whoever wrote it, in the order of the file."""
    found: list[IPv4Address | IPv6Address] = []
    inside = False
    for line in text.splitlines():
        words = line.split("#", 1)[0].split("!", 1)[0].split()
        if inside and words:
            inside = words[0] != "}"
            found += _addresses(words[0])
        elif words[:1] and words[0].startswith("virtual_ipaddress"):
            inside = "}" not in words
    return tuple(found)


def unicast_peers(text: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """The peers in a keepalived.conf that kubeha wrote, one on each line."""
    found: list[IPv4Address | IPv6Address] = []
    inside = False
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if words[:1] == ["unicast_peer"]:
            inside = True
        elif inside and words:
            inside = words[0] != "}"
            found += _addresses(words[0])
    return tuple(found)


def _addresses(word: str) -> list[IPv4Address | IPv6Address]:
    try:
        return [ip_address(word.split("/", 1)[0])]
    except ValueError:
        return []


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in the output of `keepalived -v` (on stderr), None if there is none."""
    found = re.match(r"Keepalived v([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
