"""Whose MAC address is which, and who of two rivals steps down."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from simulated_guards import ADDRESSES, MACS

from kubeha.node.guard.neighbours import Neighbours, Surroundings
from kubeha.node.guard.rivals import Standing, yields

PEERS = {ADDRESSES[0]: "m1", ADDRESSES[2]: "m3"}
GATEWAY = bytes([198, 51, 100, 1])


def test_no_more_than_four_cards_of_a_peer_are_remembered() -> None:
    known = Neighbours(PEERS)
    known.learn(0.0, ADDRESSES[0], MACS[0])
    cards = [bytes([2, 0, 0, 0, 0, number]) for number in range(50, 54)]
    for card in cards:
        known.learn(0.0, ADDRESSES[0], card)
    assert known.macs_of(0.0, ADDRESSES[0]) == cards
    assert known.newest_mac(ADDRESSES[0]) == cards[-1]


def test_a_peer_is_called_by_its_name_and_a_stranger_by_its_mac_address() -> None:
    known = Neighbours(PEERS)
    known.learn(0.0, ADDRESSES[2], MACS[2])
    assert known.name(0.0, MACS[2]) == "m3"
    assert known.name(0.0, MACS[0]) == "02:00:00:00:00:0b"


def test_a_gateway_that_never_answered_is_not_missed() -> None:
    for answers in (True, False):
        around = Surroundings(PEERS)
        around.found(GATEWAY)
        if answers:
            around.heard(0.0, GATEWAY)
        for _ in range(10):
            around.end_round()
        assert around.cut_off() == answers


standings = st.builds(Standing, st.booleans(), st.floats(0, 100), st.integers(0, 4))


@given(st.lists(standings, min_size=2, max_size=2, unique_by=lambda one: one.rank), st.booleans())
def test_exactly_one_of_two_steps_down(two: list[Standing], lasting: bool) -> None:
    one, other = two
    assert yields(one, other, lasting=lasting) != yields(other, one, lasting=lasting)


@given(st.lists(standings, min_size=3, max_size=3, unique_by=lambda one: one.rank))
def test_of_three_that_go_on_exactly_one_stays(three: list[Standing]) -> None:
    stays = [
        one
        for one, *others in permutations(three)
        if not any(yields(one, other, lasting=True) for other in others)
    ]
    assert len(set(stays)) == 1
