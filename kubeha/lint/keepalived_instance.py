"""Rules on vrrp_instance: settings that keepalived accepts and that are no good."""

from collections.abc import Iterator, Sequence

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Severity
from kubeha.grammar.virtual_router import PASSWORD_OCTETS, VirtualRouter
from kubeha.lint.keepalived_subject import Found, Subject, setting, tell

# What samples and guides have: 51 in keepalived's own and in nearly every article, 1 and 100 in
# those of routers.
COMMON_VRIDS = frozenset((1, 50, 51, 52, 100))
SLOW_INTERVAL = 1.0
# A generated file may have thousands; that it is wrong shows with a few.
MAX_ALIKE = 8


def link_tracking(subject: Subject) -> Found:
    for router in subject.routers:
        if found := setting(router, "dont_track_primary"):
            yield tell(
                kinds.NO_LINK_TRACKING,
                found,
                f"when {router.interface or 'the interface'} loses its link, the holder keeps the"
                " VIP, and another node takes it as well",
                "remove the line",
            )


def interval(subject: Subject) -> Found:
    """Three intervals and a bit (RFC 5798, section 6.1: Master_Down_Interval)."""
    for router in subject.routers:
        if router.advert_int < SLOW_INTERVAL or not router.vips:
            continue
        least = 3 * router.advert_int
        most = least + (router.advert_int if router.version == 3 else 1)
        yield tell(
            kinds.SLOW_INTERVAL,
            setting(router, "advert_int") or router.statement,
            f"a backup notices a dead holder after {least:g} to {most:g} s, by its priority",
            "version 3 and advert_int 0.2, on every node; the version must change everywhere at"
            " once: systemctl stop keepalived on all of them first"
            if router.version == 2
            else "advert_int 0.2, on every node",
        )


def prefix(subject: Subject) -> Found:
    for router in subject.routers:
        for vip in router.vips:
            if vip.prefix < vip.address.max_prefixlen:
                where = vip.statement
                dev = vip.dev or router.interface or "IF"
                yield tell(
                    kinds.SUBNET_PREFIX,
                    where,
                    f"{vip} makes the VIP a secondary address of the node's own subnet: it goes"
                    " when that address goes, and the node may speak from it",
                    f"{vip.address}/{vip.address.max_prefixlen} dev {dev}, on every node (the"
                    " nodes may differ meanwhile: VRRP does not compare prefix lengths)",
                )


def password(subject: Subject) -> Found:
    """RFC 2338's password in plain text, which RFC 3768 took away; version 3 has none."""
    for router in subject.routers:
        block = setting(router, "authentication")
        word = block.last("auth_pass") if block else None
        if block is None or router.auth_type is None:
            continue
        used = (word.word() or "") if word else ""
        if word and len(used.encode()) > PASSWORD_OCTETS and not used.startswith("$"):
            yield tell(
                kinds.PASSWORD_CUT,
                word,
                f"only its first {PASSWORD_OCTETS} characters count",
                "remove the whole authentication block, on every node at once; or write those"
                " eight",
            )
        ignored = router.version == 3
        yield tell(
            kinds.PASSWORD_USELESS,
            block.last("auth_type") or block,
            "version 3 has no authentication: keepalived ignores it, and keepalived -t complains"
            if ignored
            else "the password stands in every advertisement in plain text; nodes that differ in"
            " it both hold the VIP",
            "remove the authentication block"
            + (
                ""
                if ignored
                else ", on every node at once; use unicast_peer to be safe from others"
            ),
            severity=None if ignored else Severity.INFO,
        )


def master_ignores(subject: Subject) -> Found:
    for router in subject.routers:
        late = [s for k in ("nopreempt", "preempt_delay") if (s := setting(router, k))]
        if (
            router.state != "MASTER"
            or not late
            or (late[0].keyword == "nopreempt") > router.nopreempt
        ):
            continue
        yield tell(
            kinds.MASTER_IGNORES,
            late[0],
            f"with state MASTER keepalived switches {late[0].keyword} off: this node takes the VIP"
            " back as soon as it returns",
            "state BACKUP, on every node: priorities decide, not the state at the start",
        )


def nopreempt_weights(subject: Subject) -> Found:
    for router in subject.routers:
        weighted = [track for track in router.tracks if track.weight]
        found = setting(router, "nopreempt")
        if found and router.nopreempt and router.state != "MASTER" and weighted:
            names = ", ".join(track.name for track in weighted)
            yield tell(
                kinds.NOPREEMPT_WEIGHTS,
                found,
                f"when {names} fails on the holder only its priority falls, and no node with"
                " nopreempt takes the VIP from a holder of lower priority",
                "remove nopreempt and write preempt_delay 3; or give what is tracked weight 0, so"
                " that a failure is FAULT",
            )


def common_vrid(subject: Subject) -> Found:
    for router in subject.routers:
        if router.unicast or router.vrid not in COMMON_VRIDS or "mcast_dst_ip" in _keywords(router):
            continue
        yield tell(
            kinds.COMMON_VRID,
            setting(router, "virtual_router_id") or router.statement,
            f"{router.vrid} is what samples and guides have: with another cluster of that id in the"
            " segment the VIP flaps, or no node of one of them ever gets it",
            "unicast_src_ip and unicast_peer on every node at once (no collision can harm them);"
            " or an id that nobody uses: kubeha check names the ids it hears",
        )


