"""The main job once more on Debian 13: keepalived 2.3.3 and HAProxy 3.0 behave differently."""

from collections.abc import Iterator

import pytest
from conftest import labs
from endpoint import Endpoint
from test_endpoint import (  # noqa: F401  collected here once more, with the fixture below
    endpoint,
    test_a_second_apply_changes_nothing,
    test_all_machines_rebooted_at_once,
    test_killed_api_server,
    test_killed_haproxy_on_the_holder,
    test_plain_reboot_of_the_holder_without_preparation,
    test_power_failure_of_the_holder,
    test_verify_answers_in_its_documented_shape,
)


@pytest.fixture(scope="module")
def applied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """A control plane on Debian 13 machines, with the endpoint deployed from nothing."""
    for lab in labs(request, tmp_path_factory.mktemp("trixie"), "--release", "trixie"):
        endpoint_13 = Endpoint(lab)
        said = endpoint_13.apply()
        assert "Setting up haproxy (3.0" in said
        yield endpoint_13
