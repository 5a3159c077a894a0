"""Kubernetes for a whole lab: programs, certificates, and a control plane on every machine."""

import time
from collections.abc import Sequence

from kubeha.errors import UsageError
from kubeha.lab.binaries import Binaries, obtain
from kubeha.lab.control_plane import (
    READY_TIMEOUT,
    equip_client,
    start_control_plane,
    stop_control_plane,
    wait_ready,
    write_operator_kubeconfig,
)
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine
from kubeha.lab.releases import Progress

__all__ = [
    "Binaries",
    "bring_up",
    "obtain",
    "start_control_plane",
    "stop_control_plane",
    "wait_ready",
]


def bring_up(
    lab: Lab,
    source: str | Binaries,
    progress: Progress,
    machines: Sequence[Machine] | None = None,
) -> Binaries:
    """A control plane on these machines of the lab (all, if None), and kubectl on its clients.

    `source` is 'auto', a version, a directory, or programs that were obtained before. Grows like
    kubeadm: the first machine makes the cluster, the others join one after the other; API servers
    come up meanwhile. Returns when every API server is ready. Harmless when repeated, and goes on
    where it was interrupted. Raises LabError, UsageError.
    """
    chosen = lab.control_plane if machines is None else machines
    _require_nodes(lab, chosen)
    binaries = source if isinstance(source, Binaries) else obtain(source, progress)
    for machine in chosen:
        start_control_plane(lab, machine, binaries, progress)
    for machine in lab.clients:
        equip_client(lab, machine, binaries)
    write_operator_kubeconfig(lab)
    deadline = time.monotonic() + READY_TIMEOUT
    for machine in chosen:
        progress(f"{machine.name}: waiting for kube-apiserver to be ready")
        wait_ready(machine, deadline)
    return binaries


def _require_nodes(lab: Lab, machines: Sequence[Machine]) -> None:
    """Before anything is touched: clients have no control plane, and all must be on."""
    for machine in machines:
        if machine not in lab.control_plane:
            names = ", ".join(node.name for node in lab.control_plane)
            raise UsageError(
                f"{machine.name} is a client node", hint=f"the control plane nodes are {names}"
            )
        machine.require_on()
