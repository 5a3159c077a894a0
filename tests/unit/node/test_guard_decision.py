"""The guard's decisions: events with the time in, actions out. No sockets, no clocks."""

import pytest
from simulated_guards import ADDRESSES, GATEWAY, GATEWAY_MAC, MACS, VIP, claim, guard

from kubeha.node.guard.decision import Guard
from kubeha.node.guard.events import (
    Advert,
    Alive,
    Announce,
    Answer,
    Ask,
    Block,
    Claimed,
    End,
    FindGateway,
    Gateway,
    Gone,
    Hush,
    Lost,
    OwnAdvert,
    Say,
    Settled,
    Started,
    Stopped,
    Taken,
    Tick,
    Try,
)

STRANGER = bytes([2, 0, 0, 0, 0, 99])


class Did(list[object]):
    """Actions, in their order; named tuples of different names are different here."""

    def __contains__(self, wanted: object) -> bool:
        return self.place(wanted) is not None

    def place(self, wanted: object) -> int | None:
        alike = (type(one) is type(wanted) and one == wanted for one in self)
        return next((number for number, fits in enumerate(alike) if fits), None)


def react(one: Guard, now: float, event: object) -> Did:
    return Did(one.react(now, event))


def until(one: Guard, now: float, end: float, *heard: object) -> Did:
    """All that it does from `now` to `end`; it hears `heard` every 10 ms."""
    did = Did()
    while now <= end:
        for event in heard or (Tick(),):
            did += one.react(now, event)
        now += 0.01
    return did


def holder(rank: int = 1, *, held: float = 60.0) -> Guard:
    """A guard whose node has held the VIP alone for a while; it knows its peers' MAC addresses."""
    one = guard(rank)
    one.react(0.0, Taken(held))
    for other in {0, 1, 2} - {rank}:
        one.react(0.001, Answer(ADDRESSES[other], MACS[other]))
    return one


def test_the_one_that_has_held_it_longer_stays() -> None:
    old = holder(held=60)
    did = until(old, 0.01, 0.3, Claimed(MACS[0], claim(0, held=0.0)), OwnAdvert())
    assert Block(True) not in did
    young = holder(held=0)
    did = until(young, 0.01, 0.3, Claimed(MACS[0], claim(0, held=60.0)))
    assert Block(True) in did


def test_who_took_it_at_the_same_moment_is_decided_by_rank() -> None:
    assert Block(True) in until(holder(1, held=0), 0, 0.1, Claimed(MACS[0], claim(0)))
    assert Block(True) not in until(holder(1, held=0), 0, 0.1, Claimed(MACS[2], claim(2)))


def test_what_keepalived_says_as_it_makes_way_for_another_one_reaches_nobody() -> None:
    one = holder(held=0)
    did = until(one, 0.01, 0.1, Claimed(MACS[0], claim(0, held=60.0)))
    hushed, blocked = did.place(Hush(True)), did.place(Block(True))
    assert hushed is not None and blocked is not None and hushed < blocked
    one.react(0.1, Lost())
    assert Hush(False) in until(one, 0.1, 0.5, Answer(VIP, MACS[0]))


def test_what_keepalived_says_is_heard_where_nobody_else_holds_the_vip() -> None:
    """Who was cut off is to be replaced as soon as anybody hears it."""
    one = holder(held=60)
    one.react(0.1, Gateway(GATEWAY))
    one.react(0.1, Answer(GATEWAY, GATEWAY_MAC))
    did = until(one, 0.1, 4.0)
    assert Block(True) in did and Hush(True) not in did


def test_a_handover_that_overlaps_is_no_conflict() -> None:
    one = holder(held=0)
    one.react(0.01, Claimed(MACS[0], claim(0, held=60)))
    did = react(one, 0.03, Claimed(MACS[0], claim(0, holds=False)))
    assert Announce() in did
    assert Block(True) not in until(one, 0.03, 1.0)


def test_an_answer_of_arp_that_is_not_repeated_is_no_conflict() -> None:
    one = holder(2, held=0)
    one.react(0.01, Answer(VIP, MACS[0]))
    assert Block(True) not in until(one, 0.01, 2.0, Answer(ADDRESSES[0], MACS[0]), OwnAdvert())


