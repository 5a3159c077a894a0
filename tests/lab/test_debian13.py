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
from test_guard import (
    assert_one_holder_while_blocked,
    assert_taken_over_from,
    holder_and_others,
    wait_until_well,
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


def test_vrrp_blocked_between_healthy_nodes(endpoint: Endpoint) -> None:  # noqa: F811
    """The guard's main case, with another keepalived."""
    wait_until_well(endpoint.lab)
    old, others = holder_and_others(endpoint.lab)
    assert_one_holder_while_blocked(endpoint.lab, [old, *others], seconds=10)
    assert_taken_over_from(endpoint.lab, old)
