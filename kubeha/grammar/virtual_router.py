"""What a keepalived.conf says of its virtual routers, with keepalived's own defaults filled in.

Defaults and limits: man keepalived.conf, "VRRP instance(s)"; vrrp/vrrp_data.c alloc_vrrp. A value
that keepalived itself would refuse counts as not given, as there.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from kubeha.grammar import Place
from kubeha.grammar.keepalived import Parsed, Statement, script_words

IPAddress = IPv4Address | IPv6Address

DEFAULT_PRIORITY = 100
OWNER_PRIORITY = 255
DEFAULT_INTERVAL = 1.0
# VRRPv2 carries eight octets of a password (RFC 2338, 5.3.10); keepalived cuts the rest off.
PASSWORD_OCTETS = 8
NOTIFY = ("notify", "notify_master", "notify_backup", "notify_fault", "notify_stop",
          "notify_deleted", "notify_master_rx_lower_pri")  # fmt: skip
_TRUE, _FALSE = ("on", "true", "yes"), ("off", "false", "no")


@dataclass(frozen=True)
class Vip:
    """An address that the holder puts on an interface."""

    address: IPAddress
    # As it takes effect: without one in the file it is a host's, 32 or 128.
    prefix: int
    prefix_given: bool
    # None: the interface of the virtual router.
    dev: str | None
    statement: Statement = field(repr=False)

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True)
class Track:
    """Something that an instance follows: a script, file, process, interface or bfd session."""

    kind: str
    name: str
    # Added to the priority (a file's: times its content); 0 or None: failure means FAULT.
    weight: int | None
    statement: Statement = field(repr=False)
    # Is there a definition of that name in the file? Interfaces need none.
    defined: bool = True


@dataclass(frozen=True)
class VirtualRouter:
    """One vrrp_instance. Durations in seconds; None where the file says nothing usable."""

    instance: str
    place: Place
    # 2 or 3: the instance's own, else the global one, else 2; always 3 with IPv6.
    version: int
    # 1 to 255.
    vrid: int | None
    interface: str | None
    state: str
    # 1 to 255.
    priority: int
    # As keepalived takes it: whole seconds in version 2, hundredths in version 3.
    advert_int: float
    nopreempt: bool
    preempt_delay: float
    unicast_src_ip: IPAddress | None
    unicast_peers: tuple[IPAddress, ...]
    mcast_src_ip: IPAddress | None
    # "PASS" or "AH"; version 3 knows none and ignores it, but here is what the file says.
    auth_type: str | None
    # SHA-256 of what is used of the password, to compare nodes without showing it.
    auth_digest: str | None
    vips: tuple[Vip, ...]
    excluded_vips: tuple[Vip, ...]
    tracks: tuple[Track, ...]
    # (keyword, command): notify, notify_master, ...; the command with its arguments.
    notify: tuple[tuple[str, tuple[str, ...]], ...]
    use_vmac: bool
    statement: Statement = field(repr=False)

    @property
    def unicast(self) -> bool:
        """Does it send to peers? Without any, keepalived (by default) sends to the group."""
        return bool(self.unicast_peers)

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The VIPs that its advertisements carry."""
        return tuple(vip.address for vip in self.vips)


@dataclass(frozen=True)
class SyncGroup:
    """One vrrp_sync_group: instances that change state together."""

    name: str
    members: tuple[str, ...]
    place: Place
    statement: Statement = field(repr=False)


def virtual_routers(parsed: Parsed) -> tuple[VirtualRouter, ...]:
    """Every vrrp_instance of the file, in its order."""
    return tuple(_router(statement, parsed) for statement in parsed.all("vrrp_instance"))


def sync_groups(parsed: Parsed) -> tuple[SyncGroup, ...]:
    """Every vrrp_sync_group of the file, in its order."""
    return tuple(
        SyncGroup(
            name=group.word() or "",
            members=tuple(w for s in group.all("group") for m in s.block or () for w in m.words),
            place=group.place,
            statement=group,
        )
        for group in parsed.all("vrrp_sync_group")
    )


def _router(block: Statement, parsed: Parsed) -> VirtualRouter:
    vips = tuple(_vips(block, "virtual_ipaddress"))
    excluded = tuple(_vips(block, "virtual_ipaddress_excluded"))
    peers = tuple(_peers(block))
    source = _address(_word(block, "unicast_src_ip"))
    known = (*(vip.address for vip in vips), *peers, *([source] if source else []))
    version = 3 if known and known[0].version == 6 else _version(block, parsed)
    auth_type, password = _authentication(block)
    return VirtualRouter(
        instance=block.word() or "",
        place=block.place,
        version=version,
        vrid=whole(_word(block, "virtual_router_id"), 1, 255),
        interface=_word(block, "interface"),
        state="MASTER" if _word(block, "state") == "MASTER" else "BACKUP",
        priority=_priority(block),
        advert_int=_interval(_word(block, "advert_int"), version),
        nopreempt=_nopreempt(block),
        preempt_delay=decimal(_word(block, "preempt_delay")) or 0.0,
        unicast_src_ip=source,
        unicast_peers=peers,
        mcast_src_ip=_address(_word(block, "mcast_src_ip")),
        auth_type=auth_type,
        auth_digest=_digest(password),
        vips=vips,
        excluded_vips=excluded,
        tracks=tuple(_tracks(block, parsed)),
        notify=tuple((s.keyword, script_words(s)[1:]) for s in block.all(*NOTIFY)),
        use_vmac=bool(block.all("use_vmac")),
        statement=block,
    )


