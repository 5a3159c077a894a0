"""The real control plane of a lab: it is there, it works, and it comes back by itself."""

import json
import ssl

import pytest
from cluster_works import (
    LEASES,
    Kubectl,
    assert_cluster_works,
    certificate,
    etcd_members,
    holder,
    names,
    server_version,
    wait_for_leaders,
    wait_until_ready,
)
from running_lab import RunningLab, wait_for

from kubeha.errors import LabError
from kubeha.lab.binaries import Binaries, bundled_kubectl, obtain, programs_directory
from kubeha.lab.control_plane import (
    ask,
    start_control_plane,
    stop_control_plane,
)
from kubeha.lab.control_plane_units import UNITS
from kubeha.lab.lab import VIP6
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

THREE = {"m1", "m2", "m3"}


def boot_id(machine: Machine) -> str:
    return machine.execute(["cat", "/proc/sys/kernel/random/boot_id"]).stdout


def main_pids(machine: Machine) -> list[str]:
    """Process ids of all servers of the machine's control plane."""
    shown = machine.execute(["systemctl", "show", "--property=MainPID", *UNITS]).stdout
    return [line for line in shown.splitlines() if line]


def programs() -> Binaries:
    return obtain("auto", lambda _: None)


@pytest.mark.parametrize("name", sorted(THREE))
def test_every_api_server_answers_anonymously(cluster: RunningLab, name: str) -> None:
    machine = cluster.machine(name)
    assert ask(machine, "/readyz") == "ok"
    assert ask(machine, "/livez") == "ok"
    assert json.loads(ask(machine, "/version"))["gitVersion"] == programs().version
    assert ask(machine, "/api/v1/namespaces").startswith("403 ")


def test_kubectl_from_a_client_node(cluster: RunningLab) -> None:
    kubectl = Kubectl(cluster.machine("c1"), "https://198.51.100.11:6443")
    assert server_version(kubectl) == programs().version
    assert "kube-system" in kubectl("get", "namespaces", "-o", "name")


def test_kubeconfigs_name_the_endpoint(cluster: RunningLab) -> None:
    files = [cluster.place / "kubeconfig"]
    for machine in cluster.machines:
        files += [machine.root / "etc/kubernetes/admin.conf", machine.root / "root/.kube/config"]
    command = [str(bundled_kubectl()), "config", "view", "-o", "jsonpath={.clusters[0].cluster}"]
    for file in files:
        shown = json.loads(run([*command, f"--kubeconfig={file}"]).stdout)
        assert shown["server"] == f"https://{cluster.vip}:8443", file
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_controllers_use_the_api_server_of_their_own_machine(cluster: RunningLab) -> None:
    machine = cluster.machine("m2")
    for component in ("controller-manager", "scheduler"):
        text = (machine.root / f"etc/kubernetes/{component}.conf").read_text()
        assert f"server: https://{machine.address}:6443\n" in text


def test_the_certificate_names_the_endpoint_and_every_node(cluster: RunningLab) -> None:
    shown = names(certificate(cluster.machine("c1"), "198.51.100.12", 6443))
    machines = [cluster.machine(name) for name in THREE]
    expected = {cluster.vip, VIP6, "127.0.0.1", "10.96.0.1", "kubernetes", "kubernetes.default"}
    expected |= THREE | {machine.address for machine in machines}
    assert expected | {machine.address6 for machine in machines} <= shown


def test_the_ca_is_on_clients_too(cluster: RunningLab) -> None:
    texts = {
        (machine.root / "etc/kubernetes/pki/ca.crt").read_text() for machine in cluster.machines
    }
    (text,) = texts
    assert ssl.PEM_cert_to_DER_cert(text)


def test_every_lease_has_a_holder(cluster: RunningLab) -> None:
    wait_for_leaders(Kubectl.on_api_server(cluster.machine("m1")), THREE)


def test_three_machines_are_one_etcd(cluster: RunningLab) -> None:
    for name in THREE:
        assert etcd_members(cluster.machine(name)) == THREE


@pytest.mark.parametrize("name", sorted(THREE))
def test_the_cluster_works_through_every_api_server(cluster: RunningLab, name: str) -> None:
    assert_cluster_works(Kubectl.on_api_server(cluster.machine(name)))


def test_machines_share_one_copy_of_the_programs(cluster: RunningLab) -> None:
    shown = cluster.machine("m3").execute(["readlink", "-f", "/usr/local/bin/kube-apiserver"])
    directory = programs().directory.relative_to(programs_directory())
    assert shown.stdout.strip() == f"/opt/kubernetes/{directory}/kube-apiserver"


def test_no_unit_failed_and_nothing_listens_unencrypted(cluster: RunningLab) -> None:
    machine = cluster.machine("m1")
    assert machine.state() == "running"
    listening = machine.execute(["ss", "-Hltn"]).stdout
    assert not [port for port in (":8080 ", ":10251 ", ":10252 ") if port in listening]


