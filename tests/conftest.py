"""One switch for every file that a test compares with: `pytest --update-golden` rewrites them."""

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden and recorded files"
    )


@pytest.fixture
def update_golden(request) -> bool:
    """Whether to rewrite what is compared with."""
    return request.config.getoption("--update-golden")
