"""One switch for every file that a test compares with: `pytest --update-golden` rewrites them."""

import pytest
from hypothesis import settings

# A loaded machine is no reason to fail: pytest's own time limit ends what hangs.
settings.register_profile("kubeha", deadline=None)
settings.load_profile("kubeha")


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden and recorded files"
    )


@pytest.fixture
def update_golden(request) -> bool:
    """Whether to rewrite what is compared with."""
    return request.config.getoption("--update-golden")
