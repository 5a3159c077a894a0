"""Faults: what can be broken on purpose in a lab, and how each is healed.

Active faults are in the lab's faults.json, so that another command (or a machine that reboots)
knows of them. Each fault has two functions, `inject` and `heal`, over the lab and its machines;
both may be repeated.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubeha.errors import LabError, UsageError
from kubeha.lab import cgroup, network, power
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine

HAPROXY = "haproxy.service"
KEEPALIVED = "keepalived.service"
APISERVER = "kube-apiserver.service"


@dataclass(frozen=True)
class Active:
    """A fault that was injected and not healed.

    `since`: when it had struck (the last machine, if there are several), in seconds since 1970.
    """

    fault: str
    machines: tuple[str, ...]
    since: float


@dataclass(frozen=True)
class Fault:
    """What it does in one sentence, and the two functions that do and undo it on one machine.

    `inject` returns when it had struck if that was before its end, in seconds since 1970.
    """

    summary: str
    inject: Callable[[Lab, Machine], float | None]
    heal: Callable[[Lab, Machine], None]


def active(lab: Lab) -> tuple[Active, ...]:
    """The faults that are in force, oldest first."""
    try:
        data = json.loads((lab.directory / "faults.json").read_text())
    except FileNotFoundError:
        return ()
    return tuple(Active(each["fault"], tuple(each["machines"]), each["since"]) for each in data)


def inject(lab: Lab, name: str, machines: Sequence[Machine]) -> None:
    """Break something. Recorded before it is done, so that heal knows of it in any case.

    Raises UsageError for an unknown fault, LabError when a machine is not in a state for it.
    """
    fault = FAULTS.get(name)
    if fault is None:
        raise UsageError(f"there is no fault '{name}'", hint=f"one of {', '.join(FAULTS)}")
    for machine in machines:
        machine.require_on()
    names = tuple(dict.fromkeys(machine.name for machine in machines))
    others = [each for each in active(lab) if (each.fault, each.machines) != (name, names)]
    done: list[str] = []
    _save(lab, [*others, Active(name, names, time.time())])
    try:
        for each in names:
            struck = fault.inject(lab, lab.machine(each)) or time.time()
            done.append(each)
            _save(lab, [*others, Active(name, names, struck)])
    except LabError:
        _save(lab, [*others, Active(name, tuple(done), time.time())] if done else others)
        raise


def heal(
    lab: Lab, machine: Machine | None = None, *, only: str | None = None
) -> tuple[Active, ...]:
    """Undo every fault (of one machine, of one kind); returns what was undone.

    A fault of several machines, like a partition, stays in force for the others.
    """
    healed = []
    # The latest first: a frozen machine whose link is down thaws before it is plugged in.
    for each in reversed(active(lab)):
        mine = tuple(n for n in each.machines if machine is None or n == machine.name)
        if not mine or only not in (None, each.fault):
            continue
        left = tuple(n for n in each.machines if n not in mine)
        remaining = [other for other in active(lab) if other != each]
        _save(lab, [*remaining, Active(each.fault, left, each.since)] if left else remaining)
        try:
            for name in mine:
                FAULTS[each.fault].heal(lab, lab.machine(name))
        except BaseException:
            _save(lab, [*remaining, each])
            raise
        healed.append(Active(each.fault, mine, each.since))
    return tuple(healed)


def restore_link(lab: Lab, machine: Machine) -> None:
    """After a boot with a fresh network: unplug the cable again if it was unplugged."""
    if any(each.fault == "link-down" and machine.name in each.machines for each in active(lab)):
        network.set_link(lab, machine, up=False)


def _save(lab: Lab, faults: Sequence[Active]) -> None:
    data = [{"fault": f.fault, "machines": f.machines, "since": f.since} for f in faults]
    unfinished = lab.directory / ".faults.json"
    unfinished.write_text(json.dumps(data, indent=2) + "\n")
    unfinished.rename(lab.directory / "faults.json")


def _freeze(lab: Lab, machine: Machine) -> float:
    # The kernel of a stopped machine would still answer ARP and TCP: the cable goes, too.
    network.set_link(lab, machine, up=False)
    struck = time.time()
    cgroup.freeze(machine.running_group, True)
    return struck


def _thaw(lab: Lab, machine: Machine) -> None:
    if cgroup.pids(machine.running_group):
        cgroup.freeze(machine.running_group, False)
        _plug_in(lab, machine)


def _unplug(lab: Lab, machine: Machine) -> None:
    network.set_link(lab, machine, up=False)


def _plug_in(lab: Lab, machine: Machine) -> None:
    if cgroup.pids(machine.running_group):
        network.set_link(lab, machine, up=True)


def _partition(lab: Lab, _: Machine) -> None:
    """Let the bridge cut what is recorded; the same for injecting and healing."""
    groups = [each.machines for each in active(lab) if each.fault == "partition"]
    network.set_partitions(lab, groups)


def _kill(unit: str) -> Callable[[Lab, Machine], None]:
    def kill(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        # Not by systemctl kill: systemd 257 would kill the unit's ExecStopPost as well.
        machine.execute(["kill", "-KILL", *map(str, _unit_pids(machine, unit))])

    return kill


def _start(unit: str) -> Callable[[Lab, Machine], None]:
    def start(_: Lab, machine: Machine) -> None:
        if machine.leader() is None:
            return
        machine.execute(["systemctl", "reset-failed", unit], check=False)
        machine.execute(["systemctl", "start", unit])

    return start


def _signal_workers(signal: str) -> Callable[[Lab, Machine], None]:
    """A signal to HAProxy's workers and not to their master, which systemd talks to."""

    def send(_: Lab, machine: Machine) -> None:
        main = _main_pid(machine, HAPROXY)
        workers = [pid for pid in _unit_pids(machine, HAPROXY) if pid != main]
        if not workers:
            raise LabError(f"{HAPROXY} has a master and no worker", node=machine.name)
        machine.execute(["kill", f"-{signal}", *map(str, workers)])

    return send


