"""A node's part in a planned move: what has to be so, and when it is over. Pure."""

from typing import Any

import pytest
from former_holders import REQUEST, entry

from kubeha.node.handover.formers import believable, longest, merged, speaking, why_over
from kubeha.node.handover.wanted import ruleset, wanted

IPV6: dict[str, Any] = {"vip": "2001:db8::10", "port": 8443, "interface": "eth0"}
ARP = {
    "/proc/sys/net/ipv4/conf/all/arp_ignore": 1,
    "/proc/sys/net/ipv4/conf/all/arp_announce": 2,
}


def test_the_former_holder_keeps_the_vip_and_passes_nothing_on() -> None:
    want = wanted(REQUEST, "m1", {"m1": entry(1)})
    assert want == {"sysctls": ARP, "address": True, "rules": None}


def test_the_others_pass_unknown_packets_on_to_it() -> None:
    want = wanted(REQUEST, "m2", {"m1": entry(1)})
    assert want["sysctls"] == {"/proc/sys/net/ipv4/conf/eth0/accept_local": 1}
    assert want["address"] is False
    assert 'dup to 198.51.100.11 device "eth0" drop' in want["rules"]


def test_what_is_passed_on_is_marked_and_never_passed_on_again() -> None:
    """Whatever the nodes believe of each other, a packet makes one hop at most."""
    first = ruleset(REQUEST, ["198.51.100.11"]).split("\n    ")[2]
    assert "ip dscp != 61" in first
    assert first.index("dscp set 61") < first.index("dup to")


def test_of_several_former_holders_each_gets_a_copy_and_drops_what_it_does_not_know() -> None:
    formers = {"m1": entry(1), "m2": entry(2, move="b")}
    holder, first, second = (wanted(REQUEST, name, formers)["rules"] for name in ("m3", "m1", "m2"))
    assert 'dup to 198.51.100.11 device "eth0" dup to 198.51.100.12 device "eth0" drop' in holder
    assert "dscp 61 counter drop" in holder, "it may be about to become one itself"
    assert "198.51.100.11" not in first.replace("daddr 198.51.100.10", "")
    assert "dscp 61 counter drop" in first and "dscp 61 counter drop" in second


def test_ipv6_needs_no_arp_settings() -> None:
    want = wanted(IPV6, "m1", {"m1": entry(1), "m2": {**entry(2), "address": "2001:db8::12"}})
    assert want["sysctls"] == {}
    assert "table ip6 kubeha_handover" in want["rules"]
    assert "ip6 dscp set 61" in want["rules"]


def test_a_request_adds_to_what_is_known_and_old_moves_expire() -> None:
    known = merged({}, {"m1": entry(1, 10.0), "m2": entry(2, 600.0)}, at=100.0, prepared=5.0)
    later = merged(known, {"m3": entry(3)}, at=116.0)
    assert sorted(later) == ["m2", "m3"]
    assert later["m2"]["until"] == 705.0


def test_the_same_move_asked_for_again_changes_nothing_and_another_begins_anew() -> None:
    known = merged({}, {"m1": entry(1)}, at=100.0)
    known["m1"]["left"] = 101.0
    assert merged(known, {"m1": entry(1)}, at=150.0) == known
    assert "left" not in merged(known, {"m1": entry(1, move="b")}, at=150.0)["m1"]


@pytest.mark.parametrize(
    ("state", "holding", "count", "at", "why"),
    [
        ({}, True, 9, 5.0, None),
        ({}, True, 9, 31.0, "stayed"),
        ({}, None, 9, 31.0, None),
        ({"left": 10.0}, False, 9, 20.0, None),
        ({"left": 10.0}, False, 0, 12.0, None),
        ({"left": 10.0}, False, 0, 13.5, "ended"),
        ({"left": 10.0}, False, None, 50.0, None),
        ({"left": 10.0}, True, 9, 11.0, "returned"),
        ({"left": 10.0}, False, 9, 100.0, "deadline"),
        ({}, True, 9, 100.0, "deadline"),
    ],
    ids=[
        "prepared", "never-moved", "blind", "carries", "too-early", "ended", "uncounted",
        "returned", "deadline", "deadline-before-the-move",
    ],
)  # fmt: skip
def test_when_a_former_holder_has_done_its_part(
    state: dict[str, Any], holding: bool | None, count: int | None, at: float, why: str | None
) -> None:
    assert why_over({"since": 0.0, "until": 100.0, **state}, holding, count, at) == why


def test_a_former_holder_that_has_the_vip_again_stays_one_while_there_are_others() -> None:
    """Clients on those nodes reach it only because they go on passing packets to it."""
    state = {"since": 0.0, "until": 100.0, "left": 10.0}
    assert why_over(state, True, 9, 20.0, others=True) is None
    formers = {"m1": entry(1), "m2": entry(2, move="b")}
    home = wanted(REQUEST, "m1", formers, home=True)
    assert home["address"] is False
    assert sorted(home["sysctls"]) == ["/proc/sys/net/ipv4/conf/eth0/accept_local"]
    assert 'dup to 198.51.100.12 device "eth0" drop' in home["rules"]
    assert 'dup to 198.51.100.11 device "eth0" drop' in wanted(REQUEST, "m2", formers)["rules"]


@pytest.mark.parametrize(
    ("rest", "so"),
    [
        (0.0, True),
        (629.9, True),
        (630.1, False),
        (-1.0, False),
        (float("nan"), False),
        (float("inf"), False),
    ],
)
def test_a_former_holder_is_believed_what_its_move_allows(rest: float, so: bool) -> None:
    assert believable(rest, seconds=600.0) is so


def test_before_the_vip_goes_the_time_to_prepare_counts() -> None:
    assert believable(690.0, seconds=600.0, prepared=95.0)
    assert not believable(700.0, seconds=600.0, prepared=95.0)


def test_the_service_may_run_as_long_as_it_has_something_to_do() -> None:
    assert longest({"formers": {"m1": entry(1, 60.0)}, "prepared": 90.0}) == 150.0
    assert longest({"formers": {}, "aside": 75.0}) == 75.0
    assert longest({"formers": {}}) == 30.0


def test_nothing_is_passed_on_to_who_has_fallen_silent() -> None:
    formers = {"m1": entry(1), "m2": entry(2), "m3": entry(3)}
    heard = {"m1": 90.0, "m2": 99.0}
    assert sorted(speaking(formers, heard, "m9", at=100.0)) == ["m2", "m3"]
    assert sorted(speaking(formers, heard, "m1", at=100.0)) == ["m1", "m2", "m3"]
