"""Planned moves cut short: whoever dies in the middle, the nodes end what was begun."""

import signal

import pytest
from endpoint import NODES, Endpoint
from moving_clients import (
    HANDOVER,
    assert_as_before,
    crowd,
    nothing_left,
    operator,
    other,
    snapshot,
    status,
    told,
)
from running_lab import RunningLab, wait_for

STEPS = ("preparing every node", "stands aside", "holds the VIP", "connections left")


@pytest.fixture(scope="module")
def applied(cluster: RunningLab) -> Endpoint:
    endpoint = Endpoint(cluster)
    endpoint.apply()
    return endpoint


@pytest.fixture
def endpoint(applied: Endpoint) -> Endpoint:
    applied.lab.heal()
    for name in NODES:
        applied.lab.kubeha("undrain", name, check=True)
    applied.wait_until_healthy()
    nothing_left(applied.lab, timeout=120)
    return applied


@pytest.mark.parametrize("step", STEPS, ids=["prepare", "aside", "moved", "waiting"])
def test_an_operator_who_dies_leaves_nothing(endpoint: Endpoint, step: str) -> None:
    before = snapshot(endpoint)
    target = other(endpoint.holder())
    with crowd(endpoint, on_client=10, on_node=2, rate=20) as seen:
        with operator(endpoint.lab, "handover", "--to", target, "--deadline", "30s") as process:
            told(process, step)
            process.send_signal(signal.SIGKILL)
        wait_for("one holder", lambda: len(endpoint.holders()) == 1, timeout=20)
    seen.assert_unharmed(f"operator killed: {step}")
    nothing_left(endpoint.lab, timeout=150)
    assert_as_before(endpoint, before)


def test_ctrl_c_ends_the_waiting_only(endpoint: Endpoint) -> None:
    old = endpoint.holder()
    with crowd(endpoint, on_client=10, on_node=2, rate=20) as seen:
        target = other(old)
        with operator(endpoint.lab, "handover", "--to", target) as process:
            told(process, "connections left")
            process.send_signal(signal.SIGINT)
            words = told(process, "no longer waiting")
            assert process.wait(timeout=20) == 130
        assert "live on until they end" in words
        assert status(endpoint.lab, old)["formers"][old]["rest"] > 400
    seen.assert_unharmed("Ctrl-C")


def test_a_killed_service_undoes_its_part_and_clients_get_a_reset(endpoint: Endpoint) -> None:
    """kill -9 of the former holder's service: undone there by systemd, elsewhere by its silence."""
    before = snapshot(endpoint)
    old = endpoint.holder()
    with crowd(endpoint, on_client=10, on_node=2, rate=20, after=8) as seen:
        endpoint.lab.kubeha("handover", "--to", other(old), "--no-wait", check=True)
        kill = ["systemctl", "kill", "--signal=KILL", "kubeha-handover.service"]
        endpoint.lab.machine(old).execute(kill)
        nothing_left(endpoint.lab)
    seen.show("service killed")
    assert {one.outcome for one in seen.broken} <= {"reset", "eof"}
    assert seen.failed == []
    assert_as_before(endpoint, before)


def test_the_former_holder_loses_its_power(endpoint: Endpoint) -> None:
    """Its clients get a reset at their next packet, not silence; new connections do not notice."""
    old = endpoint.holder()
    new = other(old)
    others = [name for name in NODES if name != old]
    with crowd(endpoint, on_client=10, on_node=2, rate=20, on=others, after=10) as seen:
        endpoint.lab.kubeha("handover", "--to", new, "--no-wait", check=True)
        endpoint.lab.fault("power-off", old)
        nothing_left(endpoint.lab, others)
        assert endpoint.holders() == [new]
    seen.show("former holder dead")
    assert "timeout" not in {one.outcome for one in seen.broken}
    endpoint.lab("boot", old)
    endpoint.wait_until_healthy()


def test_the_new_holder_loses_its_power(endpoint: Endpoint) -> None:
    """Whoever takes over keeps the first one's connections: itself, or by passing them on."""
    old = endpoint.holder()
    new = other(old)
    third = other(old, than=new)
    with crowd(endpoint, on_client=10, on_node=2, rate=20, on=[third], after=6) as seen:
        endpoint.lab.kubeha("handover", "--to", new, "--no-wait", check=True)
        endpoint.lab.fault("power-off", new)
        # The first one is not drained: it may well be the one that gets the VIP back.
        wait_for("another has it", lambda: set(endpoint.holders()) & {old, third}, timeout=20)
    seen.show("new holder dead")
    # What HAProxy had sent to the dead node's API server is lost with it, and told; no others are.
    assert {one.outcome for one in seen.broken} <= {"reset", "eof"}
    assert len({(one.source, one.connection) for one in seen.broken}) < (10 + 2) / 2
    endpoint.lab("boot", new)
    endpoint.wait_until_healthy()
    nothing_left(endpoint.lab)


def test_a_node_without_nft_moves_the_plain_way_and_says_so(endpoint: Endpoint) -> None:
    target = other(endpoint.holder())
    machine = endpoint.lab.machine(target)
    machine.execute(["mv", "/usr/sbin/nft", "/usr/sbin/nft.away"])
    try:
        done = endpoint.lab.kubeha("handover", "--to", target, check=True)
    finally:
        machine.execute(["mv", "/usr/sbin/nft.away", "/usr/sbin/nft"])
    assert f"not kept: {target}: there is no nft (package nftables)" in done.stdout
    assert endpoint.holders() == [target]
    nothing_left(endpoint.lab)


def test_refusals_touch_nothing(endpoint: Endpoint) -> None:
    before, holder = snapshot(endpoint), endpoint.holder()
    sick = other(holder)
    endpoint.lab.kubeha("drain", sick, check=True)
    for arguments, code, words in (
        (("handover", "--to", "m9"), 2, "m9 is not a load balancer node"),
        (("drain", "m9"), 2, "m9 is not a load balancer node"),
        (("handover", "--to", sick), 1, "it is drained"),
        (("handover", "--to", holder, "--deadline", "soon"), 2, "--deadline soon"),
    ):
        done = endpoint.lab.kubeha(*arguments)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
    endpoint.lab.kubeha("undrain", sick, check=True)
    assert_as_before(endpoint, before)
    assert endpoint.holders() == [holder]
    assert endpoint.lab.machine(holder).execute([HANDOVER], check=False).returncode == 2
