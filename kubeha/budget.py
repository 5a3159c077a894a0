"""What each fault may cost clients: expected and worst silence, every term with its source. Pure.

The silence is that of new connections: the longest time in which none of a crowd of clients got an
answer. A single client may wait longer: its own SYN that was lost is sent again after 1 s (RFC
6298, section 2), whatever has taken over meanwhile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from kubeha import vrrp
from kubeha.drills.catalogue import FAULTS, Fault, Moves
from kubeha.haproxy import MOST_NODES_THAT_CHECK_EACH_SECOND
from kubeha.model import Cluster

# Of keepalived.conf.j2: the check for a HAProxy that hangs; the script's own patience (seconds).
CHECK_INTERVAL, CHECK_FALL, CHECK_PATIENCE = 1.0, 2, 0.7
# Of haproxy.cfg.j2: when an API server is asked again after a failure, and how often (seconds).
FAST_INTERVAL, FALL, CHECK_TIMEOUT = 0.5, 2, 2.0
# New connections of a drill's clients, all together, per second. Those that wait for ten seconds
# stay below haproxy.connections_per_source of one machine.
RATE = 40.0

# How long to look on once the worst is over, in seconds.
_LOOK_ON = 2.0

RFC = "RFC 9568, section 6.1"
MEASURED = "measured"
GUARD = "/etc/kubeha/guard"


@dataclass(frozen=True)
class Term:
    """One part of a silence, in seconds."""

    name: str
    expected: float
    worst: float
    source: str


@dataclass(frozen=True)
class Bound:
    """The silence of one fault; without terms, nothing is promised."""

    fault: str
    terms: tuple[Term, ...]

    @property
    def moves(self) -> bool:
        return FAULTS[self.fault].moves is not Moves.NO

    @property
    def expected(self) -> float | None:
        return sum(term.expected for term in self.terms) if self.terms else None

    @property
    def worst(self) -> float | None:
        return sum(term.worst for term in self.terms) if self.terms else None

    def as_json(self) -> dict[str, Any]:
        """As in the result of a drill (docs/drills.md); `seconds` of a term is its worst."""

        def rounded(seconds: float | None) -> float | None:
            return None if seconds is None else round(seconds, 4)

        terms = [
            {
                "name": term.name,
                "seconds": rounded(term.worst),
                "expected": rounded(term.expected),
                "source": term.source,
            }
            for term in self.terms
        ]
        return {
            "fault": self.fault,
            "moves": self.moves,
            "expected": rounded(self.expected),
            "worst": rounded(self.worst),
            "terms": terms,
        }


@dataclass(frozen=True)
class Timers:
    """Every timer that a budget uses, in seconds, and the priorities that skew them."""

    advert_interval: float
    connect_timeout: float
    check_interval: float
    priorities: tuple[int, ...]
    beside_servers: bool = True
    """Does an API server run on a machine that may hold the VIP?"""

    @classmethod
    def of(cls, cluster: Cluster) -> "Timers":
        count = len(cluster.load_balancer_nodes)
        few = count <= MOST_NODES_THAT_CHECK_EACH_SECOND
        return cls(
            cluster.vrrp.advert_interval,
            cluster.haproxy.connect_timeout,
            1.0 if few else 2.0,
            vrrp.base_priorities(count),
            not {n.name for n in cluster.load_balancer_nodes}.isdisjoint(
                n.name for n in cluster.control_plane
            ),
        )

    def as_json(self) -> dict[str, float]:
        """The settings in a drill's result."""
        return {
            "advert_interval": self.advert_interval,
            "connect_timeout": self.connect_timeout,
            "server_check_interval": self.check_interval,
            "server_check_fastinter": FAST_INTERVAL,
            "server_check_fall": FALL,
            "server_check_timeout": CHECK_TIMEOUT,
            "proxy_check_interval": CHECK_INTERVAL,
            "proxy_check_fall": CHECK_FALL,
            "proxy_check_timeout": CHECK_PATIENCE,
        }