def test_a_dead_server_is_started_again(cluster: RunningLab) -> None:
    machine = cluster.machine("m2")
    before = main_pids(machine)
    machine.execute(["systemctl", "kill", "--signal=KILL", *UNITS])
    wait_for(
        "all servers run again",
        lambda: not set(main_pids(machine)) & {*before, "MainPID=0"},
        timeout=30,
    )
    wait_until_ready(machine)


def test_starting_again_disturbs_nothing(cluster: RunningLab) -> None:
    machine = cluster.machine("m1")
    before = main_pids(machine)
    start_control_plane(cluster.lab, machine, programs(), lambda _: None)
    assert main_pids(machine) == before
    assert_cluster_works(Kubectl.on_api_server(machine))


def test_an_api_server_depends_on_the_etcd_of_its_own_machine_alone(cluster: RunningLab) -> None:
    m1, m2 = cluster.machine("m1"), cluster.machine("m2")
    m1.execute(["systemctl", "stop", "etcd"])
    try:
        wait_for("m1 is not ready", lambda: ask(m1, "/readyz").startswith("500"), timeout=30)
        assert ask(m2, "/readyz") == "ok"
    finally:
        m1.execute(["systemctl", "start", "etcd"])
    wait_until_ready(m1)


def test_a_rebooted_machine_brings_its_control_plane_back(cluster: RunningLab) -> None:
    machine = cluster.machine("m3")
    before = boot_id(machine)
    machine.execute(["systemctl", "reboot"])
    wait_for("m3 is up again", lambda: rebooted(machine, before), timeout=60)
    wait_until_ready(machine)
    assert etcd_members(machine) == THREE
    assert_cluster_works(Kubectl.on_api_server(machine))


def rebooted(machine: Machine, before: str) -> bool:
    try:
        return boot_id(machine) not in ("", before)
    except LabError:
        return False


def test_leaders_move_when_their_machine_loses_power(cluster: RunningLab) -> None:
    leader = holder(Kubectl.on_api_server(cluster.machine("m1")), LEASES[0])
    survivors = THREE - {leader}
    kubectl = Kubectl.on_api_server(cluster.machine(min(survivors)))
    cluster.fault("power-off", leader)
    try:
        wait_for_leaders(kubectl, survivors)
        assert_cluster_works(kubectl)
    finally:
        cluster.heal(leader)
    wait_until_ready(cluster.machine(leader))


def test_a_machine_that_lost_everything_joins_again(cluster: RunningLab) -> None:
    machine = cluster.machine("m2")
    stop_control_plane(machine, forget=True)
    assert not (machine.root / "etc/kubernetes").exists()
    start_control_plane(cluster.lab, machine, programs(), lambda _: None)
    wait_until_ready(machine)
    assert etcd_members(machine) == THREE


def test_growing_from_machines_without_a_ca(fresh_machines: RunningLab) -> None:
    """As an operator does: m1 alone is a cluster, m2 and m3 join; the CA appears with the first."""
    lab = fresh_machines
    m1, m2, m3 = (lab.machine(name) for name in sorted(THREE))
    assert not [m for m in lab.machines if (m.root / "etc/kubernetes").exists()]
    done = lab("kubernetes", "m1")
    assert "lab: m1: certificates, etcd" in done.stderr.splitlines()
    assert done.stdout.splitlines()[0] == "Ready: m1"
    assert etcd_members(m1) == {"m1"}
    assert_cluster_works(Kubectl.on_api_server(m1))
    assert not (m2.root / "etc/kubernetes").exists()

    lab.fault("power-off", "m1")
    refused(lab, "m2", "there is a cluster to join: m1: is powered off", "kubeha lab boot m1")
    lab("boot", "m1")
    wait_until_ready(m1)
    assert lab("kubernetes", "m2").stdout.splitlines()[0] == "Ready: m2"
    assert etcd_members(m1) == etcd_members(m2) == {"m1", "m2"}
    before = main_pids(m1)
    assert lab("kubernetes").stdout.splitlines()[0] == "Ready: m1, m2, m3"
    assert etcd_members(m3) == THREE
    assert main_pids(m1) == before, "what runs was disturbed"


def test_what_cannot_have_a_control_plane_is_refused(machines: RunningLab) -> None:
    refused(machines, "c1", "c1 is a client node", "the control plane nodes are m1, m2, m3")
    refused(machines, "m7", "there is no machine 'm7'", "the machines are m1, m2, m3, c1")
    assert not [m for m in machines.machines if (m.root / "etc/kubernetes").exists()]


def refused(lab: RunningLab, machine: str, why: str, hint: str) -> None:
    """Kubernetes cannot be started there, and the operator is told why and what to do."""
    done = lab("kubernetes", machine, check=False)
    assert done.returncode in (2, 3)
    assert why in done.stderr
    assert f"hint: {hint}" in done.stderr or f"({hint})" in done.stderr
