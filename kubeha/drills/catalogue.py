"""The faults of drills, and what the endpoint promises to do when they strike.

A fault is the same wherever it is done; whether a user's own machine can be given it (and how) is
the business of `blows`, what a lab can do that of the lab.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Victim(StrEnum):
    """Whom a fault strikes when nobody is named."""

    HOLDER = "holder"
    OTHER = "another"  # a control plane node that does not hold the VIP
    PAIR = "holder and another"
    ALL = "all"
    SEGMENT = "segment"


class Moves(StrEnum):
    """How often the VIP may come to another node, from the strike to the end of the trial."""

    NO = "no"
    ONCE = "once"
    AT_MOST_ONCE = "at most once"
    ANY = "any"


class May(StrEnum):
    """Which new connections may fail; each is given ten seconds."""

    NONE = "none"
    IN_FLIGHT = "those under way when the old holder, or a server, is lost"
    UNTIL_MOVED = "those begun before the next holder has the VIP"
    UNTIL_DOWN = "those begun before HAProxy has marked the server down"
    ANY = "any"


# However a fault is done, no two nodes hold the VIP longer than this, in seconds.
TWO_HOLDERS = 0.1


@dataclass(frozen=True)
class Fault:
    """One fault and its promises.

    `off_wire`: from the strike to its healing nobody can reach the victim, so that an address which
    stands on its interface counts for nothing. `reboots`: it comes back by a boot. `streams_break`:
    long-lived connections may break. `within`: by when the next holder has the VIP, where that is
    promised, in seconds; `within_boot`: the same, from when the first machine is back.
    `cut_within`: by when idle watches through a lost machine are cut. `watch` and `after`: how long
    to look before it is healed, and after that.
    """

    name: str
    summary: str
    victim: Victim
    moves: Moves
    may_fail: May
    streams_break: bool = True
    off_wire: bool = False
    reboots: bool = False
    two_holders: float = TWO_HOLDERS
    within: float | None = None
    within_boot: float | None = None
    cut_within: float | None = None
    watch: float = 5.0
    after: float = 4.0

    @property
    def strikes_holder(self) -> bool:
        """Is it the holder that it strikes, when nobody is named?"""
        return self.victim in (Victim.HOLDER, Victim.PAIR)

    def on_bystander(self) -> "Fault":
        """The same fault on a node that does not hold the VIP: nothing has to move."""
        if not self.strikes_holder:
            return self
        may_fail = May.NONE if self.may_fail is May.NONE else May.IN_FLIGHT
        return replace(
            self, moves=Moves.NO, may_fail=may_fail, within=None, two_holders=TWO_HOLDERS
        )


def _holder(name: str, summary: str, **more: object) -> Fault:
    """A fault of the holder after which the VIP has to move, once."""
    fault = Fault(name, summary, Victim.HOLDER, Moves.ONCE, May.IN_FLIGHT)
    return replace(fault, **more)  # type: ignore[arg-type]


def _bystander(name: str, summary: str, victim: Victim = Victim.OTHER, **more: object) -> Fault:
    """A fault after which the VIP has to stay where it is."""
    fault = Fault(name, summary, victim, Moves.NO, May.IN_FLIGHT)
    return replace(fault, **more)  # type: ignore[arg-type]


_ALL = (
    _holder("power-off", "the holder loses power", off_wire=True, reboots=True, after=6.0),
    _holder("link-down", "the holder's network cable is pulled", off_wire=True),
    _holder("freeze", "the holder is frozen, and thaws", off_wire=True, after=6.0),
    _holder("isolate", "the holder is cut off from its gateway and every peer, not from clients"),
    _holder("stop-keepalived", "keepalived is stopped on the holder"),
    _holder("kill-keepalived", "keepalived is killed on the holder, parent and child"),
    _holder("kill-keepalived-parent", "keepalived's main process is killed on the holder"),
    _holder("kill-keepalived-child", "keepalived's VRRP process is killed on the holder"),
    _holder(
        "hang-keepalived", "keepalived is stopped where it stands", two_holders=3.0, watch=8.0
    ),
    _holder("stop-haproxy", "HAProxy is stopped on the holder", may_fail=May.UNTIL_MOVED),
    _holder("kill-haproxy", "HAProxy is killed on the holder", may_fail=May.UNTIL_MOVED),
    _holder(
        "hang-haproxy", "HAProxy's workers are stopped where they stand",
        may_fail=May.UNTIL_MOVED, within=3.0, watch=8.0,
    ),
    _holder("drain", "the holder hands the VIP over: a planned move", may_fail=May.NONE,
            streams_break=False),
    Fault(
        "block-vrrp", "protocol 112 is dropped between the holder and another node",
        Victim.PAIR, Moves.AT_MOST_ONCE, May.IN_FLIGHT, watch=10.0,
    ),
    _bystander("kill-apiserver", "an API server is killed"),
    _bystander("hang-apiserver", "an API server is stopped where it stands",
               may_fail=May.UNTIL_DOWN, watch=15.0),
    _bystander("host-vanishes", "the host of an API server loses power", watch=18.0, after=6.0,
               cut_within=15.0, off_wire=True, reboots=True),
    _bystander("fail-readyz", "an API server is not ready", streams_break=False),
    _bystander("fail-all-readyz", "no API server is ready", Victim.ALL, may_fail=May.NONE,
               streams_break=False, watch=8.0),
    _bystander("rogue-vrrp", "a stranger advertises our virtual router with priority 255",
               Victim.SEGMENT, may_fail=May.NONE, streams_break=False, watch=8.0),
    _bystander("rogue-vrrp-unicast", "the same, sent to each node by unicast", Victim.SEGMENT,
               may_fail=May.NONE, streams_break=False, watch=8.0),
    _bystander("idle-flood", "5,000 idle connections from one source", Victim.SEGMENT,
               may_fail=May.NONE, streams_break=False, watch=8.0),
    _bystander("disk-full", "the holder's disk is full", Victim.HOLDER, may_fail=May.NONE,
               streams_break=False),
    _bystander("run-full", "/run of the holder is full", Victim.HOLDER, may_fail=May.NONE,
               streams_break=False),
    Fault(
        "power-cycle-all", "all machines lose power together", Victim.ALL, Moves.ANY, May.ANY,
        off_wire=True, reboots=True, within_boot=10.0, watch=2.0, after=15.0,
    ),
)  # fmt: skip

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
