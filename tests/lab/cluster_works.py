"""Does the cluster work? Questions for a control plane of a lab, asked with the real kubectl."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from running_lab import wait_for

from kubeha.errors import LabError
from kubeha.lab.control_plane import readiness
from kubeha.lab.machine import Machine

LEASES = ("kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class Kubectl:
    """kubectl as an administrator, run on `machine`; through `server` (URL) or the endpoint."""

    machine: Machine
    server: str = ""

    @classmethod
    def on_api_server(cls, machine: Machine) -> "Kubectl":
        """Straight to the machine's own API server."""
        return cls(machine, f"https://{machine.address}:6443")

    def __call__(self, *arguments: str, input: str | None = None, timeout: float = 30) -> str:
        server = [f"--server={self.server}"] if self.server else []
        command = ["kubectl", *server, "--request-timeout=20s", *arguments]
        return self.machine.execute(command, input=input, timeout=timeout).stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def create(self, manifest: dict[str, Any]) -> None:
        self("create", "-f", "-", input=json.dumps(manifest))


def server_version(kubectl: Kubectl) -> str:
    return str(json.loads(kubectl("get", "--raw=/version"))["gitVersion"])


def lease(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """The specification of a Lease of the control plane: holderIdentity, renewTime, ..."""
    return dict(kubectl.json("get", "lease", name, "--namespace=kube-system")["spec"])


def holder(kubectl: Kubectl, name: str) -> str:
    """The machine whose server leads: '' as long as none does."""
    return str(lease(kubectl, name).get("holderIdentity") or "").partition("_")[0]


def wait_for_leaders(kubectl: Kubectl, among: set[str], *, timeout: float = 60) -> None:
    """Each Lease is held by one of these machines."""
    for name in LEASES:
        wait_for(
            f"{name} is led by one of {sorted(among)}",
            lambda name=name: holder(kubectl, name) in among,
            timeout=timeout,
            every=0.5,
        )


def wait_until_ready(machine: Machine, *, timeout: float = 120) -> None:
    """The machine's own API server is ready, also while the machine is still booting."""

    def ready() -> bool:
        try:
            return readiness(machine) == "ok"
        except LabError:
            return False

    wait_for(f"{machine.name}'s API server is ready", ready, timeout=timeout, every=0.3)


def certificate(seen_from: Machine, host: str, port: int) -> x509.Certificate:
    """The certificate that a server shows, as seen from a machine."""
    program = f"import ssl; print(ssl.get_server_certificate(({host!r}, {port})))"
    text = seen_from.execute(["python3", "-c", program]).stdout
    return x509.load_pem_x509_certificate(text.encode())


def names(shown: x509.Certificate) -> set[str]:
    """Every DNS name and address that a certificate is for."""
    extension = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


def etcd_members(machine: Machine) -> set[str]:
    """Names of the members that are started, as the machine's own etcd lists them."""
    pki = "/etc/kubernetes/pki/etcd"
    client = [f"--cert={pki}/healthcheck-client.crt", f"--key={pki}/healthcheck-client.key"]
    options = ["--endpoints=https://127.0.0.1:2379", f"--cacert={pki}/ca.crt", *client]
    command = ["env", "ETCDCTL_API=3", "etcdctl", *options, "member", "list", "-w", "json"]
    members = json.loads(machine.execute(command).stdout)["members"]
    return {member["name"] for member in members if member.get("name")}


def assert_cluster_works(kubectl: Kubectl, *, timeout: float = 60) -> None:
    """A Deployment gets its Pod (controller manager) and it is bound to a Node (scheduler).

    The Node is fake, no kubelet is behind it, but everything that happens to it is real.
    """
    name = f"works-{secrets.token_hex(3)}"
    with fake_node(kubectl, name), deployment(kubectl, name):
        deadline = time.monotonic() + timeout
        while (bound := pods_nodes(kubectl, name)) != [name]:
            assert time.monotonic() < deadline, f"not bound to {name} in {timeout:g} s: {bound}"
            renew(kubectl, name)
            time.sleep(0.5)


def pods_nodes(kubectl: Kubectl, app: str) -> list[str | None]:
    """For each Pod of the app, the Node it is bound to."""
    pods = kubectl.json("get", "pods", f"--selector=app={app}")["items"]
    return [pod["spec"].get("nodeName") for pod in pods]


@contextmanager
def fake_node(kubectl: Kubectl, name: str) -> Iterator[None]:
    """A Node which says that it is ready, with the Lease that its kubelet would renew."""
    kubectl.create(_node(name))
    kubectl.create(_node_lease(name))
    try:
        yield
    finally:
        kubectl("delete", "node", name, "--wait=false")


@contextmanager
def deployment(kubectl: Kubectl, name: str) -> Iterator[None]:
    """A Deployment of one Pod for the Node of the same name."""
    kubectl.create(_deployment(name))
    try:
        yield
    finally:
        kubectl("delete", "deployment", name, "--wait=false")
        # No kubelet will ever say that it has stopped.
        kubectl("delete", "pods", f"--selector=app={name}", "--force", "--grace-period=0")


def renew(kubectl: Kubectl, node: str) -> None:
    """The heartbeat of a kubelet: without it the Node counts as lost after 40 s."""
    patch = json.dumps({"spec": {"renewTime": _now()}})
    kubectl("patch", "lease", node, "--namespace=kube-node-lease", "--type=merge", "-p", patch)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _node(name: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "says the test",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    resources = {"cpu": "1", "memory": "1Gi", "pods": "10"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
    }


def _node_lease(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now()},
    }


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": name},
                    "containers": [{"name": "nothing", "image": "registry.example/nothing"}],
                },
            },
        },
    }
