"""What happens when the holder of the VIP fails: one move, and nobody who comes later notices."""

import pytest
from endpoint import Endpoint
from rows import STREAMS, TURNS, trial, wait_until_whole

pytestmark = TURNS


@pytest.fixture
def endpoint(deployed: Endpoint, turn: int) -> Endpoint:
    """The endpoint, found whole by the test and left whole for the next one."""
    deployed.lab.heal()
    wait_until_whole(deployed)
    return deployed


@pytest.mark.parametrize("fault", ["power-off", "link-down", "freeze"])
def test_the_holder_is_gone(endpoint: Endpoint, fault: str) -> None:
    """Long-lived connections get an RST at their next segment: none is left hanging."""
    old = endpoint.holder()
    with trial(endpoint, f"{fault} of the holder", loads=[STREAMS], after=3) as run:
        run.strike(fault, old)
        run.wait_for_move()
    run.cut_off(old)
    run.moved_once()
    run.none_failed()
    run.all_reset(STREAMS)


@pytest.mark.parametrize(
    "fault",
    ["kill-keepalived", "kill-keepalived-parent", "kill-keepalived-child", "stop-keepalived"],
)
def test_keepalived_on_the_holder_ends(endpoint: Endpoint, fault: str) -> None:
    """Its kernel gives the VIP up before another node takes it, or just then."""
    old = endpoint.holder()
    with trial(endpoint, f"{fault} on the holder") as run:
        run.strike(fault, old)
        run.wait_for_move()
    run.moved_once()
    run.none_failed(after=run.given_up(old))
    run.never_two_holders()


@pytest.mark.parametrize("fault", ["kill-haproxy", "stop-haproxy", "hang-haproxy"])
def test_haproxy_on_the_holder_ends(endpoint: Endpoint, fault: str) -> None:
    """What arrives while the holder has no HAProxy is lost; the VIP does not stay there."""
    old = endpoint.holder()
    with trial(endpoint, f"{fault} on the holder") as run:
        run.strike(fault, old)
        run.wait_for_move()
    run.moved_once()
    run.none_failed(after=run.holders.settled_at(run.began))
    run.never_two_holders()