def test_a_stranger_is_never_yielded_to_but_the_vip_is_announced_again() -> None:
    one = holder(2, held=0)
    did = until(one, 0.01, 5.0, Answer(VIP, STRANGER), Answer(ADDRESSES[0], MACS[0]))
    assert Announce() in did and Block(True) not in did
    forged = claim(0)._replace(address=bytes([198, 51, 100, 66]))
    assert Block(True) not in until(one, 6.0, 7.0, Claimed(STRANGER, forged))


def test_a_forged_claim_of_a_peer_counts_for_nothing() -> None:
    forged = Claimed(STRANGER, claim(0, held=999.0))
    did = until(holder(1, held=60), 0.01, 5.0, forged, Answer(ADDRESSES[0], MACS[0]))
    assert Ask(ADDRESSES[0], None) in did and Block(True) not in did
    did = until(holder(1, held=60), 0.01, 5.0, forged, Answer(VIP, STRANGER))
    assert Block(True) not in did


def test_a_rival_with_two_cards_is_yielded_to_whichever_answers_last() -> None:
    cards = (Answer(ADDRESSES[0], MACS[0]), Answer(ADDRESSES[0], STRANGER))
    for heard in (cards, cards[::-1]):
        one = holder(1, held=0)
        assert Block(True) in until(one, 0.01, 0.2, *heard, Claimed(MACS[0], claim(0, held=60)))


def test_a_claim_of_a_peer_that_has_not_answered_yet_counts_when_it_does() -> None:
    one = guard(1)
    one.react(0.0, Taken(0.0))
    one.react(0.001, Answer(ADDRESSES[2], MACS[2]))
    did = react(one, 0.1, Claimed(MACS[0], claim(0, held=60)))
    assert Ask(ADDRESSES[0], None) in did and one.began is None
    one.react(0.11, Answer(ADDRESSES[0], MACS[0]))
    assert one.began == 0.11
    assert Block(True) in until(one, 0.11, 0.2, Claimed(MACS[0], claim(0, held=60)))


def test_where_no_peer_ever_answers_on_this_card_claims_are_believed() -> None:
    one = guard(1)
    one.react(0.0, Taken(0.0))
    assert Block(True) in until(one, 0.1, 0.3, Claimed(MACS[0], claim(0, held=60)))


def test_a_rival_without_a_guard_is_yielded_to_later_by_the_better_rank() -> None:
    heard = (Answer(VIP, MACS[0]), Answer(ADDRESSES[0], MACS[0]), Alive(ADDRESSES[0]), OwnAdvert())
    assert Block(True) in until(holder(2, held=60), 0.01, 0.2, *heard)
    assert Block(True) not in until(holder(1, held=60), 0.01, 0.2, *heard)
    assert Block(True) in until(holder(1, held=60), 0.01, 0.4, *heard)


def test_a_rival_of_which_nothing_but_the_kernel_answers_is_not_yielded_to() -> None:
    heard = (Answer(VIP, MACS[0]), Answer(ADDRESSES[0], MACS[0]), OwnAdvert())
    did = until(holder(2, held=0), 0.01, 10.0, *heard)
    assert Try(ADDRESSES[0]) in did and Block(True) not in did


def test_a_hung_keepalived_is_ended_at_once_however_long_it_has_held() -> None:
    one = holder(held=60)
    one.react(0.01, Claimed(MACS[0], claim(0)))
    one.react(0.011, Stopped())
    did = until(one, 0.011, 0.1, Claimed(MACS[0], claim(0)))
    assert (did.place(Block(True)) or 0) < (did.place(End()) or 0)


def test_a_vip_that_a_dead_keepalived_left_behind_is_removed_at_once() -> None:
    one = holder(held=60)
    one.react(0.01, Claimed(MACS[0], claim(0)))
    assert End() in react(one, 0.011, Gone())
    one.react(0.012, Lost())
    assert End() not in react(one, 0.013, Gone())


