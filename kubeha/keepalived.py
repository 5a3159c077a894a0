"""keepalived: renders its configuration, reads what it prints. Knows nothing of HAProxy."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from kubeha import paths, vrrp
from kubeha.grammar.keepalived import Parsed, parse
from kubeha.grammar.virtual_router import IPAddress, VirtualRouter, virtual_routers
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
        fresh=vrrp.FRESH,
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
        fresh_file=paths.FRESH_FILE,
        drain_file=paths.DRAIN_FILE,
        aside_file=paths.ASIDE_FILE,
        guard_file=paths.GUARD_FILE,
    )


def render_holder_script() -> str:
    """The script that keepalived runs at each change of state; see its own text."""
    return fill("holder.sh.j2", holder_file=paths.HOLDER_FILE, fresh_file=paths.FRESH_FILE)


# Values of `state` in the JSON dump (include/vrrp.h of keepalived: VRRP_STATE_*).
_STATES = {0: "INIT", 1: "BACKUP", 2: "MASTER", 3: "FAULT"}


@dataclass(frozen=True)
class VrrpState:
    """What keepalived says of one of its instances; its word, not what the interface shows.

    Intervals are in seconds. None where this build does not tell. `counters`: since its start, by
    keepalived's own names (adverts received and dropped, changes of state).
    """

    instance: str
    state: str
    priority: int
    base_priority: int | None = None
    # Of the last advert that was accepted; 0 while this node is the master.
    master_priority: int | None = None
    vrid: int | None = None
    version: int | None = None
    interface: str | None = None
    advert_int: float | None = None
    vips: tuple[IPAddress, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def become_master(self) -> int:
        return self.counters.get("become_master", 0)

    @property
    def adverts_received(self) -> int:
        return self.counters.get("advert_rcvd", 0)


def parse_states(text: str) -> tuple[VrrpState, ...] | None:
    """Every instance in keepalived's JSON dump, in its order; None if the text is none."""
    try:
        return tuple(_state(each["data"], each.get("stats", {})) for each in json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def parse_state(text: str, vip: IPAddress | None = None) -> VrrpState | None:
    """The instance that carries this VIP, whatever its name is, else the one that kubeha writes.

    None if neither is in the dump, or the text is none.
    """
    states = parse_states(text) or ()
    carrying = (each for each in states if vip is not None and vip in each.vips)
    named = (each for each in states if each.instance == INSTANCE)
    return next(carrying, None) or next(named, None)


def _state(data: Mapping[str, Any], stats: Mapping[str, Any]) -> VrrpState:
    """One instance; field names as in vrrp_json.c. Vips read `ADDRESS[/PREFIX] dev ...`."""
    return VrrpState(
        instance=str(data["iname"]),
        state=_STATES.get(data["state"], f"unknown ({data['state']})"),
        priority=int(data["effective_priority"]),
        base_priority=data.get("base_priority"),
        master_priority=data.get("master_priority"),
        vrid=data.get("vrid"),
        version=data.get("version"),
        interface=data.get("ifp_ifname"),
        advert_int=data.get("adver_int"),
        vips=tuple(_leading_address(vip) for vip in data.get("vips", ())),
        counters={name: int(count) for name, count in stats.items()},
    )


def _leading_address(vip: str) -> IPAddress:
    return ip_address(vip.split()[0].partition("/")[0])


@dataclass(frozen=True)
class Identity:
    """What makes a virtual router this one: nodes that differ in it do not speak to each other."""

    vrid: int | None
    version: int | None
    interface: str | None
    unicast: bool


@lru_cache(maxsize=64)
def read_config(text: str) -> Parsed:
    """A deployed keepalived.conf; many checks ask for the same one."""
    return parse(text, paths.KEEPALIVED_CONFIG)


@lru_cache(maxsize=64)
def routers(text: str) -> tuple[VirtualRouter, ...]:
    """Every vrrp_instance of a deployed keepalived.conf, whoever wrote it."""
    return virtual_routers(read_config(text))


def identity(text: str) -> Identity:
    """Identity of the first vrrp_instance in a keepalived.conf."""
    for router in routers(text):
        return Identity(router.vrid, router.version, router.interface, router.unicast)
    return Identity(None, None, None, False)


def virtual_addresses(text: str) -> tuple[IPAddress, ...]:
    """The VIPs in a keepalived.conf, whoever wrote it, those outside adverts included."""
    return tuple(vip.address for r in routers(text) for vip in (*r.vips, *r.excluded_vips))


def unicast_peers(text: str) -> tuple[IPAddress, ...]:
    """The peers in a keepalived.conf, of all its instances."""
    return tuple(peer for router in routers(text) for peer in router.unicast_peers)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in the output of `keepalived -v` (on stderr), None if there is none."""
    found = re.match(r"Keepalived v([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
