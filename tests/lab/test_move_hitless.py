"""Planned moves with real clients: nothing breaks, nothing fails, nothing stays behind."""

import re
from collections.abc import Iterator

import pytest
from endpoint import NODES, Endpoint
from moving_clients import Crowd, assert_as_before, crowd, nothing_left, other, snapshot, status
from running_lab import RunningLab, stays, wait_for

STRICT = ["sysctl", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1"]
# As kube-proxy writes them, and as firewalld and many a hand-made file do.
KUBE_PROXY = """
table ip kube {
  chain forward {
    type filter hook forward priority 0;
    ct state invalid drop
  }
  chain input {
    type filter hook input priority 0;
    ct state invalid drop
    ct state established,related accept
  }
  chain nat {
    type nat hook postrouting priority 100;
    meta mark & 0x4000 == 0x4000 masquerade
  }
}
"""


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
    nothing_left(applied.lab)
    return applied


@pytest.fixture
def hardened(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Strict reverse path filters, and rules that drop what conntrack does not know."""
    for name in NODES:
        machine = endpoint.lab.machine(name)
        machine.execute(STRICT)
        machine.execute(["sysctl", "-w", "net.netfilter.nf_conntrack_tcp_loose=0"], check=False)
        machine.execute(["nft", "-f", "-"], input=KUBE_PROXY)
    yield endpoint
    for name in NODES:
        machine = endpoint.lab.machine(name)
        machine.execute(["nft", "delete", "table", "ip", "kube"])
        machine.execute([STRICT[0], "-w", *(each.replace("=1", "=0") for each in STRICT[2:])])


def test_a_handover_breaks_nothing_and_puts_everything_back(hardened: Endpoint) -> None:
    """With strict rp_filter and rules as kube-proxy writes them, foreign tables untouched."""
    old = hardened.holder()
    new = other(old)
    before = snapshot(hardened)
    with crowd(hardened) as seen:
        done = hardened.lab.kubeha("handover", "--to", new, "--no-wait", check=True)
        assert hardened.holders() == [new]
    assert f"moved from {old} to {new}" in done.stdout
    assert "live on through" in done.stdout
    seen.assert_unharmed("handover")
    # The clients are gone, so the connections have ended: nobody waits for the deadline.
    nothing_left(hardened.lab)
    assert_as_before(hardened, before)
    assert status(hardened.lab, old)["last"]["why"] == "ended"


def test_drain_reboot_undrain(endpoint: Endpoint) -> None:
    """The runbook: the holder is rebooted, and no client outside it notices."""
    old = endpoint.holder()
    others = [name for name in NODES if name != old]
    with crowd(endpoint, on_client=20, on_node=5, on=others, rate=50) as seen:
        endpoint.lab.kubeha("drain", old, "--no-wait", check=True)
        new = endpoint.holder()
        assert new != old
    seen.assert_unharmed("drain")
    nothing_left(endpoint.lab)
    # What a reboot may not touch: those who came after the move.
    with crowd(endpoint, on_client=20, on_node=5, on=others, rate=50) as seen:
        endpoint.lab.machine(old).execute(["systemctl", "reboot"], check=False)
        machine = endpoint.lab.machine(old)
        wait_for(f"{old} is down", lambda: machine.leader() is None, timeout=60)
        wait_for(f"{old} is up", lambda: machine.leader() is not None, timeout=90)
        wait_for(f"{old} is drained", lambda: _drained(endpoint, old), timeout=90, every=1)
        assert endpoint.holders() == [new]
    _assert_only_its_api_server_went(seen, old)
    endpoint.lab.kubeha("undrain", old, check=True)
    endpoint.wait_until_healthy()
    stays("undrain moves nothing", lambda: endpoint.holders() == [new], seconds=3)
    assert not _drained(endpoint, old)


def _assert_only_its_api_server_went(seen: Crowd, rebooted: str) -> None:
    """HAProxy had sent some streams to the rebooted node's API server: those end, and no others."""
    seen.show("reboot")
    broken = [one for one in seen.broken if one.source != rebooted]
    assert {one.outcome for one in [*broken, *seen.failed]} <= {"reset", "eof"}
    assert len(seen.failed) < 5
    assert len({(one.source, one.connection) for one in broken}) < (20 + 5 * 2) / 2


def _drained(endpoint: Endpoint, name: str) -> bool:
    nodes = {node["name"]: node for node in endpoint.status()["nodes"]}
    return bool(nodes[name].get("drained"))


def test_what_the_deadline_ends_is_counted_and_reset(endpoint: Endpoint) -> None:
    old = endpoint.holder()
    new = other(old)
    with crowd(endpoint, on_client=12, on_node=1, rate=5, after=5) as seen:
        done = endpoint.lab.kubeha("handover", "--to", new, "--deadline", "3s", check=True)
        nothing_left(endpoint.lab)
    seen.show("deadline")
    counted = re.search(r"(\d+) established connections: (\d+) closed at the dead", done.stdout)
    assert counted is not None, done.stdout
    assert int(counted[2]) >= 15
    assert {one.outcome for one in seen.broken} <= {"reset", "eof"}, "an end, not a silence"
    assert seen.failed == []


def test_a_second_move_during_the_first(endpoint: Endpoint) -> None:
    """There and on to the third node, and back to the first: all connections of all live on."""
    first = endpoint.holder()
    second = other(first)
    third = other(first, than=second)
    with crowd(endpoint, on_client=20, on_node=5, rate=20) as seen:
        endpoint.lab.kubeha("handover", "--to", second, "--no-wait", check=True)
        with crowd(endpoint, on_client=20, on_node=5, rate=20) as later:
            endpoint.lab.kubeha("handover", "--to", third, "--no-wait", check=True)
            assert set(status(endpoint.lab, third)["formers"]) == {first, second}
            with crowd(endpoint, on_client=10, on_node=2, rate=20) as last:
                endpoint.lab.kubeha("handover", "--to", first, "--no-wait", check=True)
                assert endpoint.holders() == [first]
    for clients, name in ((seen, "first"), (later, "second"), (last, "third")):
        clients.assert_unharmed(f"clients of the {name} holder")
    nothing_left(endpoint.lab)


def test_an_apply_that_restarts_the_holders_services_moves_the_vip_first(
    endpoint: Endpoint,
) -> None:
    """A drop-in that changes restarts HAProxy: the plan says so, and no client outside fails."""
    old = endpoint.holder()
    file = endpoint.lab.place / "kubeha.yaml"
    right = file.read_text()
    file.write_text(right + "haproxy: {max_connections: 7000}\n")
    try:
        assert f"goes from {old} to another node" in endpoint.lab.kubeha("plan").stdout
        with crowd(endpoint, on_client=10, on_node=1, rate=20) as seen:
            said = endpoint.apply("--deadline", "2s")
    finally:
        file.write_text(right)
    seen.show("apply")
    assert "move the VIP to another node and wait for its connections" in said
    assert endpoint.holder() != old
    assert seen.failed == []
    endpoint.apply("--deadline", "2s")