def test_a_keepalived_that_sends_nothing_is_ended_although_the_rival_yielded() -> None:
    one = holder(held=60)
    until(one, 0.01, 0.03, Claimed(MACS[0], claim(0)))
    one.react(0.05, Claimed(MACS[0], claim(0, holds=False)))
    did = until(one, 0.05, 2.0, Answer(ADDRESSES[0], MACS[0]))
    assert Block(True) in did and End() in did
    healthy = holder(held=60)
    until(healthy, 0.01, 0.03, Claimed(MACS[0], claim(0)))
    healthy.react(0.05, Claimed(MACS[0], claim(0, holds=False)))
    healthy.react(0.09, OwnAdvert())
    assert Block(True) not in until(healthy, 0.09, 2.0, Answer(ADDRESSES[0], MACS[0]))


def test_a_keepalived_that_does_not_react_is_ended() -> None:
    one = holder(held=0)
    until(one, 0.01, 0.07, Claimed(MACS[0], claim(0, held=60)))
    assert End() in until(one, 0.07, 0.3, Claimed(MACS[0], claim(0, held=60)))


def aside(rank: int = 1) -> Guard:
    """A guard that has stepped down for m1."""
    one = holder(rank, held=0)
    assert Block(True) in until(one, 0.01, 0.1, Claimed(MACS[0], claim(0, held=60)))
    one.react(0.1, Lost())
    return one


def test_it_stays_aside_while_the_other_answers() -> None:
    assert Block(False) not in until(aside(), 0.1, 100.0, Answer(VIP, MACS[0]))


def test_it_comes_back_when_nobody_answers() -> None:
    assert Block(False) in until(aside(), 0.1, 1.6)
    assert Block(False) in until(aside(), 0.1, 1.6, Answer(VIP, STRANGER))


def test_it_comes_back_when_the_other_gives_the_vip_up() -> None:
    one = aside()
    one.react(0.2, Claimed(MACS[0], claim(0, holds=False)))
    assert Block(False) in until(one, 0.2, 0.3)
    one = aside()
    one.react(0.2, Claimed(MACS[2], claim(2, holds=False)))
    assert Block(False) not in until(one, 0.2, 0.3)


def test_it_stays_aside_when_the_other_made_way_for_a_third_one() -> None:
    one = aside()
    one.react(0.2, Claimed(MACS[0], claim(0, holds=False)))
    assert Block(False) not in until(one, 0.2, 10.0, Answer(VIP, MACS[2]))


def test_it_comes_back_when_advertisements_arrive_but_believes_them_less_each_time() -> None:
    one = aside()
    assert Block(False) not in react(one, 0.2, Advert(ADDRESSES[0]))
    assert Block(False) in react(one, 0.3, Advert(ADDRESSES[0]))
    one.react(0.7, Taken(0.0))
    did = until(one, 0.7, 0.9, Claimed(MACS[0], claim(0, held=60)))
    assert Block(True) in did
    one.react(1.0, Lost())
    one.react(1.1, Advert(ADDRESSES[0]))
    assert Block(False) not in react(one, 1.3, Advert(ADDRESSES[0]))
    assert Block(False) in react(one, 6.2, Advert(ADDRESSES[0]))


def test_a_new_holder_settles_when_every_peer_was_seen_alive() -> None:
    one = guard(0)
    one.react(0.0, Taken(0.0))
    assert Settled() not in until(one, 0.0, 60.0, Answer(ADDRESSES[1], MACS[1]))
    one.react(60.0, Answer(ADDRESSES[2], MACS[2]))
    alive = [Answer(ADDRESSES[other], MACS[other]) for other in (1, 2)]
    assert Settled() not in until(one, 60.0, 64.9, *alive)
    assert Settled() in until(one, 64.9, 65.1, *alive)


def test_a_holder_that_is_gone_does_not_settle() -> None:
    one = holder(held=0)
    one.react(1.0, Lost())
    assert Settled() not in until(one, 1.0, 60.0)


