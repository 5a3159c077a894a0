"""A finding that is wrong is worse than none: nobody reads the right one any more."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import labs
from endpoint import Endpoint

VERBS = ("check", "verify", "status")


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """A healthy cluster of its own, with the endpoint deployed."""
    for lab in labs(request, tmp_path_factory.mktemp("healthy"), "--release", request.param):
        healthy = Endpoint(lab)
        healthy.apply()
        healthy.wait_until_healthy()
        yield healthy


def test_a_few_looks_at_a_healthy_cluster(endpoint: Endpoint) -> None:
    assert false_alarms(endpoint, rounds=3) == Counter()


def test_a_few_looks_at_a_busy_cluster(endpoint: Endpoint) -> None:
    with busy_cores():
        assert false_alarms(endpoint, rounds=3) == Counter()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_looks_at_a_healthy_cluster(endpoint: Endpoint) -> None:
    assert false_alarms(endpoint, rounds=100) == Counter()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_looks_at_a_busy_cluster(endpoint: Endpoint) -> None:
    with busy_cores():
        assert false_alarms(endpoint, rounds=100) == Counter()


def false_alarms(endpoint: Endpoint, *, rounds: int) -> Counter[str]:
    """What each verb found in so many rounds, whatever its severity, with what it said."""
    found: Counter[str] = Counter()
    for _ in range(rounds):
        for verb in VERBS:
            done = endpoint.lab.kubeha(verb, "-o", "json")
            assert done.stdout, done.stderr
            told = json.loads(done.stdout)["findings"]
            found.update(f"{verb}: {one['code']} {one['node']}: {one['message']}" for one in told)
    return found


@contextmanager
def busy_cores() -> Iterator[None]:
    """Every core of this box at work, with ordinary priority, for the time of the body."""
    loop = [sys.executable, "-c", "while True: pass"]
    loads = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()
