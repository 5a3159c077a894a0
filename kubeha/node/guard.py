#!/usr/bin/python3 -ISE
# Written by kubeha. Changes made here are lost at the next apply.
"""The guard: no two holders of the VIP, and none that is cut off from everybody.

VRRP decides who holds the VIP. Where its packets are filtered while the nodes are healthy, or
where keepalived hangs, two nodes hold it, and no VRRP speaker can see that. The guard sees it on
the wire: it hears ARP (NDP) for the VIP, and what the guards of the other nodes claim. Then exactly
one steps down, by an order that both sides compute alike:

    who advertises VRRP is before who does not; then who has held the VIP longer; then who stands
    first in the cluster file.

A node steps down by writing 1 to a file that keepalived tracks (FAULT). If the VIP is then still
there, keepalived hangs: it is killed and the address removed. It comes back when the other one no
longer has the VIP, or when its advertisements arrive: then VRRP works and is the judge again.

`Guard` decides: events and the time in, actions out, no sockets. `Wire` and what follows act.
Invariant: the guard takes the VIP away from a node, never gives it to one; and it never steps down
for a machine that is none of ours. Without it (stopped, killed, hung) there is VRRP alone.

Only the standard library, Python 3.6: this file runs on the nodes as it stands.
"""

import array
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

SETTINGS = "/etc/kubeha/node.json"
GUARD_FILE = "/run/kubeha/guard"
FRESH_FILE = "/run/kubeha/fresh"
HOLDER_FILE = "/run/kubeha/holder"
STATE_FILE = "/run/kubeha/guard.json"

# All in seconds.
PATIENCE = 0.05  # a normal handover overlaps for some milliseconds; then it is a conflict
ASK_AGAIN = 0.0125  # while there is a conflict
STALE = 0.045  # what has not been heard for so long counts no more
ALIKE = 0.15  # who took the VIP within so long of another one has not held it longer
ONLY_RANK = 1.0  # a conflict that lasts: what both sides measure may differ, ranks do not
NO_CLAIM = 0.1  # per rank: a rival without a guard is waited for longer
HANGS = 1.0  # without an advertisement, when the rival has yielded
REACTION = 0.1  # what keepalived may take to give the VIP up
PROBE = 0.2  # how often the one who stepped down asks whether the VIP is held
MISSES = 3
BEAT = 0.25  # while holding, to notice that this machine was paused
PAUSED = 0.2  # so late after a beat it was
ROUND, QUICK_ROUND = 0.25, 0.1  # while holding: is anybody there? And when nobody was
SLOW_ROUND = 2.0  # when only the gateway can answer
RECENT = 10.0  # a peer that has answered within so long is one to wait for
LONELY = 3  # rounds
FULL = 8  # one round in so many asks the gateway as well, and peers for the VIP
SETTLE = 5.0  # after the last peer answered
DOUBT = 5.0  # after a conflict that came back although advertisements had arrived; then doubled
MOST_DOUBT = 600.0
DEFEND = 10.0  # RFC 5227, section 2.4
CARDS = 4  # so many MAC addresses of one node are remembered, the newest
NEVER = float("inf")

CONFLICT, HUNG, ISOLATED = "conflict", "hung", "isolated"


class Me(NamedTuple):
    """This node; addresses are packed."""

    address: bytes
    vip: bytes
    vrid: int
    rank: int
    peers: Dict[bytes, str]  # address -> name
    advert_interval: float
    port: int


class Claim(NamedTuple):
    """What a guard says of its node. `held`: for how long, in seconds. `mute`: it holds the VIP and
    sends no advertisements. `asks`: everybody is to answer."""

    vrid: int
    vip: bytes
    address: bytes
    rank: int
    holds: bool
    mute: bool
    asks: bool
    held: float


# Events.
Started = NamedTuple("Started", [])
Taken = NamedTuple("Taken", [("held", float)])  # the VIP is on my interface, since so long
Lost = NamedTuple("Lost", [])
Answer = NamedTuple("Answer", [("address", bytes), ("mac", bytes)])  # ARP or NDP, not my own
Claimed = NamedTuple("Claimed", [("mac", bytes), ("claim", Claim)])
OwnAdvert = NamedTuple("OwnAdvert", [])  # my keepalived has sent one
Alive = NamedTuple("Alive", [("address", bytes)])  # this node's HAProxy answers
Stopped = NamedTuple("Stopped", [])  # the processes of my keepalived stand still
Gone = NamedTuple("Gone", [])  # it has none: the VIP was left behind
Advert = NamedTuple("Advert", [("source", bytes)])  # has passed this node's packet filter
Gateway = NamedTuple("Gateway", [("address", Optional[bytes])])
Tick = NamedTuple("Tick", [])

# Actions.
Say = NamedTuple("Say", [("claim", Claim)])
Ask = NamedTuple("Ask", [("address", bytes), ("mac", Optional[bytes])])  # None: everybody
Announce = NamedTuple("Announce", [])  # gratuitous ARP, unsolicited neighbour advertisement
Block = NamedTuple("Block", [("value", bool)])  # the guard file
Settled = NamedTuple("Settled", [])
End = NamedTuple("End", [])  # kill keepalived, take the VIP off the interface
WatchOwn = NamedTuple("WatchOwn", [("on", bool)])  # OwnAdvert, Stopped, Gone
WatchPeers = NamedTuple("WatchPeers", [("on", bool)])  # Advert
FindGateway = NamedTuple("FindGateway", [])  # Gateway
Try = NamedTuple("Try", [("address", bytes)])  # Alive
Tell = NamedTuple("Tell", [("why", Optional[str]), ("other", str), ("text", str)])


