"""The cluster file changes under a running endpoint: what is rolled out, and what is refused."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from conftest import labs
from endpoint import Endpoint

ADDRESS = {f"m{i}": f"198.51.100.{10 + i}" for i in range(1, 5)}


@pytest.fixture(scope="module")
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Four machines; the endpoint is deployed on the first three of them."""
    options = ("--nodes", "4", "--kubernetes", "none")
    for lab in labs(request, tmp_path_factory.mktemp("changes"), *options):
        deployed = Endpoint(lab)
        write(deployed, ["m1", "m2", "m3"])
        deployed.apply()
        yield deployed


def write(endpoint: Endpoint, names: Sequence[str], vip: str = "198.51.100.10") -> None:
    """A cluster file with these nodes, in this order of priority."""
    nodes = "".join(f"  - {{name: {name}, address: {ADDRESS[name]}}}\n" for name in names)
    (endpoint.lab.place / "kubeha.yaml").write_text(
        f"cluster: changing\nendpoint: {{vip: {vip}}}\ncontrol_plane:\n{nodes}"
        "ssh: {config: ssh_config}\n"
    )


@contextmanager
def watched(endpoint: Endpoint) -> Iterator[set[tuple[str, ...]]]:
    """Every set of holders that is seen meanwhile, looked at several times a second."""
    seen: set[tuple[str, ...]] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.add(tuple(endpoint.holders()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_node_is_added_without_a_second_holder(endpoint: Endpoint) -> None:
    write(endpoint, ["m1", "m2", "m3", "m4"])
    with watched(endpoint) as seen:
        said = endpoint.apply()
    order = [line.split()[1] for line in said.splitlines() if line[:1].isdigit()]
    assert order == ["m2", "m3", "m1", "m4"]
    assert seen == {("m1",)}
    assert len(endpoint.status()["endpoint"]["holders"]) == 1


def test_another_order_of_priority_moves_nothing(endpoint: Endpoint) -> None:
    """A healthy holder stays, whatever its new rank."""
    write(endpoint, ["m4", "m3", "m2", "m1"])
    with watched(endpoint) as seen:
        said = endpoint.apply()
    assert "reload keepalived" in said
    assert "restart keepalived" not in said and "restart haproxy" not in said
    assert seen == {("m1",)}
    assert "No changes." in endpoint.apply()


@pytest.mark.provokes("KH409")
def test_a_node_that_left_the_file_has_to_be_stopped_first(endpoint: Endpoint) -> None:
    write(endpoint, ["m3", "m2", "m1"])
    done = endpoint.lab.kubeha("apply", "--yes", "--no-diff")
    assert done.returncode == 1
    assert "KH409 error   198.51.100.14 is not in the cluster file any more" in done.stderr
    stop = ["systemctl", "disable", "--now", "keepalived", "haproxy", "kubeha-guard"]
    endpoint.lab.machine("m4").execute(stop)
    with watched(endpoint) as seen:
        endpoint.apply()
    assert seen == {("m1",)}


def test_another_vip_is_refused_while_the_endpoint_runs(endpoint: Endpoint) -> None:
    write(endpoint, ["m3", "m2", "m1"], vip="198.51.100.9")
    done = endpoint.lab.kubeha("apply", "--yes", "--no-diff")
    assert done.returncode == 1
    assert "endpoint.vip 198.51.100.10 -> 198.51.100.9" in done.stderr
    assert endpoint.holders() == ["m1"]
