"""Every finding on Kubernetes, provoked on a real control plane, and gone when it is healed.

What needs API servers to start anew is broken together: a start takes seconds, on a busy box many.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from broken_control_plane import NODES, ControlPlane
from certificates import Wanted
from conftest import labs
from endpoint import Endpoint
from running_lab import RunningLab

from kubeha.lab.pki import new_authorities

VIP = "198.51.100.10"
ENDPOINT = f"https://{VIP}:8443"
M1 = "https://198.51.100.11:6443"
UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, lab_directory: Path) -> Iterator[RunningLab]:
    """A control plane of this module alone: its tests break it."""
    yield from labs(request, lab_directory)


@pytest.fixture(scope="module")
def bare(lab: RunningLab) -> ControlPlane:
    """Three API servers without an endpoint in front of them."""
    return ControlPlane(lab)


@pytest.fixture(scope="module")
def plane(bare: ControlPlane) -> ControlPlane:
    """The same behind an endpoint, nothing wrong."""
    Endpoint(bare.lab).apply()
    bare.finds("verify")
    return bare


def right(plane: ControlPlane) -> Wanted:
    """A certificate in which nothing is wrong."""
    return Wanted(plane.site.authorities.cluster, plane.names)


def nameless(plane: ControlPlane, missing: str) -> Wanted:
    return replace(right(plane), names=tuple(name for name in plane.names if name != missing))


@pytest.mark.provokes("KH604")
def test_a_certificate_without_the_vip_is_found_before_anything_is_touched(
    bare: ControlPlane,
) -> None:
    with bare.serving({"m2": nameless(bare, VIP)}):
        bare.finds("check", ("KH604", "m2"))
        done = bare.lab.kubeha("apply", "--yes", "--no-diff")
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert f"m2: the API server's certificate does not name {VIP}" in said
        assert "kubeadm init phase certs apiserver" in said
        for name in NODES:
            machine = bare.lab.machine(name)
            assert machine.execute(["test", "-e", "/etc/kubeha"], check=False).returncode == 1
    bare.finds("check")


@pytest.mark.provokes("KH505", "KH626", "KH627", "KH628")
def test_flags_of_api_servers(bare: ControlPlane) -> None:
    anonymous = {"--authorization-mode=": "--anonymous-auth=false --authorization-mode="}
    etcd = {"--etcd-servers=https://127.0.0.1": "--etcd-servers=https://198.51.100.11"}
    more = {
        "m1": {},
        "m2": {"--bind-address=0.0.0.0": "--bind-address=127.0.0.1"},
        "m3": {"--advertise-address=198.51.100.13": f"--advertise-address={VIP}"},
    }
    with ExitStack() as stack:
        for name in NODES:
            words = {**anonymous, **etcd, **more[name]}
            unit = f"{UNITS}/kube-apiserver.service"
            stack.enter_context(bare.changed(name, unit, words, "kube-apiserver"))
        bare.wait_until_ready()
        bare.finds("check", ("KH505", ""), ("KH626", "m2"), ("KH627", "m3"), ("KH628", ""))
        # A refused /readyz is a warning before an apply: the endpoint works without it.
        assert "KH505 warning" in bare.lab.kubeha("check").stdout
    bare.wait_until_ready()
    bare.finds("check")


@pytest.mark.provokes("KH604", "KH612", "KH613")
def test_certificates_behind_a_running_endpoint(plane: ControlPlane) -> None:
    """verify says the same whichever API server its own connections were given to."""
    certificates = {
        "m1": replace(right(plane), days=29.0),
        "m2": nameless(plane, VIP),
        "m3": replace(right(plane), start=-2.0, days=-1.0),
    }
    expected = {("KH613", "m1"), ("KH604", "m2"), ("KH612", "m3")}
    with plane.serving(certificates):
        # A controller that led from m3 loses its Lease: for some seconds nobody leads.
        for _ in range(3):
            plane.finds("verify", *expected)
        plane.finds("check", *expected)
    plane.finds("verify")


@pytest.mark.provokes("KH612", "KH614", "KH615")
def test_certificates_that_haproxy_does_not_take(plane: ControlPlane) -> None:
    certificates = {
        "m1": replace(right(plane), start=1.0, days=2.0),
        "m2": replace(right(plane), authority=new_authorities().cluster),
        "m3": nameless(plane, "kubernetes"),
    }
    with plane.serving(certificates):
        plane.finds("check", ("KH612", "m1"), ("KH614", "m2"), ("KH615", "m3"))
    plane.finds("verify")


@pytest.mark.provokes("KH616")
def test_a_scheduler_without_election(plane: ControlPlane) -> None:
    unit = f"{UNITS}/kube-scheduler.service"
    off = {"--leader-elect=true": "--leader-elect=false"}
    with plane.changed("m1", unit, off, "kube-scheduler"):
        plane.finds("verify", ("KH616", ""))
        assert plane.found("check") == {("KH616", "")}
    plane.finds("verify")


@pytest.mark.provokes("KH617")
def test_a_controller_that_does_not_run(plane: ControlPlane) -> None:
    with plane.stopped("m2", "kube-controller-manager"):
        plane.finds("verify", ("KH617", "m2"))
        assert plane.found("check") == {("KH617", "m2")}
    plane.finds("verify")


@pytest.mark.provokes("KH618", "KH619")
def test_kubeconfigs_that_know_one_machine(plane: ControlPlane) -> None:
    files = [
        ("m2", "/root/.kube/config", ENDPOINT, M1),
        ("c1", "/root/.kube/config", ENDPOINT, f"https://{VIP}:6443"),
        # It leads home by design, and to another machine by mistake.
        ("m3", "/etc/kubernetes/controller-manager.conf", "https://198.51.100.13:6443", M1),
        ("m1", "/etc/kubernetes/admin.conf", ENDPOINT, "https://127.0.0.1:6443"),
    ]
    elsewhere = {("KH618", "m2"), ("KH618", "c1"), ("KH618", "m3")}
    with ExitStack() as stack:
        for name, path, old, new in files:
            stack.enter_context(plane.changed(name, path, {old: new}))
        plane.finds("verify", *elsewhere, ("KH619", "m1"))
        done = plane.lab.kubeha("check")
        assert done.returncode == 0
        assert f"sed -i -e 's#{M1}#{ENDPOINT}#' /root/.kube/config" in done.stdout
    plane.finds("verify")


# As kube-proxy of kubeadm has it: its kubeconfig comes from a ConfigMap, the node does not have it.
INSIDE = """
mkdir -p /opt/proxy
mount -t tmpfs none /opt/proxy
echo "    server: https://198.51.100.11:6443" >/opt/proxy/kubeconfig.conf
exec -a kube-proxy python3 -c 'import time; time.sleep(600)' --kubeconfig=/opt/proxy/kubeconfig.conf
"""


@pytest.mark.provokes("KH618")
def test_a_kubeconfig_that_only_a_container_has(plane: ControlPlane) -> None:
    machine = plane.lab.machine("m2")
    machine.execute(
        ["systemd-run", "--unit=inside", "--property=PrivateMounts=yes", "bash", "-c", INSIDE]
    )
    try:
        plane.finds("check", ("KH618", "m2"))
        assert "kube-proxy:/opt/proxy/kubeconfig.conf leads" in plane.lab.kubeha("check").stdout
    finally:
        machine.execute(["systemctl", "stop", "inside"])
    plane.finds("check")


@pytest.mark.provokes("KH620", "KH621")
def test_etcd_members_that_are_down(plane: ControlPlane) -> None:
    with plane.stopped("m3", "etcd"):
        plane.finds("check", ("KH621", "m3"))
        said = plane.lab.kubeha("check").stdout
        assert f"etcdctl member remove {plane.member_id('m3')}" in said
        with plane.stopped("m2", "etcd"):
            plane.finds("check", ("KH620", ""))
    plane.wait_until_ready()
    plane.finds("verify")


@pytest.mark.provokes("KH624")
def test_an_alarm_of_etcd(plane: ControlPlane) -> None:
    member = int(plane.member_id("m2"), 16)
    alarm = {"action": "ACTIVATE", "memberID": str(member), "alarm": "NOSPACE"}
    plane.etcd_post("m2", "/v3/maintenance/alarm", alarm)
    try:
        plane.finds("check", ("KH624", ""))
    finally:
        plane.etcdctl("m1", "alarm", "disarm")
    plane.finds("verify")


@pytest.mark.provokes("KH625")
def test_etcd_that_cannot_be_asked(plane: ControlPlane) -> None:
    with ExitStack() as stack:
        for name in NODES:
            # The API servers have had it in memory since they started; kubeha reads it each time.
            path = "/etc/kubernetes/pki/apiserver-etcd-client.key"
            stack.enter_context(plane.without(name, path))
        plane.finds("check", ("KH625", ""))
        assert plane.lab.kubeha("check").returncode == 0
    plane.finds("verify")


@pytest.mark.provokes("KH621", "KH622")
def test_a_member_that_was_added_and_never_started(plane: ControlPlane) -> None:
    """As after a kubeadm join that failed half way: four voters, one of them nobody."""
    url = "https://198.51.100.101:2380"
    added = plane.etcdctl("m1", "member", "add", "m4", f"--peer-urls={url}")
    member = added.split()[1]
    try:
        plane.finds("check", ("KH621", ""), ("KH622", ""))
        assert f"etcdctl member remove {member}" in plane.lab.kubeha("check").stdout
    finally:
        plane.etcdctl("m1", "member", "remove", member)
    plane.finds("verify")


@pytest.mark.provokes("KH622", "KH623")
def test_etcd_with_two_members_and_with_one(plane: ControlPlane) -> None:
    plane.etcdctl("m1", "member", "remove", plane.member_id("m3"))
    plane.finds("check", ("KH622", ""))
    plane.etcdctl("m1", "member", "remove", plane.member_id("m2"))
    plane.finds("check", ("KH623", ""))
    plane.join_again("m2", "m3")
    plane.finds("verify")
