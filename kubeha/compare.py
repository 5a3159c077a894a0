"""What must agree between the nodes of one virtual router, and what must not. Pure.

Used on deployed files (verify, status) and on files given to lint: names are nodes or file names.
Neither log nor wire alone shows several of these: with one node unicast and one multicast both
hold the VIP and neither logs a line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubeha.grammar.virtual_router import VirtualRouter
from kubeha.model import IPAddress


class Aspect(StrEnum):
    """What differs. The values are stable: codes are given by them."""

    VERSION = "version"
    VRID = "virtual_router_id"
    VIPS = "virtual_ipaddress"
    CAST = "unicast or multicast"
    PEERS = "unicast_peer"
    AUTHENTICATION = "authentication"
    # Version 2: adverts with another interval are dropped.
    INTERVAL = "advert_int"
    # Version 3: a backup takes the master's interval over.
    LEARNED_INTERVAL = "advert_int, learned"
    # The one thing that has to differ.
    PRIORITY = "priority"


# What is set -> who has it so, the most common first.
Values = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Difference:
    """One cause. `values`: what is set -> who has it so, the most common first.

    `odd`: those who differ from most of the others; everybody where there is no majority.
    """

    aspect: Aspect
    odd: tuple[str, ...]
    values: Values
    message: str
    fix: str

    @property
    def evidence(self) -> str:
        return "; ".join(f"{', '.join(names)}: {value}" for value, names in self.values)


Routers = Mapping[str, VirtualRouter]
Addresses = Mapping[str, Iterable[IPAddress]]


def differences(routers: Routers, addresses: Addresses | None = None) -> tuple[Difference, ...]:
    """Why these instances are not one virtual router, the gravest first; empty if they are.

    `routers`: node or file -> the instance that carries the VIP there. `addresses`: the nodes'
    own addresses where they are known; else unicast_src_ip says who is who.
    Other order of the VIPs and other prefix lengths are no difference: keepalived does not
    compare them (vrrp_check_packet).
    """
    own = {name: _own(name, router, addresses or {}) for name, router in routers.items()}
    found = [*_shared(routers), *_peers(routers, own), *_intervals(routers)]
    # Other versions or ids do not hear each other: their priorities do not meet.
    if not any(each.aspect in (Aspect.VERSION, Aspect.VRID) for each in found):
        found += _priorities(routers)
    return tuple(found)


def carrying(routers: Iterable[VirtualRouter], vip: IPAddress) -> VirtualRouter | None:
    """The instance that has this VIP, in its adverts or beside them, among those of one file."""
    known = tuple(routers)
    for router in known:
        if vip in router.addresses:
            return router
    return next((r for r in known if vip in (each.address for each in r.excluded_vips)), None)


def counterpart(
    routers: Iterable[VirtualRouter], others: Iterable[VirtualRouter]
) -> VirtualRouter | None:
    """The instance that is meant to be one virtual router with `others`, by what they share.

    A VIP in common counts most, then the virtual router id on the same address family, then the
    name.
    """
    known = tuple(others)

    def shared(router: VirtualRouter) -> tuple[int, int, int]:
        vips = {vip for other in known for vip in other.addresses}
        return (
            len(vips & set(router.addresses)),
            sum(router.vrid is not None and router.vrid == other.vrid for other in known),
            sum(router.instance == other.instance for other in known),
        )

    best = max(routers, key=shared, default=None)
    return best if best is not None and any(shared(best)) else None


def together(files: Mapping[str, Iterable[VirtualRouter]]) -> tuple[dict[str, VirtualRouter], ...]:
    """Instances of several files -> those that are meant to be one virtual router.

    Every group has at most one instance of each file, and at least two.
    """
    left = {name: list(routers) for name, routers in files.items()}
    groups = []
    for name in files:
        for router in tuple(left[name]):
            group = {name: router}
            left[name].remove(router)
            for other in files:
                if other not in group and (found := counterpart(left[other], group.values())):
                    group[other] = found
                    left[other].remove(found)
            if len(group) > 1:
                groups.append(group)
    return tuple(groups)


def _own(name: str, router: VirtualRouter, addresses: Addresses) -> tuple[IPAddress, ...]:
    """The addresses by which others may name this one, the one it sends from first."""
    told = (router.unicast_src_ip,) if router.unicast_src_ip else ()
    return tuple(dict.fromkeys((*told, *addresses.get(name, ()))))


@dataclass(frozen=True)
class _Rule:
    """An aspect that must be the same everywhere: how it reads, and what follows."""

    aspect: Aspect
    says: Callable[[VirtualRouter], str]
    what: str
    fix: str


def _vips(router: VirtualRouter) -> str:
    return ", ".join(sorted(map(str, set(router.addresses)))) or "none"


def _cast(router: VirtualRouter) -> str:
    if not router.unicast:
        return "multicast"
    return f"unicast to {', '.join(map(str, router.unicast_peers))}"


def _authentication(router: VirtualRouter) -> str:
    # Version 3 knows no authentication: whatever the file says is ignored.
    if router.version == 3 or router.auth_type is None:
        return "none"
    return f"{router.auth_type} {(router.auth_digest or 'without a password')[:8]}"


_RULES = (
    _Rule(
        Aspect.VERSION,
        lambda router: f"version {router.version}",
        "speak different versions of VRRP: each drops the other's adverts",
        "give vrrp_version (or version) the same value on all nodes, all at once",
    ),
    _Rule(
        Aspect.VRID,
        lambda router: f"virtual_router_id {router.vrid}",
        "carry the VIP with different virtual router ids: each elects a master of its own",
        "give virtual_router_id the same value on all nodes, all at once",
    ),
    _Rule(
        Aspect.VIPS,
        _vips,
        "have different VIPs in virtual_ipaddress: keepalived refuses or misjudges such adverts",
        "write the same addresses into virtual_ipaddress on all nodes",
    ),
)


def _shared(routers: Routers) -> Iterator[Difference]:
    for rule in _RULES:
        values = _values(routers, rule.says)
        if len(values) > 1:
            yield _differing(rule.aspect, values, rule.what, rule.fix)
    values = _values(routers, lambda router: "unicast" if router.unicast else "multicast")
    # One node alone has no peers to name.
    if len(values) > 1:
        yield _differing(
            Aspect.CAST,
            values,
            "do not send alike: who sends by multicast is not heard by those with unicast peers",
            "write unicast_src_ip and unicast_peer (all the other nodes) into every file",
        )
    values = _values(routers, _authentication)
    if len(values) > 1:
        yield _differing(
            Aspect.AUTHENTICATION,
            _without_digests(values),
            "do not share type and password of authentication: each drops the other's adverts",
            "write the same authentication block into every file, or better none",
        )


def _without_digests(values: Values) -> Values:
    """The same with nothing that came of a password, not even its digest."""
    return tuple(
        (f"{kind}, password {number}" if digest else kind, names)
        for number, (value, names) in enumerate(values, 1)
        for kind, _, digest in (value.partition(" "),)
    )


def _values(routers: Routers, says: Callable[[VirtualRouter], str]) -> Values:
    """Each value and who has it, the most common first."""
    found: dict[str, list[str]] = {}
    for name, router in routers.items():
        found.setdefault(says(router), []).append(name)
    ordered = sorted(found.items(), key=lambda pair: -len(pair[1]))
    return tuple((value, tuple(names)) for value, names in ordered)


def _odd(values: Values) -> tuple[str, ...]:
    """Everybody but the majority; everybody at all if there is none."""
    (_, most), *others = values
    rest = tuple(name for _, names in others for name in names)
    clear = len(most) > max(len(names) for _, names in others)
    return rest if clear else (*most, *rest)


def _differing(aspect: Aspect, values: Values, what: str, fix: str) -> Difference:
    everybody = sorted(name for _, names in values for name in names)
    return Difference(aspect, _odd(values), values, f"{_and(everybody)} {what}", fix)


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _peers(routers: Routers, own: Mapping[str, tuple[IPAddress, ...]]) -> Iterator[Difference]:
    """Everybody that speaks unicast has to name everybody else."""
    for name, router in routers.items():
        missing = [
            other
            for other, theirs in own.items()
            if router.unicast
            and other != name
            and theirs
            and not {*theirs} & {*router.unicast_peers}
        ]
        if missing:
            lines = _and([str(own[other][0]) for other in missing])
            yield Difference(
                Aspect.PEERS,
                (name,),
                ((_cast(router), (name,)),),
                f"{name} does not send its adverts to {_and(missing)}: not in its unicast_peer",
                f"add to unicast_peer on {name}: {lines}; then: systemctl reload keepalived",
            )


def _intervals(routers: Routers) -> Iterator[Difference]:
    """Only among those of one version: the others do not hear each other anyway."""
    if len({router.version for router in routers.values()}) > 1:
        return
    values = _values(routers, lambda router: f"advert_int {router.advert_int:g}")
    if len(values) < 2:
        return
    fix = "give advert_int the same value on all nodes"
    if next(iter(routers.values())).version == 2:
        what = "have different advertisement intervals: with VRRPv2 each drops the other's adverts"
        yield _differing(Aspect.INTERVAL, values, what, f"{fix}, all at once")
    else:
        what = (
            "have different advertisement intervals: with VRRPv3 backups learn the master's,"
            " but who starts or loses it first counts with its own"
        )
        yield _differing(
            Aspect.LEARNED_INTERVAL, values, what, f"{fix}; then: systemctl reload keepalived"
        )


def _priorities(routers: Routers) -> Iterator[Difference]:
    values = _values(routers, lambda router: f"priority {router.priority}")
    same = [(value, names) for value, names in values if len(names) > 1]
    for value, names in same:
        yield Difference(
            Aspect.PRIORITY,
            names,
            ((value, names),),
            f"{_and(names)} have the same priority {value.split()[1]}: who gets the VIP is chance",
            "give every node a priority of its own, 40 apart, for example 240, 200 and 160",
        )