def _signal_all(unit: str, signal: str) -> Callable[[Lab, Machine], None]:
    def send(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        machine.execute(["systemctl", "kill", f"--signal={signal}", unit])

    return send


def _if_running(unit: str, act: Callable[[Lab, Machine], None]) -> Callable[[Lab, Machine], None]:
    """Healing a hung process that is gone by now needs nothing."""

    def guarded(lab: Lab, machine: Machine) -> None:
        if machine.leader() is not None and _unit_pids(machine, unit):
            act(lab, machine)

    return guarded


def _main_pid(machine: Machine, unit: str) -> int:
    """The unit's main process, inside; raises LabError when it is not running."""
    shown = machine.execute(["systemctl", "show", "--property=MainPID", "--value", unit])
    pid = int(shown.stdout.strip() or 0)
    if not pid:
        raise LabError(
            f"{unit} does not run",
            hint=f"kubeha lab exec {machine.name} -- systemctl status {unit}",
            node=machine.name,
        )
    return pid


def _unit_pids(machine: Machine, unit: str) -> list[int]:
    """Every process of the unit, as numbered inside."""
    group = machine.execute(["systemctl", "show", "--property=ControlGroup", "--value", unit])
    if not (path := group.stdout.strip()):
        return []
    listed = machine.execute(["cat", f"/sys/fs/cgroup{path}/cgroup.procs"], check=False)
    return [int(word) for word in listed.stdout.split()]


FAULTS = {
    "power-off": Fault("cut the power, without a last packet", power.off, power.on),
    "freeze": Fault("stop every process where it stands, and the network", _freeze, _thaw),
    "link-down": Fault("pull the network cable", _unplug, _plug_in),
    "partition": Fault("cut the machines named off from all others", _partition, _partition),
    "kill-haproxy": Fault("SIGKILL HAProxy, once", _kill(HAPROXY), _start(HAPROXY)),
    "kill-keepalived": Fault("SIGKILL keepalived, once", _kill(KEEPALIVED), _start(KEEPALIVED)),
    "kill-apiserver": Fault("SIGKILL kube-apiserver, once", _kill(APISERVER), _start(APISERVER)),
    "hang-haproxy": Fault(
        "stop HAProxy's workers: connections are accepted, never answered",
        _signal_workers("STOP"),
        _if_running(HAPROXY, _signal_workers("CONT")),
    ),
    "hang-apiserver": Fault(
        "stop kube-apiserver where it stands",
        _signal_all(APISERVER, "SIGSTOP"),
        _if_running(APISERVER, _signal_all(APISERVER, "SIGCONT")),
    ),
}