def budget(cluster: Cluster) -> tuple[Bound, ...]:
    """The bounds of every fault, in the order of the catalogue."""
    timers = Timers.of(cluster)
    return tuple(Bound(name, tuple(_TERMS[name](timers))) for name in FAULTS)


def timed(fault: Fault, cluster: Cluster) -> Fault:
    """The fault, watched as long as this cluster's timers need, its promise of theirs."""
    terms = tuple(_TERMS[fault.name](Timers.of(cluster)))
    worst = sum(term.worst for term in terms)
    # The last term is the clients' own: the VIP has moved before it.
    within = None if fault.within is None else sum(term.worst for term in terms[:-1])
    return replace(fault, watch=max(fault.watch, worst + _LOOK_ON), within=within)


def bystander(fault: Fault, cluster: Cluster) -> float:
    """The silence allowed when the fault strikes a node that does not hold the VIP."""
    terms = _server_gone if fault.off_wire else _nothing_moves
    return sum(term.worst for term in terms(Timers.of(cluster)))


def settings(cluster: Cluster) -> dict[str, float]:
    """Every timer that the budget uses, in seconds."""
    return Timers.of(cluster).as_json()


def _crash(timers: Timers) -> Iterator[Term]:
    """The holder falls silent: a backup waits for three advertisements and its skew."""
    interval = timers.advert_interval
    yield Term(
        "3 advertisements missed (the last one was up to one interval ago)",
        2.5 * interval,
        3 * interval,
        f"Master_Down_Interval, {RFC}; vrrp.advert_interval",
    )
    yield from _skew(timers)
    yield from _taking_over()


def _skew(timers: Timers) -> Iterator[Term]:
    backups = timers.priorities[1:] or timers.priorities
    skews = [vrrp.skew_time(each, timers.advert_interval) for each in backups]
    yield Term(
        f"skew of the next node (priority {backups[0]}; {backups[-1]} if others are down, too)",
        skews[0],
        skews[-1],
        f"Skew_Time, {RFC}",
    )


def _taking_over() -> Iterator[Term]:
    yield Term("the address is set, gratuitous ARP is sent", 0.005, 0.06, MEASURED)


def _clients() -> Iterator[Term]:
    yield Term(
        "pace of the clients, their TLS handshake, a busy machine", 1.2 / RATE, 0.2, MEASURED
    )


def _with_host(timers: Timers) -> Iterator[Term]:
    """The holder vanishes, and with it the API server on the same machine."""
    yield from _crash(timers)
    yield from _lost_with_host(timers)
    yield from _clients()


def _lost_with_host(timers: Timers) -> Iterator[Term]:
    if timers.beside_servers:
        yield Term(
            "the first connections are sent to the API server that vanished, too",
            0.0,
            timers.connect_timeout,
            "haproxy.connect_timeout, then option redispatch",
        )


def _answers_on(timers: Timers) -> Term:
    """The old holder's HAProxy answers as long as clients know no other; at worst it does not."""
    return Term(
        "the old holder answers on until the next node has taken over",
        0.0,
        sum(term.worst for term in _crash(timers)),
        f"Master_Down_Interval, Skew_Time, {RFC}",
    )


def _cut_off(timers: Timers) -> Iterator[Term]:
    """Clients reach both: the new holder, and the old one until its guard has made it let go."""
    yield _answers_on(timers)
    yield from _lost_with_host(timers)
    yield from _clients()
    yield Term("both answer until the guard of the old holder has let go", 0.0, 0.5, GUARD)


def _keepalived_gone(timers: Timers) -> Iterator[Term]:
    yield from _crash(timers)
    yield from _clients()


def _parent_gone(timers: Timers) -> Iterator[Term]:
    """The kernel tells the child of its parent's end, and it ends in order (PR_SET_PDEATHSIG)."""
    interval = timers.advert_interval
    yield Term(
        "the child ends in order when its parent is gone; if not, 3 advertisements are missed",
        0.01,
        3 * interval,
        f"{MEASURED}; Master_Down_Interval, {RFC}",
    )
    yield from _resigned(timers)


