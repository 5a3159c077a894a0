"""Real labs for the tests: one per session with a control plane, one without.

Names carry the process id, so that two runs on one box do not meet. A lab is taken down whatever
happens; when a test has failed, its logs and the machines' journals stay in tests' `.lab-logs/`.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from endpoint import Endpoint
from running_lab import RunningLab, new_name

# A runner that gives up sends SIGTERM: the labs have to be taken down then, too.
signal.signal(signal.SIGTERM, signal.default_int_handler)

FAILED = pytest.StashKey[bool]()
KEPT = Path(__file__).parents[2] / ".lab-logs"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Remember that something failed in this session."""
    report = yield
    if report.failed:
        item.session.stash[FAILED] = True
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory is a lab test and may take minutes (image, control plane)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(1200))


def labs(request: pytest.FixtureRequest, directory: Path, *options: str) -> Iterator[RunningLab]:
    """A lab for the fixtures below: up, handed out, its journals kept on failure, down."""
    lab = RunningLab(new_name(), directory)
    try:
        lab.up(*options)
        yield lab
    finally:
        if request.session.stash.get(FAILED, False):
            KEPT.mkdir(exist_ok=True)
            lab.keep_logs(KEPT / lab.name)
        lab.down()


@pytest.fixture(scope="session")
def lab_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the session's labs have their `.lab`; empty at the end, or something was left."""
    directory = tmp_path_factory.mktemp("labs")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest, lab_directory: Path) -> Iterator[RunningLab]:
    """Three control plane machines and a client without Kubernetes, shared by the session."""
    yield from labs(request, lab_directory, "--kubernetes", "none")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, lab_directory: Path) -> Iterator[RunningLab]:
    """Three control plane machines with a running Kubernetes control plane, and a client."""
    yield from labs(request, lab_directory)


@pytest.fixture(scope="session")
def deployed(cluster: RunningLab) -> Endpoint:
    """The shared control plane with the endpoint on it."""
    endpoint = Endpoint(cluster)
    endpoint.apply()
    return endpoint


@pytest.fixture
def fresh_machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningLab]:
    """Three machines and a client of one test alone, for tests that change them for good."""
    yield from labs(request, tmp_path, "--kubernetes", "none")


@pytest.fixture
def fresh_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningLab]:
    """A control plane of one test alone."""
    yield from labs(request, tmp_path)
