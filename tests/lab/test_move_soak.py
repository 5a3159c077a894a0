"""Fifty planned moves in a row, with two hundred long-lived connections at any time."""

import pytest
from endpoint import NODES, Endpoint
from moving_clients import assert_as_before, crowd, nothing_left, snapshot
from running_lab import RunningLab

MOVES = 50


@pytest.mark.soak
def test_fifty_moves_break_and_fail_nothing(cluster: RunningLab) -> None:
    endpoint = Endpoint(cluster)
    endpoint.apply()
    endpoint.wait_until_healthy()
    before = snapshot(endpoint)
    for number in range(MOVES):
        holder = endpoint.holder()
        target = NODES[(NODES.index(holder) + 1) % len(NODES)]
        with crowd(endpoint, on_client=140, on_node=20, rate=100) as seen:
            done = cluster.kubeha("handover", "--to", target, "--no-wait", check=True)
        assert f"moved from {holder} to {target}" in done.stdout
        seen.assert_unharmed(f"move {number + 1} of {MOVES}")
        nothing_left(cluster)
    assert_as_before(endpoint, before)
