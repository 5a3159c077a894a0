"""Rules on values of an instance that keepalived refuses, and on what it takes instead."""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Statement
from kubeha.grammar.virtual_router import (
    DEFAULT_PRIORITY,
    VirtualRouter,
    decimal,
    vip_of,
    whole,
)
from kubeha.lint import FileFinding
from kubeha.lint.keepalived_subject import Found, Subject, setting, tell

WEIGHTS = (-253, 253)


def identity(subject: Subject) -> Found:
    """Without these there is no virtual router at all."""
    for router in subject.routers:
        named = setting(router, "virtual_router_id")
        if router.vrid is None and not _placeholder(named):
            yield _refused(
                named or router.statement,
                f"{router.instance or 'the instance'} has no virtual_router_id from 1 to 255:"
                " keepalived leaves it out",
                "virtual_router_id ID, the same on every node and on no other virtual router in"
                " the segment",
            )
        if router.interface is None and not router.unicast:
            yield _refused(
                router.statement,
                f"{router.instance or 'the instance'} names no interface",
                "interface IF, the one on the VIP's subnet",
            )


def numbers(subject: Subject) -> Found:
    """priority, state, advert_int and version: outside their limits the default counts."""
    for router in subject.routers:
        priority = setting(router, "priority")
        if priority and whole(priority.word(), 1, 255) is None and not _placeholder(priority):
            yield _refused(
                priority,
                f"not a priority from 1 to 255: keepalived takes {DEFAULT_PRIORITY}",
                "priority 240, 200 and 160 on the three nodes, or the like: distinct, with room"
                " between them",
            )
        state = setting(router, "state")
        if state and state.word() not in ("MASTER", "BACKUP") and not _placeholder(state):
            yield _refused(
                state, "keepalived knows MASTER and BACKUP only, and takes BACKUP", "state BACKUP"
            )
        yield from _version(router)
        yield from _interval(router)


def _version(router: VirtualRouter) -> Iterator[FileFinding]:
    version = setting(router, "version")
    if version and whole(version.word(), 2, 3) is None and not _placeholder(version):
        yield _refused(version, "VRRP has versions 2 and 3", "version 3, on every node")


def _interval(router: VirtualRouter) -> Iterator[FileFinding]:
    """vrrp_adv_handler and vrrp_complete_instance: what is rounded, and what is refused."""
    found = setting(router, "advert_int")
    if found is None or _placeholder(found):
        return
    value = decimal(found.word())
    if value is not None and router.version == 2 and value != int(value):
        yield _refused(
            found,
            f"version 2 knows whole seconds only: keepalived takes {router.advert_int:g} s",
            "version 3 in the instance, on every node at once (keepalived stopped everywhere"
            " meanwhile)",
        )
    elif value is None or value != router.advert_int:
        most = "0.01 to 40.95 s in steps of 0.01 s" if router.version == 3 else "1 to 255 s"
        yield _refused(
            found,
            f"not an interval of {most}: keepalived takes {router.advert_int:g} s",
            "advert_int 0.2 with version 3",
        )


def addresses(subject: Subject) -> Found:
    """Lines of address blocks that are no address, VIPs of two families, and no VIP at all."""
    for router in subject.routers:
        for keyword in ("virtual_ipaddress", "virtual_ipaddress_excluded"):
            for block in router.statement.all(keyword):
                yield from _not_addresses(block)
        first = router.vips[0] if router.vips else None
        other = [
            vip for vip in router.vips if vip.address.version != router.vips[0].address.version
        ]
        if first and other:
            yield _refused(
                other[0].statement,
                f"{other[0]} has another address family than {first}: keepalived leaves it out",
                f"move {other[0]} to virtual_ipaddress_excluded, or to an instance of its own",
            )
        lines = [s for b in router.statement.all("virtual_ipaddress") for s in b.block or ()]
        if not lines and not router.statement.all("no_virtual_ipaddress"):
            yield _refused(
                router.statement,
                f"{router.instance or 'the instance'} has no VIP that keepalived could hold",
                "virtual_ipaddress { VIP/32 }",
            )


def _not_addresses(block: Statement) -> Iterator[FileFinding]:
    for each in block.block or ():
        if vip_of(each) is None and not _placeholder(each):
            yield _refused(each, "this is no address: keepalived leaves it out", "VIP/32 [dev IF]")


def weights(subject: Subject) -> Found:
    """Of scripts, interfaces and bfd sessions; files and processes know other limits."""
    for statement in subject.parsed.walk():
        if statement.keyword.startswith("track_") and statement.block is not None:
            uses = [s for s in statement.block if "weight" in s.words[1:-1]]
            for use in uses if statement.keyword in ("track_script", "track_interface") else ():
                word = use.words[use.words.index("weight") + 1]
                yield from _weight(use, word)
    for script in subject.scripts:
        if (found := script.last("weight")) and found.word():
            yield from _weight(found, found.word() or "")


def _weight(where: Statement, word: str) -> Iterator[FileFinding]:
    if whole(word, *WEIGHTS) is None and "$" not in word:
        yield _refused(
            where,
            f"not a weight from {WEIGHTS[0]} to {WEIGHTS[1]}: keepalived does without it",
            "weight -60, or what is more than the difference between the nodes' priorities",
        )


def _refused(where: Statement, message: str, fix: str) -> FileFinding:
    return tell(kinds.VALUE_REFUSED, where, message, fix)


def _placeholder(statement: Statement | None) -> bool:
    """An unfilled template is told of once, by its name."""
    return statement is not None and "$" in statement.text


RULES = (identity, numbers, addresses, weights)