def _word(block: Statement, keyword: str) -> str | None:
    found = block.last(keyword)
    return None if found is None else found.word()


def whole(word: str | None, least: int, most: int) -> int | None:
    """A whole number within limits, else None."""
    try:
        value = int(word) if word is not None and len(word) < 12 and word.isascii() else None
    except ValueError:
        return None
    return value if value is not None and least <= value <= most else None


def decimal(word: str | None) -> float | None:
    """A number of seconds, else None; neither infinite nor negative."""
    try:
        value = float(word) if word is not None and "_" not in word else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e9 else None


def flag(statement: Statement | None) -> bool:
    """Is a setting that takes an optional <BOOL> on? Without a word it is."""
    return statement is not None and (statement.word() or "on") not in _FALSE


def _version(block: Statement, parsed: Parsed) -> int:
    own = whole(_word(block, "version"), 2, 3)
    general = parsed.global_setting("vrrp_version")
    return own or whole(general.word() if general else None, 2, 3) or 2


def _priority(block: Statement) -> int:
    """Without one an instance that starts as MASTER is the address owner (tried with 2.2.7)."""
    if block.last("priority") is None:
        return OWNER_PRIORITY if _word(block, "state") == "MASTER" else DEFAULT_PRIORITY
    return whole(_word(block, "priority"), 1, 255) or DEFAULT_PRIORITY


def _interval(word: str | None, version: int) -> float:
    """advert_int as used: version 2 sends whole seconds, 1 to 255; 3 hundredths, to 40.95."""
    value = decimal(word)
    if value is None or not 0.01 <= value <= 255:
        return DEFAULT_INTERVAL
    if version == 3:
        return min(int(value * 100 + 0.5) / 100, 40.95)
    return float(max(1, int(value + 0.5)))


def _nopreempt(block: Statement) -> bool:
    """The later of preempt and nopreempt; MASTER clears it (vrrp_complete_instance)."""
    last = block.last("preempt", "nopreempt")
    return last is not None and last.keyword == "nopreempt"


def _authentication(block: Statement) -> tuple[str | None, str | None]:
    """Type and password of the authentication block."""
    inside = block.last("authentication")
    kind = _word(inside, "auth_type") if inside else None
    password = _word(inside, "auth_pass") if inside else None
    return (None if kind == "NONE" else kind), password


def _digest(password: str | None) -> str | None:
    if password is None:
        return None
    used = password.encode("utf-8", "surrogateescape")[:PASSWORD_OCTETS]
    return hashlib.sha256(used).hexdigest()


def _vips(block: Statement, keyword: str) -> Iterator[Vip]:
    for outer in block.all(keyword):
        for each in outer.block or ():
            if (vip := vip_of(each)) is not None:
                yield vip


def vip_of(statement: Statement) -> Vip | None:
    """`[ADDRESS][/PREFIX] [brd ...] [dev IF] [label ...] ...`; None if there is no address."""
    word, slash, given = statement.keyword.partition("/")
    address = _address(word)
    if address is None:
        return None
    prefix = whole(given, 0, address.max_prefixlen) if slash else None
    following = dict(zip(statement.words[1:], statement.words[2:], strict=False))
    return Vip(
        address=address,
        prefix=address.max_prefixlen if prefix is None else prefix,
        prefix_given=prefix is not None,
        dev=following.get("dev"),
        statement=statement,
    )


def _address(word: str | None) -> IPAddress | None:
    try:
        return ip_address(word.partition("/")[0]) if word else None
    except ValueError:
        return None


def _peers(block: Statement) -> Iterator[IPAddress]:
    for outer in block.all("unicast_peer"):
        for each in outer.block or ():
            if (address := _address(each.keyword)) is not None:
                yield address


# track block -> the keywords that define what it names.
DEFINED_BY = {
    "script": ("vrrp_script",),
    "file": ("track_file", "vrrp_track_file"),
    "process": ("vrrp_track_process",),
    "bfd": ("bfd_instance",),
    "interface": (),
}


def _tracks(block: Statement, parsed: Parsed) -> Iterator[Track]:
    for kind, keywords in DEFINED_BY.items():
        outers = block.all(f"track_{kind}")
        if not outers:
            continue
        definitions = {s.word(): s for s in parsed.all(*keywords)} if keywords else {}
        for outer in outers:
            for each in outer.block or ():
                definition = definitions.get(each.keyword)
                yield Track(
                    kind=kind,
                    name=each.keyword,
                    weight=_weight(each, definition),
                    statement=each,
                    defined=definition is not None or not keywords,
                )


def _weight(use: Statement, definition: Statement | None) -> int | None:
    """The weight where it is tracked, else that of the definition, else a file's 1, others' 0."""
    words = dict(zip(use.words[1:], use.words[2:], strict=False))
    if "weight" in words:
        return whole(words["weight"], -(2**31), 2**31)
    if definition is None:
        return None
    default = 1 if definition.keyword.endswith("track_file") else 0
    given = definition.last("weight")
    return default if given is None else whole(given.word(), -(2**31), 2**31)
