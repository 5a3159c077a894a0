"""Kubernetes for a whole lab: programs, certificates, and a control plane on every machine."""

import time

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
from kubeha.lab.releases import Progress

__all__ = [
    "Binaries",
    "bring_up",
    "obtain",
    "start_control_plane",
    "stop_control_plane",
    "wait_ready",
]


def bring_up(lab: Lab, source: str | Binaries, progress: Progress) -> Binaries:
    """A control plane on every machine of the lab, and kubectl on its clients.

    `source` is 'auto', a version, a directory, or programs that were obtained before. Grows like
    kubeadm: the first machine makes the cluster, the others join one after the other; API servers
    come up meanwhile. Returns when every API server is ready. Raises LabError, UsageError.
    """
    binaries = source if isinstance(source, Binaries) else obtain(source, progress)
    for machine in lab.control_plane:
        start_control_plane(lab, machine, binaries, progress)
    for machine in lab.clients:
        equip_client(lab, machine, binaries)
    write_operator_kubeconfig(lab)
    deadline = time.monotonic() + READY_TIMEOUT
    for machine in lab.control_plane:
        progress(f"{machine.name}: waiting for kube-apiserver to be ready")
        wait_ready(machine, deadline)
    return binaries
