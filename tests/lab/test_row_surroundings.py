"""Strangers, floods, a full HAProxy and full disks: none of them moves the VIP."""

import time

import pytest
from breaking import Breaking
from endpoint import NODES, Endpoint
from holders import Watch
from rows import STREAMS, TURNS, look, trial, wait_until_whole
from running_lab import wait_for

pytestmark = TURNS

# A proxy that is taken for dead has lost the VIP by then: two checks, one a second.
LONG_ENOUGH = 4.0


@pytest.fixture
def endpoint(deployed: Endpoint, turn: int) -> Endpoint:
    """The endpoint, found whole by the test and left whole for the next one."""
    deployed.lab.heal()
    wait_until_whole(deployed)
    return deployed


@pytest.mark.parametrize("way", ["multicast", "unicast"])
def test_a_rogue_speaks_vrrp_with_the_highest_priority(endpoint: Endpoint, way: str) -> None:
    """For our VRID and our VIP, from an address that is no peer's."""
    words = [f"to={way}", "priority=255", "interval=0.1", f"vip={endpoint.lab.vip}"]
    with trial(endpoint, f"a rogue by {way}", loads=[STREAMS], after=LONG_ENOUGH) as run:
        run.strike("rogue-vrrp", *words)
    run.stayed()
    run.none_failed()
    assert run.broken("stream") == []


def test_five_thousand_idle_connections_from_one_source(endpoint: Endpoint) -> None:
    log = endpoint.lab.place / "logs" / "idle-flood.log"
    log.unlink(missing_ok=True)
    with trial(endpoint, "5000 idle connections", loads=[STREAMS]) as run:
        run.strike("idle-flood", "connections=5000")
        wait_for("5000 connections", lambda: opened(log.read_text()) > 5000, timeout=60)
    run.stayed()
    run.none_failed()
    assert run.broken("stream") == []


def opened(log: str) -> int:
    """How many connections the flood has tried by now: '450 of 5000 are open, 5300 were'."""
    last = log.splitlines()[-1:]
    return int(last[0].split()[-2]) if last else 0


def test_haproxy_at_its_connection_limit_is_not_dead(endpoint: Endpoint) -> None:
    holder = endpoint.holder()
    breaking = Breaking(endpoint)
    with trial(endpoint, "at maxconn") as run:
        breaking.haproxy(holder, "set maxconn global 20")
        try:
            run.strike("idle-flood", "connections=100", "rate=100")
            full = wait_for("it is full", lambda: connections(endpoint, holder) >= 20, timeout=20)
            time.sleep(LONG_ENOUGH)
        finally:
            breaking.haproxy(holder, "set maxconn global 20000")
            endpoint.lab.heal()
    assert full
    run.stayed()


def connections(endpoint: Endpoint, node: str) -> int:
    return int(look(endpoint, node)["connections"])


@pytest.mark.parametrize("fault", ["disk-full", "run-full"])
def test_no_space_is_left_on_any_node(endpoint: Endpoint, fault: str) -> None:
    with trial(endpoint, f"{fault} everywhere", loads=[STREAMS], after=LONG_ENOUGH) as run:
        run.strike(fault, *NODES)
    run.stayed()
    run.none_failed()
    assert run.broken("stream") == []


def test_all_machines_are_power_cycled_together(endpoint: Endpoint) -> None:
    """Whoever is up first takes the VIP, and it stays there."""
    endpoint.lab.fault("power-off", *NODES)
    endpoint.lab.heal()
    with Watch(endpoint.lab) as holders:
        holder = endpoint.wait_for_holder(timeout=60)
        settled = time.time()
        assert wait_until_whole(endpoint) == holder
    assert holders.taken_after(settled) == []
    assert holders.now() == [holder]
