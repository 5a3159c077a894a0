"""The endpoint comes first, the cluster after it: as `kubeadm init` needs it."""

import pytest
from cluster_works import assert_cluster_works
from endpoint import NODES, Endpoint
from running_lab import RunningLab, wait_for

from kubeha.remote import Load


@pytest.mark.provokes("KH602", "KH609")
def test_deployed_before_there_is_an_api_server_or_a_ca(fresh_machines: RunningLab) -> None:
    """TCP checks first; the next apply moves to verified ones without an interruption."""
    endpoint = Endpoint(fresh_machines)
    said = endpoint.apply()
    assert "KH602 warning no control plane node has /etc/kubernetes/pki/ca.crt yet" in said
    assert "KH609 warning no API server listens on any control plane node yet" in said
    assert "error" not in said
    assert endpoint.holder() == "m1"
    assert checks(endpoint) == {"L4CON"}

    start_control_planes(endpoint)
    endpoint.wait_until_healthy()
    assert checks(endpoint) == {"L4OK"}
    assert_cluster_works(endpoint.kubectl)

    loads = (Load("version", rate=20), Load("stream", connections=10, interval=0.2))
    with endpoint.clients(loads, after=3) as seen:
        said = endpoint.apply()
    seen.show("from TCP checks to verified ones")
    assert "reload haproxy" in said and "restart" not in said
    assert seen.history.failures == ()
    assert wait_for("checks over TLS", lambda: checks(endpoint) == {"L7OK"}, timeout=20)
    assert endpoint.holder() == "m1"
    assert "No changes." in endpoint.apply()


def start_control_planes(endpoint: Endpoint) -> None:
    """As three runs of kubeadm: init on m1, then join on m2 and on m3."""
    for name in NODES:
        endpoint.lab("kubernetes", name)
    assert endpoint.kubectl("get", "--raw=/readyz").strip() == "ok"


def checks(endpoint: Endpoint) -> set[str]:
    """By which checks HAProxy judges the API servers now, on all nodes."""
    nodes = endpoint.status()["nodes"]
    return {server["check"] for node in nodes[:3] for server in node["haproxy"]["servers"]}
