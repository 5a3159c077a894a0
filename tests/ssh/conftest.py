"""An sshd for all tests, or one with lines of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Sshd, end_sshd, start_sshd


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Start an sshd with extra lines of configuration."""
    running: list[Sshd] = []

    def make(*lines: str) -> Sshd:
        running.append(start_sshd(tmp_path, *lines))
        return running[-1]

    yield make
    for sshd in running:
        end_sshd(sshd)


@pytest.fixture(scope="session")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    sshd = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield sshd
    end_sshd(sshd)


@pytest.fixture
def sshd(shared_sshd: Sshd) -> Iterator[Sshd]:
    """The shared sshd, with its ordinary client configuration."""
    shared_sshd.configure()
    yield shared_sshd
