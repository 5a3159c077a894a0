"""What the guard decides."""

from typing import Dict, Optional, Set

from kubeha.node.guard.events import (
    CONFLICT,
    HUNG,
    ISOLATED,
    Advert,
    Alive,
    Announce,
    Answer,
    Ask,
    Block,
    Claim,
    Claimed,
    End,
    FindGateway,
    Gateway,
    Gone,
    Hush,
    Lost,
    Me,
    OwnAdvert,
    Say,
    Settled,
    Started,
    Stopped,
    Taken,
    Tell,
    Try,
    WatchOwn,
    WatchPeers,
    spelled,
)
from kubeha.node.guard.neighbours import Neighbours, Surroundings
from kubeha.node.guard.reactor import Reactor
from kubeha.node.guard.rivals import Aside, Rival, Standing, yields, yields_to_silent
from kubeha.node.guard.timing import (
    ASK_AGAIN,
    BEAT,
    DEFEND,
    DOUBT,
    FULL,
    HANGS,
    HUSHED,
    MISSES,
    MOST_DOUBT,
    NEVER,
    ONLY_RANK,
    PATIENCE,
    PAUSED,
    PROBE,
    QUICK_ROUND,
    REACTION,
    ROUND,
    SETTLE,
    SLOW_ROUND,
    STALE,
)


class Guard(Reactor):
    """The state of one node and what follows from each event."""

    def __init__(self, me: Me) -> None:
        super().__init__()
        self.me = me
        self.neighbours = Neighbours(me.peers)
        self.around = Surroundings(me.peers)
        self.since: Optional[float] = None
        self.aside: Optional[Aside] = None
        # The conflict: since when, and with which MAC addresses.
        self.began: Optional[float] = None
        self.rivals: Dict[bytes, Rival] = {}
        # Does my keepalived advertise? None: it cannot be told yet.
        self.advertises: Optional[bool] = None
        self.taken = -NEVER
        # A peer held the VIP as well: time to see whether my keepalived is at work.
        self.suspicious = False
        self.seen_alive: Set[bytes] = set()
        self.came_back = -NEVER
        # So long advertisements have to arrive before they count.
        self.doubt = 0.0
        self.defended = -NEVER

    @property
    def holds(self) -> bool:
        return self.since is not None

    def _before_any(self) -> None:
        """A machine that was paused still believes that it holds the VIP; so it is the newest."""
        if self.holds and self.now > self.timers.get("beat", NEVER) + PAUSED:
            self.since = self.now
            self.around.rounds_alone = 0
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
        self.taken = self.neighbours.asked = self.now
        self.seen_alive = set()
        self.around.begin()
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
        self._no_longer("beat", "round", "settle", "announce", "announce_late", "force")
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
        if event.mac in self.neighbours.macs_of(self.now, claim.address):
            self._believe(event)
        else:
            self.neighbours.doubt(self.now, event)
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
            if event.address in self.me.peers or event.address == self.around.gateway:
                self._learn(event.address, event.mac)
        elif self.holds:
            self._rival(event.mac, None)
        elif self.aside is not None and event.mac in {self.aside.mac, *self._peer_macs()}:
            self.aside.answered = True

    def _learn(self, address: bytes, mac: bytes) -> None:
        claimed = self.neighbours.learn(self.now, address, mac)
        self._heard(address)
        if claimed is not None:
            self._believe(claimed)

    def _heard(self, address: bytes) -> None:
        self.around.heard(self.now, address)
        if self.aside is not None and self.aside.why == ISOLATED:
            self._come_back("somebody answers again")
        if self.holds and address in self.me.peers:
            self.seen_alive.add(address)
            if self.seen_alive == set(self.me.peers) and "settle" not in self.timers:
                self._in(SETTLE, "settle")
                self.seen_alive.add(self.me.address)

    def _peer_macs(self) -> Set[bytes]:
        return self.neighbours.all_macs(self.now)

    def _name(self, mac: Optional[bytes]) -> str:
        return self.neighbours.name(self.now, mac)

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
            macs_of = self.neighbours.macs_of
            self._do(*(Try(peer) for peer in self.me.peers if mac in macs_of(self.now, peer)))

    def _on_alive(self, event: Alive) -> None:
        for mac in self.neighbours.macs_of(self.now, event.address):
            if mac in self.rivals:
                self.rivals[mac].alive = True

    def _yields_to(self, rival: Rival) -> bool:
        assert self.began is not None and self.since is not None
        age = self.now - self.began
        claim = rival.claim
        if claim is None:
            return yields_to_silent(rival, len(self.me.peers) - self.me.rank, age)
        mine = Standing(self.advertises is False, self.now - self.since, self.me.rank)
        theirs = Standing(claim.mute, claim.held + self.now - rival.claimed, claim.rank)
        return yields(mine, theirs, lasting=age >= ONLY_RANK)

    def _end_conflict(self) -> None:
        if self.began is None:
            return
        self.began = None
        self.rivals = {}
        self._no_longer("conflict")
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
            self._do(Announce(), Tell(None, "", "%s uses the VIP and is none of us" % spelled(mac)))

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
        self._no_longer("judge_own", "end_own")
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
        if why == CONFLICT:
            # keepalived will say priority 0: take the VIP. But it is held.
            self._do(Hush(True))
            self._in(HUSHED, "hushed")
        self._do(Block(True), Tell(why, self._name(mac), text))
        if why != ISOLATED:
            self._do(WatchPeers(True))
        self._in(0.0 if hangs else REACTION, "force")

    def _time_to_hushed(self) -> None:
        self._do(Hush(False))

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
        self._no_longer("probe", "force")
        self._do(Block(False), WatchPeers(False), Tell("", "", text))
        if self.holds:
            # keepalived had not reacted yet, and perhaps never does: look on.
            self._in(ROUND, "round")

    # Cut off from everybody.

    def _time_to_beat(self) -> None:
        self._in(BEAT, "beat")

    def _time_to_round(self) -> None:
        around = self.around
        # One in so many asks the gateway and peers for the VIP as well.
        full = around.rounds % FULL == 0
        around.end_round()
        if around.cut_off() and self.aside is None:
            self._step_down(ISOLATED, None, "neither the gateway nor any other node answers")
            return
        if around.rounds_alone == 2 and self.me.peers:
            # The gateway was asked as well. If this is an island, whoever holds the VIP on the
            # mainland is to keep it afterwards.
            self._do(Settled())
        lonely = around.lonely(self.now, self.taken)
        self._ask_round(lonely or around.rounds_alone > 0 or full)
        self._in(SLOW_ROUND if lonely else QUICK_ROUND if around.rounds_alone else ROUND, "round")

    def _ask_round(self, everything: bool) -> None:
        """The gateway comes with the event that FindGateway leads to."""
        alone = self.around.rounds_alone > 0
        for peer in self.me.peers:
            mac = None if alone or self.aside is not None else self.neighbours.newest_mac(peer)
            self._do(Ask(peer, mac))
            if mac is not None and everything:
                self._do(Ask(self.me.vip, mac))
        if alone and self.me.peers:
            # Where a peer's address is on another card, only its guard answers here.
            self._say(asks=True)
        if everything:
            self._do(FindGateway())

    def _on_gateway(self, event: Gateway) -> None:
        self.around.found(event.address)
        if event.address is not None:
            alone = self.around.rounds_alone > 0 or self.aside is not None
            mac = None if alone else self.neighbours.newest_mac(event.address)
            self._do(Ask(event.address, mac))
