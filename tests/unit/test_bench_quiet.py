"""When a trial of bench/failover may end: no failure, no break and nothing that hangs is missed."""

import pytest

from bench.failover import quiet
from bench.failover.quiet import Client

RATE, STREAMS, INTERVAL = 10.0, 2, 0.5


def version(number, start, end, outcome="ok"):
    return ["version", number, start, end, outcome, "", False]


def stream(number, end, outcome="ok", broken=False):
    return ["stream", number, end - 0.01, end, outcome, "", broken]


def well(since, until):
    """What a machine reports while all is well, from one second to another."""
    numbers = range(int(since * RATE), int(until * RATE))
    rows = [version(n, n / RATE, n / RATE + 0.01) for n in numbers]
    return rows + [stream(n, until - 0.01) for n in range(STREAMS)]


@pytest.fixture
def client():
    """One that has worked for 5 s, without anything wrong."""
    client = Client(RATE, STREAMS, INTERVAL)
    assert not client.wrong(0.0, [])
    assert not client.wrong(5.0, well(0, 5))
    return client


def test_nothing_is_wrong_while_all_answer(client):
    assert not client.wrong(6.0, well(5, 6))
    assert not client.wrong(7.0, well(6, 7))


@pytest.mark.parametrize("outcome", ["refused", "timeout", "http-500"])
def test_a_failure_is_wrong_and_not_for_ever(client, outcome):
    rows = well(5, 6)
    rows[3] = version(53, 5.3, 5.4, outcome)
    assert client.wrong(6.0, rows)
    assert not client.wrong(7.0, well(6, 7))


def test_a_broken_connection_is_wrong(client):
    assert client.wrong(6.0, [*well(5, 6), stream(1, 6.0, "reset", broken=True)])


def test_one_new_connection_that_hangs_among_others_is_wrong_until_it_ends(client):
    rows = [row for row in well(5, 6) if row[:2] != ["version", 52]]
    assert not client.wrong(6.0, rows), "slow is not hanging"
    assert client.wrong(8.0, well(6, 8))
    assert client.wrong(14.0, well(8, 14))
    assert client.wrong(16.0, [*well(14, 16), version(52, 5.2, 15.2, "timeout")])
    assert not client.wrong(17.0, well(16, 17))


def test_silence_of_all_is_wrong(client):
    assert not client.wrong(6.0, [])
    assert client.wrong(8.0, [])


def test_a_long_lived_connection_that_hangs_is_wrong(client):
    rows = [row for row in well(5, 9) if row[:2] != ["stream", 1]]
    assert client.wrong(9.0, rows)


def test_a_long_lived_connection_that_never_begins_is_wrong():
    client = Client(RATE, STREAMS, INTERVAL)
    client.wrong(0.0, [])
    rows = [row for row in well(0, 9) if row[:2] != ["stream", 1]]
    assert client.wrong(9.0, rows)


def test_trouble_is_that_of_any_machine():
    trouble = quiet.Trouble(RATE, STREAMS, INTERVAL)
    for source in ("c1", "c2"):
        trouble.told(source, 0.0, [], 1000.0)
    trouble.told("c2", 1.0, [version(0, 0.0, 1.0, "refused")], 1001.0)
    trouble.told("c1", 2.0, well(0, 2), 1002.0)
    assert trouble.last == 1001.0


def test_the_end_is_quiet_after_the_move_and_after_the_last_trouble():
    assert quiet.end(moved=100.0, last=float("-inf")) == 100.0 + quiet.QUIET
    assert quiet.end(moved=100.0, last=90.0) == 100.0 + quiet.QUIET
    assert quiet.end(moved=100.0, last=120.0) == 120.0 + quiet.QUIET
    assert quiet.end(moved=100.0, last=159.0) == 100.0 + quiet.MOST


def test_calm_is_what_is_quick_and_has_nothing_wrong():
    trouble = quiet.Trouble(RATE, STREAMS, INTERVAL)
    trouble.told("c1", 0.0, [], 1000.0)
    assert not trouble.calm(1000.0), "nothing is known yet"
    trouble.told("c1", 2.0, well(0, 2), 1002.0)
    assert trouble.calm(1002.0)
    slow = [version(n, n / RATE, n / RATE + 0.5) for n in range(20, 40)]
    trouble.told("c1", 4.0, [*slow, stream(0, 4.0), stream(1, 4.0)], 1004.0)
    assert not trouble.calm(1004.0)
    trouble.told("c1", 8.0, well(4, 8), 1008.0)
    assert trouble.calm(1008.0)
    trouble.told("c1", 9.0, [*well(8, 8.9), stream(0, 9.0, "reset", broken=True)], 1009.0)
    assert not trouble.calm(1010.0)
