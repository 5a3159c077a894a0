"""Faults: what can be broken on purpose in a lab, and how each is healed.

Active faults are in the lab's faults.json, so that another command (or a machine that reboots)
knows of them. A fault is recorded before it is done and forgotten after it is undone: whatever
ends the command in between, healing knows of it.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from kubeha.errors import LabError, UsageError
from kubeha.lab import network
from kubeha.lab.faults import machine as of_machines
from kubeha.lab.faults import services, space, strangers, wiring
from kubeha.lab.faults.kind import Fault, MachineFault, SegmentFault
from kubeha.lab.faults.record import Active, active, in_force, save
from kubeha.lab.faults.settings import complete
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine

__all__ = ["FAULTS", "Active", "active", "heal", "inject", "restore"]

FAULTS: dict[str, Fault] = {
    **of_machines.FAULTS,
    **services.FAULTS,
    **wiring.FAULTS,
    **space.FAULTS,
    **strangers.FAULTS,
}


def inject(
    lab: Lab,
    name: str,
    machines: Sequence[Machine] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Break something; the same fault of the same machines is replaced.

    Raises UsageError for an unknown fault or setting, LabError when a machine is not in a state
    for it.
    """
    fault = _known(name)
    _require_targets(name, fault, machines)
    names = tuple(dict.fromkeys(machine.name for machine in machines))
    new = Active(name, names, time.time(), complete(lab, name, fault.settings, settings))
    others = [each for each in active(lab) if (each.fault, each.machines) != (name, names)]
    if isinstance(fault, SegmentFault):
        _inject_segment(lab, fault, new, others)
    else:
        _inject_machines(lab, fault, new, others)


def _known(name: str) -> Fault:
    if name not in FAULTS:
        raise UsageError(f"there is no fault '{name}'", hint=f"one of {', '.join(FAULTS)}")
    return FAULTS[name]


def _require_targets(name: str, fault: Fault, machines: Sequence[Machine]) -> None:
    if isinstance(fault, SegmentFault) and machines:
        raise UsageError(
            f"the fault '{name}' is one of the whole segment", hint="name no machine with it"
        )
    if isinstance(fault, MachineFault) and not machines:
        raise UsageError(f"the fault '{name}' of which machine?", hint="name one or more")
    if isinstance(fault, MachineFault) and len({each.name for each in machines}) < fault.least:
        raise UsageError(
            f"the fault '{name}' is one between machines", hint=f"name {fault.least} or more"
        )
    for machine in machines:
        machine.require_on()


def _inject_segment(lab: Lab, fault: SegmentFault, new: Active, others: Sequence[Active]) -> None:
    save(lab, [*others, new])
    try:
        fault.inject(lab, new.settings)
    except LabError:
        with suppress(LabError):
            fault.heal(lab)
            save(lab, others)
        raise
    save(lab, [*others, replace(new, since=time.time())])


def _inject_machines(lab: Lab, fault: MachineFault, new: Active, others: Sequence[Active]) -> None:
    """One machine after the other: if one cannot be broken, those before it are and stay so."""
    done: list[str] = []
    before = active(lab)
    save(lab, [*others, new])
    try:
        for each in new.machines:
            struck = fault.inject(lab, lab.machine(each), new.settings) or time.time()
            done.append(each)
            save(lab, [*others, replace(new, since=struck)])
    except LabError:
        save(lab, [*others, replace(new, machines=tuple(done))] if done else before)
        raise
    finally:
        _set_bridge(lab)


def heal(
    lab: Lab, machine: Machine | None = None, *, only: str | None = None
) -> tuple[Active, ...]:
    """Undo every fault (of one machine, of one kind); returns what was undone.

    A fault of several machines, like a partition, stays in force for the others. What is healed is
    marked first, so that a machine which boots meanwhile does not bring it back. Raises UsageError
    for an unknown fault.
    """
    if only is not None:
        _known(only)
    healed = []
    # The latest first: a frozen machine whose link is down thaws before it is plugged in.
    for each in reversed(active(lab)):
        mine = tuple(n for n in each.machines if machine is None or n == machine.name)
        if (machine is not None and not mine) or only not in (None, each.fault):
            continue
        others = [other for other in active(lab) if other != each]
        if left := tuple(name for name in each.machines if name not in mine):
            others.append(replace(each, machines=left))
        undone = replace(each, machines=mine)
        save(lab, [*others, replace(undone, healing=True)])
        _undo(lab, undone)
        save(lab, others)
        healed.append(undone)
    return tuple(healed)


def _undo(lab: Lab, undone: Active) -> None:
    fault = FAULTS[undone.fault]
    if isinstance(fault, SegmentFault):
        fault.heal(lab)
        return
    for name in undone.machines:
        fault.heal(lab, lab.machine(name))
    _set_bridge(lab)


def restore(lab: Lab, machine: Machine) -> None:
    """After a boot with a fresh network: what is in force for it is done once more."""
    for each in active(lab):
        fault = FAULTS[each.fault]
        again = isinstance(fault, MachineFault) and fault.of_the_network and not each.healing
        if again and machine.name in each.machines and isinstance(fault, MachineFault):
            fault.inject(lab, machine, each.settings)


def _set_bridge(lab: Lab) -> None:
    """Let the bridge drop what the record says, and nothing else."""
    losses = {
        name: int(each.settings["percent"])
        for each in in_force(lab, "loss")
        for name in each.machines
    }
    partitions = [each.machines for each in in_force(lab, "partition")]
    network.set_rules(lab, partitions, losses, list(wiring.cuts(lab)))
