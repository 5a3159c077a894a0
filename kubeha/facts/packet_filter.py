"""What a host firewall would do with a packet: rules as values, and a walk through them.

Three answers: it accepts, it drops (and which rule does), it cannot be told. Every match that is
not understood may match or not, so "drops" is only said when every way through the rules ends in a
drop: kube-proxy's, Calico's and Docker's rules, with their marks and sets, never alarm anybody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from kubeha.model import IPAddress

VRRP = 112
TCP = 6
# /etc/protocols by number; nft and iptables print names where the file is there.
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": TCP, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50,
    "ah": 51, "ipv6-icmp": 58, "icmpv6": 58, "ospf": 89, "vrrp": VRRP, "carp": VRRP, "sctp": 132,
    "udplite": 136,
}  # fmt: skip
# The kernel allows 16 nested chains; more is no ruleset that it would have taken.
_DEEPEST = 32


class Verdict(StrEnum):
    """What a rule does with a packet that matches; NOTHING: counts, logs, marks; then the next."""

    ACCEPT = "accept"
    DROP = "drop"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Packet:
    """The first packet of its kind that arrives at a node, or leaves it.

    `protocol` is the IP protocol number, `port` TCP's destination port, `interface` the one through
    which it comes or goes, `hooks` netfilter's on its way.
    """

    protocol: int
    source: IPAddress
    destination: IPAddress
    port: int | None
    interface: str | None
    hooks: tuple[str, ...] = ("ingress", "prerouting", "input")

    def number(self, name: str) -> int | None:
        """The value of a field that is compared as a number."""
        return {
            "protocol": self.protocol,
            "family": self.source.version,
            "source": int(self.source),
            "destination": int(self.destination),
            "port": self.port,
        }.get(name)

    def word(self, name: str) -> str | None:
        """The value of a field that is compared as a word."""
        arrives = "input" in self.hooks
        if name in ("in", "out"):
            return self.interface if arrives == (name == "in") else None
        if name == "destination type":
            # What leaves is for somebody else; of that nothing is said here.
            kind = "multicast" if self.destination.is_multicast else "local"
            return kind if arrives or kind == "multicast" else None
        # conntrack has not seen it before: nothing is replied, assured or translated.
        return {"state": "new", "status": "none"}.get(name)


@dataclass(frozen=True)
class Match:
    """One condition of a rule: a field is in one of the ranges or is one of the words.

    A field that `Packet` does not know makes it a condition of which nothing can be told.
    """

    field: str
    ranges: tuple[tuple[int, int], ...] = ()
    words: tuple[str, ...] = ()
    negated: bool = False

    def holds(self, packet: Packet) -> bool | None:
        """Does it match? None if that cannot be told."""
        number = packet.number(self.field)
        if number is not None:
            return any(low <= number <= high for low, high in self.ranges) != self.negated
        word = packet.word(self.field)
        if word is not None:
            return any(fnmatchcase(word, pattern) for pattern in self.words) != self.negated
        return None


UNKNOWN = Match("unknown")


@dataclass(frozen=True)
class Rule:
    """Conditions, all of which have to hold, and what happens then; `text` as people read it."""

    matches: tuple[Match, ...]
    verdict: Verdict
    target: str = ""
    text: str = ""

    def holds(self, packet: Packet) -> bool | None:
        """Do all conditions hold? None if that cannot be told, False as soon as one does not."""
        answers = [match.holds(packet) for match in self.matches]
        if False in answers:
            return False
        return None if None in answers else True


@dataclass(frozen=True)
class Chain:
    """A chain; with a `hook` it is one where packets come in, and `policy` is its last word."""

    name: str
    rules: tuple[Rule, ...]
    hook: str = ""
    policy: Verdict = Verdict.ACCEPT
    device: str = ""


@dataclass(frozen=True)
class Table:
    """A table of chains. `family`: ip, ip6, inet or netdev. `program`: who shows it (nft, ...)."""

    program: str
    family: str
    name: str
    chains: Mapping[str, Chain] = field(default_factory=dict)

    def sees(self, packet: Packet) -> bool:
        version = {"ip": 4, "ip6": 6}.get(self.family)
        return version is None or version == packet.source.version


@dataclass(frozen=True)
class Drop:
    """The end of a packet: in which chain, and by which rule (or by the chain's policy).

    `base`: the chain by which it came in. `by_ufw`: the table's rules are ufw's.
    """

    program: str
    family: str
    table: str
    chain: str
    rule: str
    base: str = ""
    by_ufw: bool = False

    def __str__(self) -> str:
        if self.program == "nft":
            return f"nft {self.family} {self.table} {self.chain}: {self.rule}"
        return f"{self.program}: {self.rule}"


# How the walk through a chain may end; FALL: without a verdict, as at its end.
_ACCEPTED, _FALL, _RETURN = "accepted", "fall", "return"
_End = Drop | str


def dropped(tables: tuple[Table, ...], packet: Packet) -> Drop | None:
    """The rule that is sure to drop this packet, None if it passes or nothing sure can be said."""
    for table in tables:
        if not table.sees(packet):
            continue
        for chain in table.chains.values():
            if chain.hook in packet.hooks and chain.device in ("", packet.interface):
                ends = _Walk(table, packet).base(chain)
                drops = [end for end in ends if isinstance(end, Drop)]
                if drops and len(drops) == len(ends):
                    return replace(drops[-1], base=chain.name)
    return None


class _Walk:
    """All ways that one packet may take through one table; each chain is walked once."""

    def __init__(self, table: Table, packet: Packet) -> None:
        self.table = table
        self.packet = packet
        self.known: dict[str, tuple[_End, ...]] = {}

    def base(self, chain: Chain) -> tuple[_End, ...]:
        ends = self._chain(chain.name, 0)
        if _FALL not in ends:
            return ends
        decided = tuple(end for end in ends if end != _FALL)
        if chain.policy is Verdict.DROP:
            return (*decided, self._drop(chain.name, f"policy drop of chain {chain.name}"))
        return (*decided, _ACCEPTED)

    def _chain(self, name: str, depth: int) -> tuple[_End, ...]:
        if name not in self.known:
            chain = self.table.chains.get(name)
            sane = chain is not None and depth < _DEEPEST
            ends = self._walk(chain, depth) if chain is not None and sane else [_ACCEPTED, _FALL]
            # To whoever jumped here a return is the same as the end.
            ends = [_FALL if end == _RETURN else end for end in ends]
            self.known[name] = tuple(dict.fromkeys(ends))
        return self.known[name]

    def _walk(self, chain: Chain, depth: int) -> list[_End]:
        possible: list[_End] = []
        for rule in chain.rules:
            hit = rule.holds(self.packet)
            if hit is False:
                continue
            ends = list(self._follow(chain.name, rule, depth))
            possible += [end for end in ends if end != _FALL]
            if hit and _FALL not in ends:
                return possible
        return [*possible, _FALL]

    def _follow(self, chain: str, rule: Rule, depth: int) -> Iterator[_End]:
        """The ends to which a rule that matches may lead; FALL: on to the next rule."""
        match rule.verdict:
            case Verdict.ACCEPT:
                yield _ACCEPTED
            case Verdict.DROP:
                yield self._drop(chain, rule.text)
            case Verdict.RETURN:
                yield _RETURN
            case Verdict.NOTHING:
                yield _FALL
            case Verdict.JUMP:
                yield from self._chain(rule.target, depth + 1)
            case Verdict.GOTO:
                ends = self._chain(rule.target, depth + 1)
                yield from (_RETURN if end == _FALL else end for end in ends)
            case Verdict.UNKNOWN:
                yield from (_ACCEPTED, _FALL)

    def _drop(self, chain: str, text: str) -> Drop:
        table = self.table
        by_ufw = any(name.startswith(("ufw-", "ufw6-")) for name in table.chains)
        return Drop(table.program, table.family, table.name, chain, text, by_ufw=by_ufw)
