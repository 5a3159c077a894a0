"""VRRP arithmetic: who wins, by how much, and how long it takes.

Priorities of N load balancer nodes, the primary first (i = 0 .. N-1):

    healthy           base(i)            240, 240-s, ...       never below LOWEST_HEALTHY = 129
    settled holder    base(i) + bonus(i) = 247 - i             above every healthy node
    fresh holder      and + FRESH        = 254 - i             above every settled holder
    drained           base(i) + DRAIN    2 .. 113              below every healthy node
    drained holder    the same + DRAIN   at most 127           below every healthy node as well
    hung              1                                        below every drained node

A holder is fresh from the moment when it takes the VIP until every other load balancer node has
been seen alive since. So a former holder that was frozen (a paused virtual machine) and wakes up,
still as a settled holder, hears somebody above it and gives the VIP up at once: no second move.

So a returning primary does not take the VIP back from a healthy holder, a drained or sick holder
always loses it while a healthy node is left, and a drained node still serves when it is the last
one. No two nodes ever have the same priority (except several hung ones, which nothing tells
apart). keepalived caps a sum at 254 and at 1; no sum above reaches the caps but that of a hung
node, so nothing is lost to them.

A rollout that changes the order or the number of nodes reaches one node after the other. Meanwhile
too any holder (241 to 254) is above any other node (240 at most), whichever file each of them has.

255 is never used: it means that the node owns the address (RFC 9568, section 5.2.4), and such a
node is exempt from tracking.
"""

from ipaddress import IPv4Address, IPv6Address

MAX_LOAD_BALANCERS = 7
LOWEST_HEALTHY = 129
HIGHEST = 254
DRAIN = -127
HUNG = -253
# Between a settled and a fresh holder: as many as there are settled ones.
FRESH = MAX_LOAD_BALANCERS
# Of nodes that do not hold the VIP; above it is room for one holder of each index and kind.
HIGHEST_BASE = HIGHEST - 2 * MAX_LOAD_BALANCERS
WIDEST_SPACING = 40


def spacing(count: int) -> int:
    """Difference between the priorities of neighbours; 40 for up to three nodes, 18 for seven.

    The skew times of neighbours then differ by spacing/256 of an advertisement interval (15 ms at
    0.1 s), enough for the first backup's advertisement to be heard by the next one before that
    one's own timer ends. With 110, 100, 90 it is 4 ms, and both become MASTER for a moment.
    """
    if not 1 <= count <= MAX_LOAD_BALANCERS:
        raise ValueError(f"1 to {MAX_LOAD_BALANCERS} load balancer nodes, not {count}")
    room = HIGHEST_BASE - LOWEST_HEALTHY
    return min(WIDEST_SPACING, room // max(1, count - 1))


def base_priorities(count: int) -> tuple[int, ...]:
    """Priorities of healthy nodes which do not hold the VIP, the primary first."""
    step = spacing(count)
    return tuple(HIGHEST_BASE - index * step for index in range(count))


def holder_bonus(count: int, index: int) -> int:
    """What a settled holder adds to its own base priority; it ends at 247 - index."""
    return HIGHEST - FRESH - index - base_priorities(count)[index]


def effective_priority(
    count: int,
    index: int,
    *,
    holder: bool = False,
    fresh: bool = False,
    drained: bool = False,
    hung: bool = False,
) -> int:
    """What keepalived announces for a node, capped at both ends as keepalived does.

    `fresh`: a holder that is not settled yet; meaningless without `holder`.
    """
    total = base_priorities(count)[index]
    total += holder_bonus(count, index) if holder else 0
    total += FRESH if holder and fresh else 0
    total += DRAIN if drained else 0
    total += HUNG if hung else 0
    return max(1, min(HIGHEST, total))


def skew_time(priority: int, advert_interval: float) -> float:
    """Seconds by which a backup waits longer than three intervals (RFC 9568, section 6.1)."""
    return (256 - priority) * advert_interval / 256


def master_down_interval(priority: int, advert_interval: float) -> float:
    """Seconds of silence after which a backup takes over (RFC 9568, section 6.1)."""
    return 3 * advert_interval + skew_time(priority, advert_interval)


def failover_bounds(count: int, advert_interval: float) -> tuple[float, float]:
    """Seconds from the holder's crash until the next node has the VIP: least and most.

    The last advertisement was sent up to one interval before the crash, so the least is one
    interval less than the master down interval. The slowest healthy node counts: the others may be
    down already. Netlink and the gratuitous ARP add a few milliseconds.
    """
    slowest = master_down_interval(base_priorities(count)[-1], advert_interval)
    fastest = master_down_interval(base_priorities(count)[0], advert_interval)
    return fastest - advert_interval, slowest


def handover_time(count: int, advert_interval: float) -> float:
    """Seconds that the VIP is nowhere when the holder resigns (priority 0): the skew at most."""
    return skew_time(base_priorities(count)[-1], advert_interval)


def derived_vrid(vip: IPv4Address | IPv6Address) -> int:
    """The VRID of a VIP for which the file names none: its last byte, or 255 where that is 0.

    Two clusters on one /24 (or with VIPs that differ in the last byte) never get the same one, and
    a person can tell at a glance which VRID belongs to which VIP.
    """
    return vip.packed[-1] or 255