class Rival:
    """Another one that has the VIP: when it was heard last, and what its guard claims."""

    def __init__(self) -> None:
        self.heard = 0.0
        self.claim = None  # type: Optional[Claim]
        self.claimed = 0.0
        self.tried = False
        self.alive = False


class Aside:
    """Why this node stepped down, for whom, and what speaks for coming back."""

    def __init__(self, why: str, mac: Optional[bytes], since: float) -> None:
        self.why = why
        self.mac = mac
        self.since = since
        self.answered = False
        self.misses = 0
        self.adverts = {}  # type: Dict[bytes, float]


class Guard:
    """The state of one node and what follows from each event."""

    def __init__(self, me: Me) -> None:
        self.me = me
        self.now = 0.0
        self.actions = []  # type: List[Any]
        self.timers = {}  # type: Dict[str, float]
        self.since = None  # type: Optional[float]
        self.aside = None  # type: Optional[Aside]
        # The conflict: since when, and with which MAC addresses.
        self.began = None  # type: Optional[float]
        self.rivals = {}  # type: Dict[bytes, Rival]
        # Does my keepalived advertise? None: it cannot be told yet.
        self.advertises = None  # type: Optional[bool]
        # Who has answered for an address, the newest last.
        self.macs = {}  # type: Dict[bytes, List[bytes]]
        # The newest claim of each peer from a MAC address that has not answered for it.
        self.unproven = {}  # type: Dict[bytes, Tuple[float, Claimed]]
        self.taken = -NEVER
        self.gateway = None  # type: Optional[bytes]
        self.gateway_answered = False
        self.somebody = False
        self.rounds_alone = 0
        self.round = 0
        self.peer_heard = -NEVER
        # A peer held the VIP as well: time to see whether my keepalived is at work.
        self.suspicious = False
        self.seen_alive = set()  # type: Set[bytes]
        self.came_back = -NEVER
        # So long advertisements have to arrive before they count.
        self.doubt = 0.0
        self.defended = -NEVER

    # The way in.

    def react(self, now: float, event: Any) -> List[Any]:
        """What is to be done, in this order."""
        self.actions = []
        self.now = now
        self._notice_pause()
        getattr(self, "_on_" + type(event).__name__.lower())(event)
        if not isinstance(event, Tick):
            self._on_tick(Tick())
        return self.actions

    def deadline(self) -> float:
        """When the next Tick is due."""
        return min(self.timers.values(), default=NEVER)

    @property
    def holds(self) -> bool:
        return self.since is not None

    def _do(self, *actions: Any) -> None:
        self.actions.extend(actions)

    def _on_tick(self, _: Tick) -> None:
        for name, when in sorted(self.timers.items(), key=lambda timer: timer[1]):
            if when <= self.now and self.timers.get(name) == when:
                del self.timers[name]
                getattr(self, "_time_to_" + name)()

    def _in(self, seconds: float, name: str) -> None:
        self.timers[name] = self.now + seconds

    def _notice_pause(self) -> None:
        """A machine that was paused still believes that it holds the VIP; so it is the newest."""
        if self.holds and self.now > self.timers.get("beat", NEVER) + PAUSED:
            self.since = self.now
            self.rounds_alone = 0
            self._in(BEAT, "beat")
            self._look_around()

    # Taking the VIP and losing it.

    def _on_started(self, _: Started) -> None:
        """A gateway that answers now is missed later, by a backup that was cut off as well."""
        self._do(FindGateway())

    def _on_taken(self, event: Taken) -> None:
        if self.holds:
            return
        self.since = self.now - event.held
        self.taken = self.now
        self.seen_alive = set()
        self.rounds_alone = 0
        self.somebody = True
        self._in(BEAT, "beat")
        self._in(ROUND, "round")
        self._look_around()
        self._do(FindGateway())
        if not self.me.peers:
            self._in(SETTLE, "settle")
        if self.aside is not None:
            self._in(REACTION, "force")

    def _on_lost(self, _: Lost) -> None:
        if not self.holds:
            return
        self.since = None
        self._say()
        self._end_conflict()
        for name in ("beat", "round", "settle", "announce", "announce_late", "force"):
            self.timers.pop(name, None)
        if self.aside is not None:
            self._in(PROBE, "probe")

    def _look_around(self) -> None:
        """Does anybody else hold it, and which MAC addresses are my peers'?"""
        self._say(asks=True)
        self._do(Ask(self.me.vip, None), *(Ask(peer, None) for peer in self.me.peers))

    def _say(self, asks: bool = False) -> None:
        held = self.now - self.since if self.since is not None else 0.0
        mute = self.advertises is False
        me = self.me
        self._do(Say(Claim(me.vrid, me.vip, me.address, me.rank, self.holds, mute, asks, held)))

    # Hearing others.

    def _on_claimed(self, event: Claimed) -> None:
        claim = event.claim
        ours = (claim.vrid, claim.vip) == (self.me.vrid, self.me.vip)
        if not ours or claim.address not in self.me.peers:
            return
        self._heard(claim.address)
        if event.mac in self._macs_of(claim.address):
            self._believe(event)
        else:
            self.unproven[claim.address] = self.now, event
            if self.holds or self.aside is not None:
                self._do(Ask(claim.address, None))
        if claim.asks:
            self._say()

    def _believe(self, event: Claimed) -> None:
        if not event.claim.holds:
            self._released(event.mac)
        elif self.holds:
            self._rival(event.mac, event.claim)
        elif self.aside is not None:
            self.aside.answered = True

    def _on_answer(self, event: Answer) -> None:
        if event.address != self.me.vip:
            if event.address in self.me.peers or event.address == self.gateway:
                self._learn(event.address, event.mac)
        elif self.holds:
            self._rival(event.mac, None)
        elif self.aside is not None and event.mac in {self.aside.mac, *self._peer_macs()}:
            self.aside.answered = True

    def _learn(self, address: bytes, mac: bytes) -> None:
        """A claim that came from there before the answer counts now."""
        known = [one for one in self.macs.get(address, ()) if one != mac]
        self.macs[address] = [*known, mac][-CARDS:]
        self._heard(address)
        heard, claimed = self.unproven.get(address, (-NEVER, None))
        if claimed is not None and claimed.mac == mac:
            del self.unproven[address]
            if self.now - heard <= STALE:
                self._believe(claimed)

    def _heard(self, address: bytes) -> None:
        self.somebody = True
        self.gateway_answered = self.gateway_answered or address == self.gateway
        if address in self.me.peers:
            self.peer_heard = self.now
        if self.aside is not None and self.aside.why == ISOLATED:
            self._come_back("somebody answers again")
        if self.holds and address in self.me.peers:
            self.seen_alive.add(address)
            if self.seen_alive == set(self.me.peers) and "settle" not in self.timers:
                self._in(SETTLE, "settle")
                self.seen_alive.add(self.me.address)

    def _macs_of(self, peer: bytes) -> List[bytes]:
        """Whose claims count: anybody can claim to be a peer, so they have to answer for it.

        Where the nodes' addresses are on another card than the VIP, no peer ever answers here.
        Then what they claim is all there is.
        """
        if any(one in self.macs for one in self.me.peers) or self.now - self.taken < PATIENCE:
            return self.macs.get(peer, [])
        return [self.unproven[peer][1].mac] if peer in self.unproven else []

    def _peer_macs(self) -> Set[bytes]:
        return {mac for peer in self.me.peers for mac in self._macs_of(peer)}

    def _newest_mac(self, address: bytes) -> Optional[bytes]:
        return self.macs[address][-1] if address in self.macs else None

    def _name(self, mac: Optional[bytes]) -> str:
        for address, name in self.me.peers.items():
            if mac in self._macs_of(address):
                return name
        return ":".join("%02x" % byte for byte in mac or b"")

    def _time_to_settle(self) -> None:
        self._do(Settled())

    # A conflict.

    def _rival(self, mac: bytes, claim: Optional[Claim]) -> None:
        if self.began is None:
            self.began = self.now
            self._in(max(REACTION, 3.5 * self.me.advert_interval), "judge_own")
            self._in(ASK_AGAIN, "conflict")
            self.advertises = None
            self.suspicious = False
            self._do(WatchOwn(True))
            self._look_around()
        rival = self.rivals.setdefault(mac, Rival())
        rival.heard = self.now
        if claim is not None:
            rival.claim, rival.claimed = claim, self.now

    def _released(self, mac: bytes) -> None:
        """The guard of this one says that it does not hold the VIP, whatever ARP says."""
        if self.rivals.pop(mac, None) is not None and not self.rivals:
            self._end_conflict()
        aside = self.aside
        if aside is not None and not self.holds and aside.why != ISOLATED and aside.mac == mac:
            # Perhaps it has made way as well, for a third one: one question, then come back.
            aside.answered = False
            aside.misses = MISSES + self.me.rank
            self._do(Ask(self.me.vip, None))
            self._in(PATIENCE, "probe")

    def _time_to_conflict(self) -> None:
        assert self.began is not None
        peers = self._peer_macs()
        for mac, rival in list(self.rivals.items()):
            stranger = mac not in peers and self.now - self.began >= PATIENCE
            if stranger or self.now - rival.heard > STALE:
                del self.rivals[mac]
                if stranger:
                    self._defend(mac)
        if not self.rivals:
            self._end_conflict()
            return
        self.suspicious = True
        if self.aside is None and self.now - self.began >= PATIENCE:
            for mac, rival in self.rivals.items():
                self._try(mac, rival)
                if self._yields_to(rival):
                    self._step_down(CONFLICT, mac, "%s holds the VIP as well" % self._name(mac))
                    return
        self._say(asks=True)
        self._do(Ask(self.me.vip, None))
        self._in(ASK_AGAIN, "conflict")

    def _try(self, mac: bytes, rival: Rival) -> None:
        if rival.claim is None and not rival.tried:
            rival.tried = True
            self._do(*(Try(peer) for peer in self.me.peers if mac in self._macs_of(peer)))

    def _on_alive(self, event: Alive) -> None:
        for mac in self._macs_of(event.address):
            if mac in self.rivals:
                self.rivals[mac].alive = True

    def _yields_to(self, rival: Rival) -> bool:
        """The order that both sides compute alike.

        A rival whose guard is silent is yielded to only if its HAProxy answers: where all programs
        of a machine hang, its kernel goes on answering ARP, and nobody would serve.
        """
        assert self.began is not None and self.since is not None
        age = self.now - self.began
        claim = rival.claim
        if claim is None:
            later = len(self.me.peers) - self.me.rank
            return rival.alive and age >= PATIENCE + NO_CLAIM * (1 + max(0, later))
        mute = self.advertises is False
        if mute != claim.mute:
            return mute
        theirs = claim.held + self.now - rival.claimed
        mine = self.now - self.since
        if age < ONLY_RANK and abs(theirs - mine) > ALIKE:
            return theirs > mine
        return claim.rank < self.me.rank

    def _end_conflict(self) -> None:
        if self.began is None:
            return
        self.began = None
        self.rivals = {}
        self.timers.pop("conflict", None)
        if self.holds:
            self._time_to_announce()
            self._in(0.1, "announce")
            self._in(1.0, "announce_late")
        else:
            self._forget_own()

    def _time_to_announce(self) -> None:
        self._do(Announce())

    _time_to_announce_late = _time_to_announce

    def _defend(self, mac: bytes) -> None:
        """A machine that is none of ours uses the VIP: say whose it is, but not all the time."""
        if self.now - self.defended >= DEFEND:
            self.defended = self.now
            self._do(Announce(), Tell(None, "", "%s uses the VIP and is none of us" % _mac(mac)))

    # My own keepalived.

    def _on_ownadvert(self, _: OwnAdvert) -> None:
        self._forget_own()
        self.advertises = True

    def _on_stopped(self, _: Stopped) -> None:
        if self.began is not None and self.advertises is None:
            self.advertises = False
            self._say(asks=True)

    def _on_gone(self, _: Gone) -> None:
        """Its unit takes the VIP away after it; on a busy machine that may take a second."""
        if self.holds:
            self._do(End())

    def _time_to_judge_own(self) -> None:
        """It has sent nothing for three intervals. Against a rival that settles it; without one
        there is time to look longer, for then it has to be ended, or nobody would ever know."""
        self.advertises = False
        if self.began is None and self.suspicious:
            self._in(max(HANGS, 10 * self.me.advert_interval), "end_own")
        elif self.began is None:
            self._forget_own()

    def _time_to_end_own(self) -> None:
        if self.holds and self.advertises is False:
            self._step_down(HUNG, None, "keepalived holds the VIP and sends no advertisements")
        self._do(WatchOwn(False))

    def _forget_own(self) -> None:
        if self.advertises is False or "judge_own" in self.timers:
            self._do(WatchOwn(False))
        for name in ("judge_own", "end_own"):
            self.timers.pop(name, None)
        self.advertises = None

    # Stepping down and coming back.

    def _step_down(self, why: str, mac: Optional[bytes], text: str) -> None:
        if self.aside is not None:
            return
        if self.now - self.came_back < MOST_DOUBT:
            self.doubt = min(max(DOUBT, 2 * self.doubt), MOST_DOUBT)
        else:
            self.doubt = 0.0
        hangs = self.advertises is False
        self.aside = Aside(why, mac, self.now)
        self._do(Block(True), Tell(why, self._name(mac), text))
        if why != ISOLATED:
            self._do(WatchPeers(True))
        self._in(0.0 if hangs else REACTION, "force")

    def _time_to_force(self) -> None:
        if self.holds:
            self._do(End())
            self._in(REACTION, "force")

    def _time_to_probe(self) -> None:
        if self.aside is None or self.holds:
            return
        if self.aside.why == ISOLATED:
            self._ask_round(everything=True)
            self._in(ROUND, "probe")
            return
        self.aside.misses = 0 if self.aside.answered else self.aside.misses + 1
        self.aside.answered = False
        if self.aside.misses > MISSES + self.me.rank:
            self._come_back("nobody holds the VIP")
            return
        self._do(Ask(self.me.vip, None))
        self._in(PROBE, "probe")

    def _on_advert(self, event: Advert) -> None:
        aside = self.aside
        if aside is None or self.holds or event.source not in self.me.peers:
            return
        first = aside.adverts.setdefault(event.source, self.now)
        # At least the second one, and it is not a late one of before.
        if self.now - first >= max(self.doubt, self.me.advert_interval / 2):
            name = self.me.peers[event.source]
            self.came_back = self.now
            self._come_back("the advertisements of %s arrive" % name)

    def _come_back(self, text: str) -> None:
        self.aside = None
        self.timers.pop("probe", None)
        self.timers.pop("force", None)
        self._do(Block(False), WatchPeers(False), Tell("", "", text))
        if self.holds:
            # keepalived had not reacted yet, and perhaps never does: look on.
            self._in(ROUND, "round")

    # Cut off from everybody.

    def _time_to_beat(self) -> None:
        self._in(BEAT, "beat")

    def _time_to_round(self) -> None:
        self.rounds_alone = 0 if self.somebody else self.rounds_alone + 1
        known = self.gateway_answered and self.gateway is not None and self.me.peers
        if known and self.rounds_alone >= LONELY and self.aside is None:
            self._step_down(ISOLATED, None, "neither the gateway nor any other node answers")
            return
        if self.rounds_alone == 2 and self.me.peers:
            # The gateway was asked as well. If this is an island, whoever holds the VIP on the
            # mainland is to keep it afterwards.
            self._do(Settled())
        lonely = self.now - max(self.peer_heard, self.taken) > RECENT
        self._ask_round(lonely or self.rounds_alone > 0 or self.round % FULL == 0)
        self.round += 1
        self.somebody = False
        self._in(SLOW_ROUND if lonely else QUICK_ROUND if self.rounds_alone else ROUND, "round")

    def _ask_round(self, everything: bool) -> None:
        """The gateway comes with the event that FindGateway leads to."""
        broadcast = self.rounds_alone > 0 or self.aside is not None
        for peer in self.me.peers:
            mac = None if broadcast else self._newest_mac(peer)
            self._do(Ask(peer, mac))
            if mac is not None and everything:
                self._do(Ask(self.me.vip, mac))
        if self.rounds_alone > 0 and self.me.peers:
            # Where a peer's address is on another card, only its guard answers here.
            self._say(asks=True)
        if everything:
            self._do(FindGateway())

    def _on_gateway(self, event: Gateway) -> None:
        if event.address != self.gateway:
            self.gateway, self.gateway_answered = event.address, False
        if event.address is not None:
            mac = None if self.rounds_alone or self.aside else self._newest_mac(event.address)
            self._do(Ask(event.address, mac))