def test_who_is_cut_off_gives_the_vip_up_until_somebody_answers() -> None:
    one = holder(held=60)
    one.react(0.1, Gateway(GATEWAY))
    one.react(0.1, Answer(GATEWAY, GATEWAY_MAC))
    assert Block(True) in until(one, 0.1, 4.0)
    one.react(4.0, Lost())
    assert Ask(ADDRESSES[0], None) in until(one, 4.0, 60.0)
    assert Block(False) in react(one, 60.0, Answer(ADDRESSES[0], MACS[0]))


@pytest.mark.parametrize("event", [Started(), Taken(0.0)], ids=["at-start", "with-the-vip"])
def test_the_gateway_is_known_before_it_is_missed(event: object) -> None:
    one = guard(1)
    assert FindGateway() in react(one, 0.0, event)
    one.react(0.01, Gateway(GATEWAY))
    one.react(0.02, Answer(GATEWAY, GATEWAY_MAC))
    one.react(0.03, Lost())
    one.react(60.0, Taken(0.0))
    assert Block(True) in until(one, 60.0, 61.0)


def test_a_new_holder_that_nobody_answers_settles_soon() -> None:
    """Perhaps it was cut off, and the others have a holder that is to keep the VIP."""
    one = guard(1)
    one.react(0.0, Taken(0.0))
    assert Settled() in until(one, 0.0, 1.0)
    one = guard(1)
    one.react(0.0, Gateway(GATEWAY))
    one.react(0.0, Taken(0.0))
    assert Settled() not in until(one, 0.0, 4.0, Answer(GATEWAY, GATEWAY_MAC))
    alone = guard(0, nodes=1)
    alone.react(0.0, Taken(0.0))
    assert Settled() not in until(alone, 0.0, 4.0)


def test_who_hears_other_guards_is_not_cut_off_although_nothing_else_answers() -> None:
    one = guard(1)
    one.react(0.0, Taken(0.0))
    one.react(0.1, Gateway(GATEWAY))
    one.react(0.1, Answer(GATEWAY, GATEWAY_MAC))
    asked, now, did = 0, 0.1, Did()
    while now < 60:
        for action in react(one, now, Tick()):
            did.append(action)
            if isinstance(action, Say) and action.claim.asks:
                asked += 1
                did += react(one, now + 0.001, Claimed(MACS[0], claim(0, holds=False)))
        now += 0.01
    assert asked and Block(True) not in did


def test_who_was_cut_off_for_a_moment_only_is_watched_further() -> None:
    one = holder(held=60)
    one.react(0.1, Gateway(GATEWAY))
    one.react(0.1, Answer(GATEWAY, GATEWAY_MAC))
    now, did = 0.1, Did()
    while Block(True) not in did:
        now += 0.01
        did += one.react(now, Tick())
    assert Block(False) in react(one, now + 0.01, Answer(ADDRESSES[0], MACS[0]))
    assert Block(True) in until(one, now + 0.01, now + 4.0)


@pytest.mark.parametrize("gateway", [None, GATEWAY], ids=["no-gateway", "gateway-never-answered"])
def test_without_a_gateway_the_last_one_goes_on_serving(gateway: bytes | None) -> None:
    one = holder(held=60)
    one.react(0.1, Gateway(gateway))
    assert Block(True) not in until(one, 0.1, 60.0)


def test_the_survivor_of_dead_peers_serves_on_while_its_gateway_answers() -> None:
    one = holder(held=60)
    one.react(0.1, Gateway(GATEWAY))
    assert Block(True) not in until(one, 0.1, 60.0, Answer(GATEWAY, GATEWAY_MAC))


def test_a_machine_that_was_paused_is_no_longer_the_one_that_held_it_longest() -> None:
    one = holder(held=60)
    one.react(30.0, Claimed(MACS[0], claim(0, held=25.0)))
    assert Block(True) in until(one, 30.0, 30.2, Claimed(MACS[0], claim(0, held=25.0)))


def test_a_claim_that_asks_is_answered_by_everybody() -> None:
    asking = claim(0)._replace(asks=True)
    (said,) = react(guard(1), 0.0, Claimed(MACS[0], asking))
    assert isinstance(said, Say) and not said.claim.holds and not said.claim.asks
