"""What no single value shows: duplicates, collisions, mixed families, too many or too few nodes.

The rules read the raw tree and skip what is not there or not readable, so that they find their
problems in the same run as the problems of single values.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from kubeha.checks.finding import kind_of, similar
from kubeha.checks.ignoring import NEVER
from kubeha.config.problem import Path, Problem, dotted, shown
from kubeha.model import CODE, Haproxy
from kubeha.vrrp import MAX_LOAD_BALANCERS

Address = IPv4Address | IPv6Address
LISTS = ("load_balancers", "control_plane", "clients")
DEFAULT_PORT = 8443
DEFAULT_API_PORT = 6443


@dataclass(frozen=True)
class Entry:
    """One node as it is written: what cannot be read of it is None."""

    path: Path
    name: str | None
    address: Address | None

    @property
    def list_name(self) -> str:
        """The list that it is in."""
        return str(self.path[0])


@dataclass(frozen=True)
class Draft:
    """As much of a cluster file as can be read, right or wrong."""

    vip: Address | None
    port: object
    api_port: object
    entries: tuple[Entry, ...]
    external: bool
    dedicated: bool
    haproxy: Mapping[str, Any]
    ignore: tuple[Mapping[str, Any], ...] = ()

    @property
    def load_balancers(self) -> tuple[Entry, ...]:
        """Machines that will run HAProxy and keepalived."""
        if self.external:
            return ()
        wanted = "load_balancers" if self.dedicated else "control_plane"
        return tuple(entry for entry in self.entries if entry.list_name == wanted)


def problems(tree: Mapping[str, Any]) -> list[Problem]:
    """Everything that makes the file unusable."""
    draft = _draft(tree)
    return [problem for rule in RULES for problem in rule(draft)]


def warnings(tree: Mapping[str, Any]) -> list[Problem]:
    """What an operator should know, though the file can be used."""
    draft = _draft(tree)
    if draft.external or len(draft.load_balancers) != 1:
        return []
    where = "load_balancers" if draft.dedicated else "control_plane"
    return [
        Problem(
            (where,),
            "only one load balancer node: when it fails, nothing takes the VIP over and the "
            "endpoint is gone until it is back",
            "two or more make it highly available",
        )
    ]


def duplicates(draft: Draft) -> Iterator[Problem]:
    """No name and no address is there twice, but for one machine that has both roles."""
    for key in ("name", "address"):
        first: dict[object, Entry] = {}
        for entry in draft.entries:
            value = getattr(entry, key)
            if value is None:
                continue
            other = first.setdefault(value, entry)
            if other is not entry and not _one_machine_in_two_roles(other, entry):
                yield Problem((*entry.path, key), f"{value} is also {dotted((*other.path, key))}")


def _one_machine_in_two_roles(one: Entry, other: Entry) -> bool:
    """A control plane node that is listed as a load balancer node too, with the same values."""
    return {one.list_name, other.list_name} == {"load_balancers", "control_plane"} and (
        (one.name, one.address) == (other.name, other.address)
    )


def vip_is_free(draft: Draft) -> Iterator[Problem]:
    """The VIP is an address of its own."""
    for entry in draft.entries:
        if draft.vip is not None and entry.address == draft.vip:
            yield Problem(
                ("endpoint", "vip"),
                f"{draft.vip} is the address of {entry.name or dotted(entry.path)}",
                "the VIP moves between the nodes: take a free address of their network",
            )


def one_family(draft: Draft) -> Iterator[Problem]:
    """A virtual router speaks IPv4 or IPv6, not both (RFC 9568, section 1.2)."""
    for entry in draft.load_balancers:
        if draft.vip and entry.address and draft.vip.version != entry.address.version:
            yield Problem(
                (*entry.path, "address"),
                f"is IPv{entry.address.version}, but the VIP is IPv{draft.vip.version}",
                "a virtual router has one address family",
            )


def ports_differ(draft: Draft) -> Iterator[Problem]:
    """HAProxy and the API server cannot listen on the same port of one machine."""
    if draft.port != draft.api_port or isinstance(draft.port, bool):
        return
    api = {entry.name for entry in draft.entries if entry.list_name == "control_plane"}
    shared = [entry.name for entry in draft.load_balancers if entry.name in api]
    if shared:
        yield Problem(
            ("endpoint", "port"),
            f"is {draft.port}, as api_port is: HAProxy and the API server cannot both listen "
            f"there on {shared[0]}",
            f"take another, such as {DEFAULT_PORT}, or list dedicated load_balancers",
        )


def number_of_load_balancers(draft: Draft) -> Iterator[Problem]:
    """At least one, and no more than can have well separated priorities."""
    count = len(draft.load_balancers)
    if draft.dedicated and count == 0:
        yield Problem(("load_balancers",), "must have at least 1 entry")
    if count > MAX_LOAD_BALANCERS:
        where = "load_balancers" if draft.dedicated else "control_plane"
        yield Problem(
            (where,),
            f"{count} load balancer nodes, at most {MAX_LOAD_BALANCERS} are possible",
            "list a few of them under load_balancers: three are enough",
        )


def source_limit_fits(draft: Draft) -> Iterator[Problem]:
    """One source's limit above the limit of all would be none."""
    default = Haproxy()
    total = draft.haproxy.get("max_connections", default.max_connections)
    per_source = draft.haproxy.get("connections_per_source", default.connections_per_source)
    if type(total) is int and type(per_source) is int and per_source > total:
        yield Problem(
            ("haproxy", "connections_per_source"),
            f"{per_source} is more than max_connections ({total})",
        )