def _mac(mac: bytes) -> str:
    return ":".join("%02x" % byte for byte in mac)


# Frames.

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
# IEEE 802: "Local Experimental EtherType 1".
ETHERTYPE_CLAIM = 0x88B5
BROADCAST = b"\xff" * 6
VRRP = 112
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_CLAIM = struct.Struct("!4sBBBxI16s16s")
_MAGIC = b"kha1"
_HOLDS, _MUTE, _ASKS = 1, 2, 4
_OUTGOING = 4  # PACKET_OUTGOING of packet(7)


def pack_claim(claim: Claim) -> bytes:
    flags = _HOLDS * claim.holds | _MUTE * claim.mute | _ASKS * claim.asks
    held = min(int(claim.held * 1000), 0xFFFFFFFF)
    vip, address = claim.vip.ljust(16, b"\0"), claim.address.ljust(16, b"\0")
    return _CLAIM.pack(_MAGIC, claim.vrid, flags, claim.rank, held, vip, address)


def unpack_claim(data: bytes, size: int) -> Optional[Claim]:
    """`size`: of the addresses, 4 or 16. None for anything that is no claim."""
    if len(data) < _CLAIM.size or data[:4] != _MAGIC:
        return None
    _, vrid, flags, rank, held, vip, address = _CLAIM.unpack_from(data)
    holds, mute, asks = bool(flags & _HOLDS), bool(flags & _MUTE), bool(flags & _ASKS)
    return Claim(vrid, vip[:size], address[:size], rank, holds, mute, asks, held / 1000)


