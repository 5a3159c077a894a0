"""keepalived: renders its configuration, reads what it prints. Knows nothing of HAProxy."""

import json
import re
from dataclasses import dataclass

from kubeha import paths, vrrp
from kubeha.grammar.keepalived import parse
from kubeha.grammar.virtual_router import IPAddress, virtual_routers
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
    version: int | None
    interface: str | None
    unicast: bool


def identity(text: str) -> Identity:
    """Identity of the first vrrp_instance in a keepalived.conf."""
    for router in virtual_routers(parse(text)):
        return Identity(router.vrid, router.version, router.interface, router.unicast)
    return Identity(None, None, None, False)


def virtual_addresses(text: str) -> tuple[IPAddress, ...]:
    """The VIPs in a keepalived.conf, whoever wrote it, those outside adverts included."""
    routers = virtual_routers(parse(text))
    return tuple(vip.address for r in routers for vip in (*r.vips, *r.excluded_vips))


def unicast_peers(text: str) -> tuple[IPAddress, ...]:
    """The peers in a keepalived.conf, of all its instances."""
    return tuple(peer for router in virtual_routers(parse(text)) for peer in router.unicast_peers)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in the output of `keepalived -v` (on stderr), None if there is none."""
    found = re.match(r"Keepalived v([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