def ignored_codes(draft: Draft) -> Iterator[Problem]:
    """There is such a finding, and one can live with it."""
    for index, ignore in enumerate(draft.ignore):
        code = ignore.get("code")
        if not isinstance(code, str) or not re.fullmatch(CODE, code):
            continue
        path = ("ignore", index, "code")
        if kind_of(code) is None:
            close = similar(code)
            hint = f"did you mean {close}?" if close else "all: kubeha explain"
            yield Problem(path, f"there is no finding {code}", hint)
        elif code in NEVER:
            yield Problem(path, f"{code} cannot be ignored", NEVER[code])


def ignored_nodes(draft: Draft) -> Iterator[Problem]:
    """A finding is ignored on a node of this file."""
    names = [entry.name for entry in draft.entries if entry.name]
    for index, ignore in enumerate(draft.ignore):
        node = ignore.get("node")
        if isinstance(node, str) and node not in names:
            close = get_close_matches(node, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            yield Problem(("ignore", index, "node"), f"there is no node {shown(node)}", hint)


def ignored_once(draft: Draft) -> Iterator[Problem]:
    """Two reasons for the same would leave one of them unread."""
    first: dict[tuple[object, object], int] = {}
    for index, ignore in enumerate(draft.ignore):
        code, node = ignore.get("code"), ignore.get("node")
        if not isinstance(code, str) or not isinstance(node, str | None):
            continue
        other = first.setdefault((code, node), index)
        if other != index:
            yield Problem(("ignore", index), f"the same as ignore[{other}]")


RULES: tuple[Callable[[Draft], Iterator[Problem]], ...] = (
    duplicates,
    vip_is_free,
    one_family,
    ports_differ,
    number_of_load_balancers,
    source_limit_fits,
    ignored_codes,
    ignored_nodes,
    ignored_once,
)


def _draft(tree: Mapping[str, Any]) -> Draft:
    endpoint = _mapping(tree.get("endpoint"))
    return Draft(
        vip=_address(endpoint.get("vip")),
        port=endpoint.get("port", DEFAULT_PORT),
        api_port=tree.get("api_port", DEFAULT_API_PORT),
        entries=tuple(_entries(tree)),
        external=tree.get("load_balancers") == "external",
        dedicated=isinstance(tree.get("load_balancers"), tuple),
        haproxy=_mapping(tree.get("haproxy")),
        ignore=tuple(map(_mapping, _list(tree.get("ignore")))),
    )


def _entries(tree: Mapping[str, Any]) -> Iterator[Entry]:
    for list_name in LISTS:
        for index, node in enumerate(_list(tree.get(list_name))):
            name = _mapping(node).get("name")
            yield Entry(
                path=(list_name, index),
                name=name if isinstance(name, str) else None,
                address=_address(_mapping(node).get("address")),
            )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _address(value: object) -> Address | None:
    if not isinstance(value, str):
        return None
    try:
        return ip_address(value)
    except ValueError:
        return None