def arp(operation: int, mac: bytes, sender: bytes, target: bytes) -> bytes:
    return _ARP.pack(1, 0x0800, 6, 4, operation, mac, sender, b"\0" * 6, target)


def arp_sender(data: bytes) -> Optional[Answer]:
    """Who says in this ARP packet which address it has."""
    if len(data) < _ARP.size:
        return None
    hardware, protocol, _, _, _, mac, sender = _ARP.unpack_from(data)[:7]
    if (hardware, protocol) != (1, 0x0800) or sender == b"\0" * 4:
        return None
    return Answer(sender, mac)


def advertised(data: bytes) -> Optional[Answer]:
    """The target of a neighbour advertisement in an IPv6 packet, and the MAC that it gives."""
    if len(data) < 64 or data[6] != socket.IPPROTO_ICMPV6 or data[40] != 136 or data[7] != 255:
        return None
    options = data[64:]
    while len(options) >= 8 and options[1]:
        if options[0] == 2:
            return Answer(data[48:64], options[2:8])
        options = options[options[1] * 8 :]
    return None


def advert_vrid(data: bytes, version: int) -> Optional[int]:
    """The VRID of a VRRPv3 advertisement; IPv4 with its header, IPv6 without, as from a socket."""
    if version == 4:
        if len(data) < 20 or data[8] != 255 or data[9] != VRRP:
            return None
        data = data[(data[0] & 15) * 4 :]
    return data[1] if len(data) >= 8 and data[0] == 0x31 else None


