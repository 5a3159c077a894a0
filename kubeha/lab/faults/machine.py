"""Faults of a whole machine and its cable."""

import time

from kubeha.lab import cgroup, network, power
from kubeha.lab.faults.kind import MachineFault, nothing
from kubeha.lab.faults.settings import Settings
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine


def _switch_off(lab: Lab, machine: Machine, _: Settings) -> float | None:
    return power.off(lab, machine)


def _freeze(lab: Lab, machine: Machine, _: Settings) -> float:
    # The kernel of a stopped machine would still answer ARP and TCP: the cable goes, too.
    network.set_link(lab, machine, up=False)
    struck = time.time()
    cgroup.freeze(machine.running_group, True)
    return struck


def _thaw(lab: Lab, machine: Machine) -> None:
    if cgroup.pids(machine.running_group):
        cgroup.freeze(machine.running_group, False)
        _plug_in(lab, machine)


def _unplug(lab: Lab, machine: Machine, _: Settings) -> None:
    network.set_link(lab, machine, up=False)


def _plug_in(lab: Lab, machine: Machine) -> None:
    if cgroup.pids(machine.running_group):
        network.set_link(lab, machine, up=True)


FAULTS = {
    "power-off": MachineFault("cut the power, without a last packet", _switch_off, power.on),
    "freeze": MachineFault("stop every process where it stands, and the network", _freeze, _thaw),
    "link-down": MachineFault("pull the network cable", _unplug, _plug_in, of_the_network=True),
    "partition": MachineFault("cut the machines named off from all others", nothing, nothing),
}
