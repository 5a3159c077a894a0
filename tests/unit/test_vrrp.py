"""Priorities and times, for every number of load balancer nodes that is allowed."""

from ipaddress import ip_address
from itertools import product

import pytest

from kubeha import vrrp

COUNTS = range(1, vrrp.MAX_LOAD_BALANCERS + 1)
ROLES = (
    {"holder": False, "fresh": False},
    {"holder": True, "fresh": False},
    {"holder": True, "fresh": True},
)


@pytest.mark.parametrize("count", COUNTS)
def test_a_healthy_holder_is_above_every_healthy_node(count):
    holders = [vrrp.effective_priority(count, i, holder=True) for i in range(count)]
    assert min(holders) > max(vrrp.base_priorities(count))


def test_a_holder_keeps_the_vip_while_nodes_have_files_for_other_orders_and_numbers():
    """In the middle of a rollout: any holder against any other node, whatever file each has."""
    places = [(count, index) for count in COUNTS for index in range(count)]
    holders = [vrrp.effective_priority(*place, holder=True) for place in places]
    assert min(holders) > max(vrrp.effective_priority(*place) for place in places)


@pytest.mark.parametrize("count", COUNTS)
def test_healthy_is_above_drained_also_for_the_holder_that_is_drained(count):
    drained = [
        vrrp.effective_priority(count, i, drained=True, **role)
        for i, role in product(range(count), ROLES)
    ]
    assert max(drained) < min(vrrp.base_priorities(count))


@pytest.mark.parametrize("count", COUNTS)
def test_drained_is_above_hung_and_hung_is_above_nothing(count):
    drained = [vrrp.effective_priority(count, i, drained=True) for i in range(count)]
    hung = {
        vrrp.effective_priority(count, i, hung=True, holder=holder, drained=drain)
        for i, holder, drain in product(range(count), (False, True), (False, True))
    }
    assert hung == {1}
    assert min(drained) > 1


@pytest.mark.parametrize("count", COUNTS)
def test_no_two_nodes_ever_have_the_same_priority(count):
    """Every combination of roles of two nodes, two holders at once (a split) included."""
    for one, other in product(range(count), repeat=2):
        if one == other:
            continue
        for roles in product(ROLES, (False, True), ROLES, (False, True)):
            mine = vrrp.effective_priority(count, one, **roles[0], drained=roles[1])
            theirs = vrrp.effective_priority(count, other, **roles[2], drained=roles[3])
            assert mine != theirs, (one, other, roles)


@pytest.mark.parametrize("count", COUNTS)
def test_a_fresh_holder_is_above_every_settled_one_and_that_above_every_other(count):
    everybody = range(count)
    fresh = [vrrp.effective_priority(count, i, holder=True, fresh=True) for i in everybody]
    settled = [vrrp.effective_priority(count, i, holder=True) for i in everybody]
    assert min(fresh) > max(settled) >= min(settled) > max(vrrp.base_priorities(count))


@pytest.mark.parametrize("count", COUNTS)
def test_no_sum_reaches_a_cap(count):
    for index, role, drained in product(range(count), ROLES, (False, True)):
        total = (
            vrrp.base_priorities(count)[index]
            + role["holder"] * vrrp.holder_bonus(count, index)
            + role["fresh"] * vrrp.FRESH
            + drained * vrrp.DRAIN
        )
        assert 1 <= total <= 254
        assert total == vrrp.effective_priority(count, index, **role, drained=drained)


@pytest.mark.parametrize("count, least", [(2, 40), (3, 40), (4, 37), (5, 27), (6, 22), (7, 18)])
def test_neighbours_are_spaced_widely(count, least):
    bases = vrrp.base_priorities(count)
    assert {a - b for a, b in zip(bases, bases[1:], strict=False)} == {least}


def test_priorities_of_three_nodes():
    assert vrrp.base_priorities(3) == (240, 200, 160)
    assert [vrrp.holder_bonus(3, index) for index in range(3)] == [7, 46, 85]


@pytest.mark.parametrize("count", [0, 8, -1])
def test_a_number_of_nodes_that_is_not_allowed(count):
    with pytest.raises(ValueError, match=f"1 to 7 load balancer nodes, not {count}"):
        vrrp.base_priorities(count)


def test_times_of_rfc_9568():
    """Section 6.1: skew = (256 - priority) * interval / 256, master down = 3 * interval + skew."""
    assert vrrp.skew_time(128, 0.1) == pytest.approx(0.05)
    assert vrrp.master_down_interval(128, 0.1) == pytest.approx(0.35)
    assert vrrp.master_down_interval(254, 1.0) == pytest.approx(3.0078125)


def test_failover_of_three_nodes_at_a_tenth_of_a_second():
    """docs/how-it-works.md, "How fast", has these."""
    least, most = vrrp.failover_bounds(3, 0.1)
    assert (least, most) == (pytest.approx(0.20625), pytest.approx(0.3375))
    assert vrrp.handover_time(3, 0.1) == pytest.approx(0.0375)


@pytest.mark.parametrize(
    "vip, vrid",
    [("198.51.100.10", 10), ("198.51.100.0", 255), ("198.51.100.255", 255), ("2001:db8::1:a", 10)],
)
def test_vrid_is_the_last_byte_of_the_vip(vip, vrid):
    assert vrrp.derived_vrid(ip_address(vip)) == vrid