# Classic BPF: what the kernel throws away does not wake the guard (filter.h).
_LD_W, _LD_H, _LD_B, _JEQ, _RET = 0x20, 0x28, 0x30, 0x15, 0x06
_PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE


def arp_filter(vip: bytes) -> List[Tuple[int, int, int, int]]:
    """ARP replies, which only come to those who asked, and whatever speaks for the VIP."""
    address = struct.unpack("!I", vip)[0]
    return [
        (_LD_H, 0, 0, 20),
        (_JEQ, 2, 0, 2),
        (_LD_W, 0, 0, 28),
        (_JEQ, 0, 1, address),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]


def advertisement_filter() -> List[Tuple[int, int, int, int]]:
    return [
        (_LD_B, 0, 0, 20),
        (_JEQ, 0, 3, socket.IPPROTO_ICMPV6),
        (_LD_B, 0, 0, 54),
        (_JEQ, 0, 1, 136),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]


def own_vrrp_filter(version: int) -> List[Tuple[int, int, int, int]]:
    """VRRP packets that this machine sends."""
    return [
        (_LD_W, 0, 0, _PACKET_TYPE),
        (_JEQ, 0, 5, _OUTGOING),
        (_LD_H, 0, 0, 12),
        (_JEQ, 0, 3, 0x0800 if version == 4 else ETHERTYPE_IPV6),
        (_LD_B, 0, 0, 23 if version == 4 else 20),
        (_JEQ, 0, 1, VRRP),
        (_RET, 0, 0, 0xFFFF),
        (_RET, 0, 0, 0),
    ]


