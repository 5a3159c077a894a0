"""One switch for every file that a test compares with: `pytest --update-golden` rewrites them."""

import os

import pytest
from hypothesis import settings

# A loaded machine is no reason to fail: pytest's own time limit ends what hangs. The same examples
# each time, so that what fails, fails for whoever made the change; others by `make test-explore`.
settings.register_profile("kubeha", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("KUBEHA_EXAMPLES", "kubeha"))


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden and recorded files"
    )


@pytest.fixture
def update_golden(request) -> bool:
    """Whether to rewrite what is compared with."""
    return request.config.getoption("--update-golden")
