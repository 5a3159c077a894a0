"""What happens when API servers fail: HAProxy goes on to others, and the VIP stays where it is."""

import time

import pytest
from endpoint import NODES, Endpoint
from rows import STREAMS, TURNS, WATCHES, Trial, look, servers, trial, wait_until_whole
from running_lab import wait_for

pytestmark = TURNS


@pytest.fixture
def endpoint(deployed: Endpoint, turn: int) -> Endpoint:
    """The endpoint, found whole by the test and left whole for the next one."""
    deployed.lab.heal()
    wait_until_whole(deployed)
    return deployed


def not_the_holder(endpoint: Endpoint) -> str:
    holder = endpoint.holder()
    return next(name for name in NODES if name != holder)


def wait_until_out(run: Trial, *names: str) -> None:
    """The holder's HAProxy counts exactly these API servers as down."""
    (holder,) = run.holders.now()

    def out() -> set[str]:
        return {n for n, s in servers(run.endpoint, holder).items() if s.startswith("DOWN")}

    wait_for(f"{names} are down", lambda: out() == set(names), timeout=30)


def test_an_api_server_is_killed(endpoint: Endpoint) -> None:
    victim = not_the_holder(endpoint)
    with trial(endpoint, f"kill-apiserver on {victim}") as run:
        run.strike("kill-apiserver", victim)
    run.stayed()
    run.none_failed()


def test_an_api_server_hangs(endpoint: Endpoint) -> None:
    """Its kernel accepts connections. It keeps the first one, so that others go elsewhere."""
    victim = not_the_holder(endpoint)
    with trial(endpoint, f"hang-apiserver on {victim}") as run:
        run.strike("hang-apiserver", victim)
        wait_until_out(run, victim)
        out = time.time()
    run.stayed()
    run.none_failed(after=out)
    assert len(run.seen.history.failures) <= 1


def test_an_api_server_is_not_ready(endpoint: Endpoint) -> None:
    """It serves those that are connected until they leave."""
    victim = not_the_holder(endpoint)
    with trial(endpoint, f"fail-readyz on {victim}", loads=[STREAMS]) as run:
        run.strike("fail-readyz", victim)
        wait_until_out(run, victim)
    run.stayed()
    run.none_failed()
    assert run.broken("stream") == []


def test_the_host_of_an_api_server_vanishes(endpoint: Endpoint) -> None:
    """Idle watches on it are cut by HAProxy's keepalives: none is left there in the dark."""
    holder = endpoint.holder()
    with trial(endpoint, "the host of an API server vanishes", loads=[WATCHES]) as run:
        wait_for("watches", lambda: sum(connected(endpoint, holder).values()) >= 9, timeout=20)
        known = connected(endpoint, holder)
        victim = max((name for name in NODES if name != holder), key=known.__getitem__)
        run.strike("power-off", victim)
        wait_for("nobody there", lambda: connected(endpoint, holder)[victim] == 0, timeout=60)
    run.stayed()
    run.none_failed()
    cut = run.broken("watch")
    assert cut
    assert len(cut) < WATCHES.connections
    print(f"idle watches were cut after {max(one.end for one in cut) - run.seen.struck:.1f} s")


def connected(endpoint: Endpoint, node: str) -> dict[str, int]:
    """How many connections a node's HAProxy has to each API server."""
    known = look(endpoint, node)["servers"]
    return {name: int(known[name][1]) for name in NODES}


def test_no_api_server_is_ready(endpoint: Endpoint) -> None:
    """Fail open: whoever accepts connections gets them, and nobody is cut."""
    with trial(endpoint, "fail-readyz everywhere", loads=[STREAMS], after=3) as run:
        run.strike("fail-readyz", *NODES)
        wait_until_out(run, *NODES)
    run.stayed()
    run.none_failed()
    assert run.broken("stream") == []