def _attach(sock: socket.socket, program: List[Tuple[int, int, int, int]]) -> None:
    code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
    pointer = struct.pack("@HP", len(program), code.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, 26, pointer)  # SO_ATTACH_FILTER


# Netlink (rtnetlink(7)).

_NEWADDR, _DELADDR, _GETADDR, _NEWLINK, _DELLINK, _DONE = 20, 21, 22, 16, 17, 3
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR


def messages(data: bytes) -> List[Tuple[int, bytes]]:
    """Types and contents of the netlink messages in what a socket gave."""
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            break
        found.append((kind, data[16:length]))
        data = data[(length + 3) & ~3 :]
    return found


def interface_address(content: bytes) -> Tuple[int, bytes]:
    """Interface index and address of an RTM_NEWADDR or RTM_DELADDR."""
    found = dict(attributes(content[8:]))
    address = found.get(2) or found.get(1) or b""  # IFA_LOCAL, IFA_ADDRESS
    return struct.unpack_from("=I", content, 4)[0], address


def attributes(data: bytes) -> List[Tuple[int, bytes]]:
    """Kinds and values of the attributes that follow a message's fixed part."""
    found = []
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found.append((kind, data[4:length]))
        data = data[(length + 3) & ~3 :]
    return found


def link_change(kind: int, content: bytes, index: int, mac: bytes) -> Optional[str]:
    """Why a guard of this interface has to start anew: it is gone, or has another MAC address now.

    A bridge or bond changes its own with its ports; with the old one the guard would poison caches.
    """
    if len(content) < 16 or struct.unpack_from("=i", content, 4)[0] != index:
        return None
    if kind == _DELLINK:
        return "is gone"
    now = dict(attributes(content[16:])).get(1, mac)  # IFLA_ADDRESS
    return None if now == mac else "has another MAC address now: %s" % _mac(now)


def address_message(kind: int, flags: int, index: int, address: bytes) -> bytes:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    content = struct.pack("=BBBBI", family, len(address) * 8, 0, 0, index)
    for attribute in (2, 1):
        content += struct.pack("=HH", 4 + len(address), attribute) + address
    return struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content


# Acting.


