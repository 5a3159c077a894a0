"""Switching machines on and off."""

import sys
import time

from kubeha.errors import LabError
from kubeha.lab import cgroup, detached, network
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine


def on(lab: Lab, machine: Machine) -> None:
    """Start the machine's supervisor, if the machine is off; does not wait for the boot."""
    if cgroup.pids(machine.group):
        return
    log = lab.logs.resolve() / f"{machine.name}.supervisor"
    # -P: what lies in the current directory must not shadow the standard library.
    supervisor = [sys.executable, "-P", "-m", "kubeha.lab.supervisor"]
    command = [*supervisor, str(lab.directory.resolve()), machine.name]
    detached.start(command, unit=machine.unit, group=machine.group / "supervisor", log=log)


def off(lab: Lab, machine: Machine) -> float | None:
    """Cut the power. The cable goes first: a dying kernel would still send FINs and ARP answers.

    Returns when it was pulled, in seconds since 1970; None if the machine was off already.
    """
    if not cgroup.pids(machine.group):
        return None
    network.set_link(lab, machine, up=False)
    struck = time.time()
    cgroup.kill(machine.running_group)
    wait_until_off(machine)
    return struck


def wait_until_off(machine: Machine, timeout: float = 30.0) -> None:
    """Wait (seconds) until the machine and its supervisor are gone."""
    deadline = time.monotonic() + timeout
    while left := cgroup.pids(machine.group):
        if time.monotonic() > deadline:
            raise LabError(f"still runs: processes {left}", node=machine.name)
        time.sleep(0.02)