def address_owner(subject: Subject) -> Found:
    for router in subject.routers:
        if router.priority == 255:
            names = ", ".join(track.name for track in router.tracks)
            yield tell(
                kinds.ADDRESS_OWNER,
                setting(router, "priority") or setting(router, "state") or router.statement,
                ("" if setting(router, "priority") else "state MASTER without a priority is 255; ")
                + "255 is the address owner: no failed check lowers it"
                + (f" ({names} has no effect)" if names else "")
                + ", and it takes the VIP the moment it starts",
                "priority 240",
            )


def same_router(subject: Subject) -> Found:
    """The same name, or the same id on the same interface and family without distinct peers."""
    for first, second in _pairs(subject.routers):
        if first.instance == second.instance:
            what = f"{second.instance} is the name of the instance of line {first.place.line}, too"
            fix = "give each vrrp_instance a name of its own: keepalived drops the second"
        elif _collide(first, second):
            what = (
                f"{first.instance} and {second.instance} both have virtual_router_id"
                f" {second.vrid} on {second.interface}: each takes the other's adverts for its own"
            )
            fix = "give one of them another virtual_router_id, on every node"
        else:
            continue
        where = setting(second, "virtual_router_id") or second.statement
        yield tell(kinds.SAME_ROUTER, where, what, fix)


def _pairs(routers: Sequence[VirtualRouter]) -> Iterator[tuple[VirtualRouter, VirtualRouter]]:
    """Each with those before it that share its name, or its id and interface."""
    names: dict[str, VirtualRouter] = {}
    ids: dict[tuple[int | None, str | None], list[VirtualRouter]] = {}
    for router in routers:
        alike = ids.setdefault((router.vrid, router.interface), [])
        if router.instance in names:
            yield names[router.instance], router
        else:
            yield from ((other, router) for other in alike[:MAX_ALIKE])
        names.setdefault(router.instance, router)
        alike.append(router)


def _collide(first: VirtualRouter, second: VirtualRouter) -> bool:
    families = {vip.address.version for vip in first.vips} & {
        v.address.version for v in second.vips
    }
    same = (first.vrid, first.interface) == (second.vrid, second.interface)
    known = first.vrid is not None and first.interface is not None
    apart = (
        first.unicast
        and second.unicast
        and not set(first.unicast_peers) & set(second.unicast_peers)
    )
    mixed = first.unicast != second.unicast
    groups = {_group(first), _group(second)}
    return bool(known and same and families and not apart and not mixed and len(groups) == 1)


def _group(router: VirtualRouter) -> str | None:
    found = setting(router, "mcast_dst_ip")
    return found.word() if found else None


def other_interface(subject: Subject) -> Found:
    """keepalived watches the link of both by itself; what is beyond the VIP's link nobody does."""
    for router in subject.routers:
        for vip in router.vips:
            if vip.dev in (None, router.interface) or router.interface is None:
                continue
            yield tell(
                kinds.OTHER_INTERFACE,
                vip.statement,
                f"the VIP is on {vip.dev} and the adverts on {router.interface}: a fault in the"
                f" segment behind {vip.dev} that leaves its link up is not noticed, and switches"
                " there hear of the VIP at takeover only",
                f"interface {vip.dev}, if the nodes reach each other there; else garp_extra_if 10"
                " in the instance",
            )


def peers(subject: Subject) -> Found:
    for router in subject.routers:
        block = setting(router, "unicast_peer")
        source = setting(router, "unicast_src_ip")
        if router.unicast and block and router.unicast_src_ip in router.unicast_peers:
            own = [s for s in block.block or () if source and s.keyword == source.word()]
            where = own[0] if own else block
            yield tell(
                kinds.OWN_PEER,
                where,
                "the node is its own peer: it hears itself and warns at every advert of an"
                " 'equal priority advert received from remote host with our IP address'",
                "remove the line: each node's list has all others, and not itself",
            )
        elif router.unicast and block and router.unicast_src_ip is None and not source:
            yield tell(
                kinds.NO_UNICAST_SOURCE,
                block,
                "keepalived sends from whichever address it finds first on the interface; where"
                " that is not the one that the others list, they drop it",
                "unicast_src_ip ADDRESS, the one that the other nodes have in unicast_peer",
            )
        elif not router.unicast and (block or source):
            yield tell(
                kinds.EMPTY_PEERS,
                block or source or router.statement,
                "without a peer keepalived sends to the multicast group after all",
                "unicast_peer { ADDRESS of every other node }; or remove it, if multicast is meant",
            )


def _keywords(router: VirtualRouter) -> set[str]:
    return {each.keyword for each in router.statement.block or ()}


RULES = (
    link_tracking, interval, prefix, password, master_ignores, nopreempt_weights, common_vrid,
    address_owner, same_router, other_interface, peers,
)  # fmt: skip