class Wire:
    """The sockets of one interface."""

    def __init__(self, interface: str, me: Me) -> None:
        self.interface = interface
        self.me = me
        self.version = 4 if len(me.vip) == 4 else 6
        self.index = socket.if_nametoindex(interface)
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.netlink.bind((0, _GROUPS))
        # Read after that, or a change in between would stay unnoticed.
        with open("/sys/class/net/%s/address" % interface) as file:
            self.mac = bytes.fromhex(file.read().strip().replace(":", ""))
        self.claims = self._packets(ETHERTYPE_CLAIM, None)
        if self.version == 4:
            self.neighbours = self._packets(ETHERTYPE_ARP, arp_filter(me.vip))
        else:
            self.neighbours = self._packets(ETHERTYPE_IPV6, advertisement_filter())
            self.asking = self._icmp()
        self.listed = None  # type: Optional[bool]
        self.own = None  # type: Optional[socket.socket]
        self.peers = None  # type: Optional[socket.socket]
        self.tries = {}  # type: Dict[socket.socket, bytes]
        for sock in (self.netlink, self.claims, self.neighbours):
            sock.setblocking(False)

    def _packets(self, kind: int, program: Optional[List[Any]]) -> socket.socket:
        """Bound only when its filter is there: nothing else ever comes in."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if program is not None:
            _attach(sock, program)
        sock.bind((self.interface, kind))
        sock.setblocking(False)
        return sock

    def _icmp(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        sock.setsockopt(socket.IPPROTO_ICMPV6, 1, b"\xff" * 32)  # ICMP6_FILTER: receive nothing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            sock.setsockopt(socket.IPPROTO_IPV6, option, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        return sock

    def listening(self) -> List[socket.socket]:
        all_of_them = (self.netlink, self.claims, self.neighbours, self.own, self.peers)
        return [sock for sock in all_of_them if sock is not None] + list(self.tries)

    def read(self, sock: socket.socket) -> List[Any]:
        """The events in what has arrived; netlink's tell whether the VIP is there."""
        if sock in self.tries:
            return self._tried(sock)
        events = []  # type: List[Any]
        for _ in range(64):
            try:
                data, source = sock.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS and sock is self.netlink:
                    self.ask_addresses()
                elif error.errno not in (errno.ENOBUFS, errno.ENETDOWN):
                    raise
                break
            event = self._event(sock, data, source)
            if event is not None:
                events.extend(event if isinstance(event, list) else [event])
        return events

    def _event(self, sock: socket.socket, data: bytes, source: Any) -> Any:
        if sock is self.netlink:
            return self._changes(data)
        if sock is self.own:
            ours = advert_vrid(data[14:] if self.version == 4 else data[54:], self.version)
            return OwnAdvert() if ours == self.me.vrid else None
        if sock is self.peers:
            address = socket.inet_pton(self.peers.family, source[0].partition("%")[0])
            ours = advert_vrid(data, self.version) == self.me.vrid
            return Advert(address) if ours else None
        if source[2] == _OUTGOING or data[6:12] == self.mac:
            return None
        if sock is self.claims:
            claim = unpack_claim(data[14:], len(self.me.vip))
            return Claimed(data[6:12], claim) if claim else None
        answer = arp_sender(data[14:]) if self.version == 4 else advertised(data[14:])
        return answer if answer and answer.mac != self.mac else None

    def _changes(self, data: bytes) -> List[Any]:
        """Is the VIP there? Once for each change, and once after all addresses were asked for."""
        changes = []  # type: List[Any]
        for kind, content in messages(data):
            if kind == _DONE and self.listed is not None:
                changes.append(self.listed)
                self.listed = None
            elif kind in (_NEWADDR, _DELADDR):
                if interface_address(content) == (self.index, self.me.vip):
                    changes.append(kind == _NEWADDR)
                    self.listed = None if self.listed is None else kind == _NEWADDR
            elif kind in (_NEWLINK, _DELLINK):
                change = link_change(kind, content, self.index, self.mac)
                if change is not None:
                    raise SystemExit("the interface %s %s" % (self.interface, change))
        return changes

    def ask_addresses(self) -> None:
        self.listed = False
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        content = struct.pack("=BBBBI", family, 0, 0, 0, 0)
        self.netlink.send(struct.pack("=IHHII", 16 + len(content), _GETADDR, 0x301, 1, 0) + content)

    def remove_address(self) -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.send(address_message(_DELADDR, 0x1, self.index, self.me.vip))

    def say(self, claim: Claim) -> None:
        head = BROADCAST + self.mac + struct.pack("!H", ETHERTYPE_CLAIM)
        self.claims.send(head + pack_claim(claim))

    def ask(self, address: bytes, mac: Optional[bytes]) -> None:
        """Who has this address? For the VIP without a sender: a probe changes nobody's cache."""
        if self.version == 6:
            self._solicit(address)
            return
        sender = b"\0" * 4 if address == self.me.vip else self.me.address
        head = (mac or BROADCAST) + self.mac + struct.pack("!H", ETHERTYPE_ARP)
        self.neighbours.send(head + arp(1, self.mac, sender, address))

    def _solicit(self, address: bytes) -> None:
        group = b"\xff\x02" + b"\0" * 9 + b"\x01\xff" + address[13:]
        data = struct.pack("!BBHI", 135, 0, 0, 0) + address + b"\x01\x01" + self.mac
        self.asking.sendto(data, (socket.inet_ntop(socket.AF_INET6, group), 0, 0, self.index))

    def announce(self) -> None:
        vip = self.me.vip
        if self.version == 6:
            data = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + vip + b"\x02\x01" + self.mac
            self.asking.sendto(data, ("ff02::1", 0, 0, self.index))
            return
        head = BROADCAST + self.mac + struct.pack("!H", ETHERTYPE_ARP)
        self.neighbours.send(head + arp(1, self.mac, vip, vip))

    def watch_own(self, on: bool) -> None:
        if self.own is not None:
            self.own.close()
            self.own = None
        if on:
            self.own = self._packets(3, own_vrrp_filter(self.version))  # ETH_P_ALL

    def watch_peers(self, on: bool) -> None:
        """A socket like keepalived's: what the packet filter drops does not come here either."""
        if self.peers is not None:
            self.peers.close()
            self.peers = None
        if on:
            family = socket.AF_INET if self.version == 4 else socket.AF_INET6
            self.peers = socket.socket(family, socket.SOCK_RAW, VRRP)
            self.peers.setsockopt(
                socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode()
            )
            self.peers.setblocking(False)

    def try_haproxy(self, address: bytes) -> None:
        """Whatever it says to an empty request, that it closes included, shows that it is alive.

        The kernel accepts connections for a HAProxy that hangs, and refuses them for none.
        """
        for sock in [sock for sock, tried in self.tries.items() if tried == address]:
            del self.tries[sock]
            sock.close()
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(0.05)
            sock.connect((socket.inet_ntop(family, address), self.me.port))
            sock.send(b"\r\n\r\n")
        except OSError:
            sock.close()
            raise
        self.tries[sock] = address

    def _tried(self, sock: socket.socket) -> List[Any]:
        address = self.tries.pop(sock)
        try:
            sock.recv(64)
            return [Alive(address)]
        except OSError as error:
            return [Alive(address)] if error.errno == errno.ECONNRESET else []
        finally:
            sock.close()

    def gateway(self) -> Optional[bytes]:
        """The default route's next hop on this interface."""
        path = "/proc/net/route" if self.version == 4 else "/proc/net/ipv6_route"
        with open(path) as file:
            for line in file:
                words = line.split()
                if self.version == 4 and words[:2] == [self.interface, "00000000"]:
                    if int(words[3], 16) & 2:
                        return struct.pack("=I", int(words[2], 16))
                elif self.version == 6 and words[-1] == self.interface and words[1] == "00":
                    if words[0] == "0" * 32 and int(words[8], 16) & 2:
                        return bytes.fromhex(words[4])
        return None


GROUPS = tuple(
    "/sys/fs/cgroup%s/system.slice/keepalived.service/cgroup.procs" % place
    for place in ("", "/unified", "/systemd")
)


class Unit:
    """The processes of keepalived's unit, and no others."""

    def __init__(self, places: Sequence[str] = GROUPS) -> None:
        self.places = tuple(places)
        self.seen = False

    def processes(self) -> List[int]:
        """All of them; the control group is gone with the last one."""
        for path in self.places:
            try:
                with open(path) as file:
                    found = [int(line) for line in file]
            except OSError:
                continue
            if found:
                self.places, self.seen = (path,), True
            return found
        return []

    def state(self) -> Any:
        """Gone or Stopped; None: it is at work, or was never seen, so nothing is known."""
        processes = self.processes()
        if not processes:
            return Gone() if self.seen else None
        return Stopped() if stands_still(processes) else None