def _resigned(timers: Timers) -> Iterator[Term]:
    """keepalived ends in order: it announces priority 0, and only the skew is waited."""
    yield from _skew(timers)
    yield from _taking_over()
    yield from _clients()


def _haproxy_gone(timers: Timers) -> Iterator[Term]:
    yield Term(
        "systemd sees the end, its ExecStopPost writes the tracked file",
        0.03,
        0.25,
        MEASURED,
    )
    yield from _resigned(timers)


def _haproxy_hung(timers: Timers) -> Iterator[Term]:
    yield Term(
        "until the next check begins",
        CHECK_INTERVAL / 2,
        CHECK_INTERVAL,
        "vrrp_script haproxy_hung, interval",
    )
    yield Term(
        f"{CHECK_FALL - 1} more check has to fail",
        CHECK_INTERVAL * (CHECK_FALL - 1),
        CHECK_INTERVAL * (CHECK_FALL - 1),
        "vrrp_script haproxy_hung, fall",
    )
    yield Term(
        "the check gives up", CHECK_PATIENCE, CHECK_PATIENCE, "/etc/kubeha/haproxy-admin alive"
    )
    interval = timers.advert_interval
    yield Term(
        "the next node lets three intervals pass before it takes over from a lower priority",
        3 * interval,
        3 * interval,
        f"Master_Down_Interval, {RFC}",
    )
    yield from _resigned(timers)


def _keepalived_hung(timers: Timers) -> Iterator[Term]:
    yield _answers_on(timers)
    yield Term(
        "both answer for the VIP until the guard has made the old holder let go",
        0.0,
        1.0,
        GUARD,
    )
    yield from _clients()


def _nothing_moves(_: Timers) -> Iterator[Term]:
    yield from _clients()


def _server_gone(timers: Timers) -> Iterator[Term]:
    yield Term(
        "connections to the dead server go on to the next one; others are not concerned",
        0.0,
        timers.connect_timeout,
        "haproxy.connect_timeout, option redispatch 1",
    )
    yield from _clients()


def _server_hung(_: Timers) -> Iterator[Term]:
    """Its kernel still completes handshakes: neither connect_timeout nor redispatch ever act."""
    yield Term(
        "connections to the server that hangs wait; others are not concerned",
        0.0,
        3 / RATE,
        "balance: until it is marked down, some go there",
    )
    yield from _clients()


def _cut_in_two(_: Timers) -> Iterator[Term]:
    yield Term("both answer for the VIP until the guard has made one let go", 0.0, 0.3, GUARD)
    yield from _clients()


def _nothing_promised(_: Timers) -> Iterator[Term]:
    return iter(())


_TERMS: dict[str, Callable[[Timers], Iterator[Term]]] = {
    "power-off": _with_host,
    "link-down": _with_host,
    "freeze": _with_host,
    "isolate": _cut_off,
    "stop-keepalived": _resigned,
    "kill-keepalived": _keepalived_gone,
    "kill-keepalived-parent": _parent_gone,
    "kill-keepalived-child": _keepalived_gone,
    "hang-keepalived": _keepalived_hung,
    "stop-haproxy": _haproxy_gone,
    "kill-haproxy": _haproxy_gone,
    "hang-haproxy": _haproxy_hung,
    "drain": _nothing_moves,
    "block-vrrp": _cut_in_two,
    "kill-apiserver": _server_gone,
    "hang-apiserver": _server_hung,
    "host-vanishes": _server_gone,
    "fail-readyz": _nothing_moves,
    "fail-all-readyz": _nothing_moves,
    "rogue-vrrp": _nothing_moves,
    "rogue-vrrp-unicast": _nothing_moves,
    "idle-flood": _nothing_moves,
    "disk-full": _nothing_moves,
    "run-full": _nothing_moves,
    "power-cycle-all": _nothing_promised,
}