def stands_still(processes: List[int]) -> bool:
    """Is one of them stopped? Whoever stopped it, it answers nobody."""
    for process in processes:
        try:
            with open("/proc/%d/stat" % process) as file:
                if file.read().rpartition(")")[2].split()[0] in ("T", "t"):
                    return True
        except OSError:
            continue
    return False


def overwrite(path: str, text: str) -> None:
    """Same length, same place: it works on a full file system, and nobody ever sees it empty."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def notify(text: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(text.encode())


class Loop:
    """Hands events to the guard and does what it says."""

    def __init__(self, wire: Wire, me: Me) -> None:
        self.wire = wire
        self.guard = Guard(me)
        self.unit = Unit()
        self.watchdog = int(os.environ.get("WATCHDOG_USEC", 0)) / 3e6

    def run(self) -> None:
        overwrite(GUARD_FILE, "0\n")
        self.tell(None, "", "")
        self.wire.ask_addresses()
        self.feed(Started())
        notify("READY=1")
        fed = time.monotonic()
        while True:
            now = time.monotonic()
            if self.watchdog and now - fed >= self.watchdog:
                notify("WATCHDOG=1")
                fed = now
            until = min(self.guard.deadline(), fed + self.watchdog if self.watchdog else NEVER)
            wait = None if until == NEVER else max(0.0, until - now)
            ready = select.select(self.wire.listening(), [], [], wait)[0]
            for sock in ready:
                if sock.fileno() >= 0:
                    for event in self.wire.read(sock):
                        self.feed(event)
            self.feed(Tick())

    def feed(self, event: Any) -> None:
        if isinstance(event, bool):
            # While it holds the VIP it is at work: the time to learn where its processes are.
            self.unit.processes()
            event = Taken(self.held_before()) if event else Lost()
        for action in self.guard.react(time.monotonic(), event):
            try:
                follow_up = self.act(action)
            except OSError as error:
                log("%s: %s" % (type(action).__name__, error.strerror or error))
            else:
                if follow_up is not None:
                    self.feed(follow_up)

    def act(self, action: Any) -> Any:
        """Carry out one action; returns the event that it leads to, if any."""
        return getattr(self, "_" + type(action).__name__.lower())(action)

    def _say(self, action: Say) -> None:
        self.wire.say(action.claim)

    def _ask(self, action: Ask) -> None:
        self.wire.ask(action.address, action.mac)

    def _announce(self, _: Announce) -> None:
        self.wire.announce()

    def _block(self, action: Block) -> None:
        overwrite(GUARD_FILE, "1\n" if action.value else "0\n")

    def _settled(self, _: Settled) -> None:
        overwrite(FRESH_FILE, "0\n")

    def _try(self, action: Try) -> None:
        self.wire.try_haproxy(action.address)

    def _watchown(self, action: WatchOwn) -> Any:
        self.wire.watch_own(action.on)
        return self.unit.state() if action.on else None

    def _watchpeers(self, action: WatchPeers) -> None:
        self.wire.watch_peers(action.on)

    def _findgateway(self, _: FindGateway) -> Gateway:
        return Gateway(self.wire.gateway())

    def _tell(self, action: Tell) -> None:
        self.tell(action.why, action.other, action.text)

    def _end(self, _: End) -> None:
        processes = self.unit.processes()
        if processes:
            log("keepalived does not give the VIP up: killing it, %d processes" % len(processes))
        else:
            log("keepalived is gone, and the VIP was left behind: removing it")
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wire.remove_address()

    def tell(self, why: Optional[str], other: str, text: str) -> None:
        """In the log, and for kubeha in a file; the file is only for people."""
        if text:
            log(text)
        if why is None and text:
            return
        told = {"why": why or None, "other": other, "text": text, "since": int(time.time())}
        try:
            with open(STATE_FILE + ".new", "w") as file:
                json.dump(told, file)
            os.replace(STATE_FILE + ".new", STATE_FILE)
        except OSError:
            pass

    def held_before(self) -> float:
        """How long ago keepalived told that it became master: the guard may be the younger one."""
        try:
            with open(HOLDER_FILE) as file:
                if file.read().strip() != "1":
                    return 0.0
                return max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
        except OSError:
            return 0.0


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_settings(path: str) -> Tuple[str, Me]:
    """The interface, and who this node is."""
    with open(path) as file:
        told = json.load(file)
    family = socket.AF_INET6 if ":" in told["vip"] else socket.AF_INET
    peers = {socket.inet_pton(family, a): name for name, a in told["peers"].items()}
    address, vip = (socket.inet_pton(family, told[name]) for name in ("address", "vip"))
    interval, port = told["advert_interval"], told["port"]
    me = Me(address, vip, told["vrid"], told["rank"], peers, interval, port)
    return told["interface"], me


def main() -> None:
    interface, me = read_settings(SETTINGS)
    while True:
        try:
            wire = Wire(interface, me)
            break
        except OSError as error:
            log("%s: %s; trying again" % (interface, error.strerror or error))
            time.sleep(1.0)
    Loop(wire, me).run()


if __name__ == "__main__":
    main()
