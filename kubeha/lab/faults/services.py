"""Faults of services: killed once, or stopped where they stand."""

from collections.abc import Callable

from kubeha.errors import LabError
from kubeha.lab.faults.kind import MachineFault
from kubeha.lab.faults.settings import Settings
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine

HAPROXY = "haproxy.service"
KEEPALIVED = "keepalived.service"
APISERVER = "kube-apiserver.service"
ETCD = "etcd.service"

Act = Callable[[Lab, Machine], None]


def _once(act: Act) -> Callable[[Lab, Machine, Settings], None]:
    """As an injection without settings."""

    def inject(lab: Lab, machine: Machine, _: Settings) -> None:
        act(lab, machine)

    return inject


def _kill(unit: str) -> Act:
    def kill(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        # Not by systemctl kill: systemd 257 would kill the unit's ExecStopPost as well.
        machine.execute(["kill", "-KILL", *map(str, _unit_pids(machine, unit))])

    return kill


def _start(unit: str) -> Act:
    def start(_: Lab, machine: Machine) -> None:
        if machine.leader() is None:
            return
        machine.execute(["systemctl", "reset-failed", unit], check=False)
        machine.execute(["systemctl", "start", unit])

    return start


def _signal_workers(signal: str) -> Act:
    """A signal to HAProxy's workers and not to their master, which systemd talks to."""

    def send(_: Lab, machine: Machine) -> None:
        main = _main_pid(machine, HAPROXY)
        workers = [pid for pid in _unit_pids(machine, HAPROXY) if pid != main]
        if not workers:
            raise LabError(f"{HAPROXY} has a master and no worker", node=machine.name)
        machine.execute(["kill", f"-{signal}", *map(str, workers)])

    return send


def _kill_parent(_: Lab, machine: Machine) -> None:
    machine.execute(["kill", "-KILL", str(_main_pid(machine, KEEPALIVED))])


def _kill_children(_: Lab, machine: Machine) -> None:
    machine.execute(
        ["pkill", "-KILL", "-P", str(_main_pid(machine, KEEPALIVED)), "-x", "keepalived"]
    )


def _stop(unit: str) -> Act:
    def stop(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        machine.execute(["systemctl", "stop", unit])

    return stop


def _signal_all(unit: str, signal: str) -> Act:
    def send(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        machine.execute(["systemctl", "kill", f"--signal={signal}", unit])

    return send


def _if_running(unit: str, act: Act) -> Act:
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
    "kill-haproxy": MachineFault("SIGKILL HAProxy, once", _once(_kill(HAPROXY)), _start(HAPROXY)),
    "kill-keepalived": MachineFault(
        "SIGKILL keepalived, once", _once(_kill(KEEPALIVED)), _start(KEEPALIVED)
    ),
    "kill-keepalived-parent": MachineFault(
        "SIGKILL keepalived's main process, once", _once(_kill_parent), _start(KEEPALIVED)
    ),
    "kill-keepalived-child": MachineFault(
        "SIGKILL the child of keepalived that speaks VRRP, once",
        _once(_kill_children),
        _start(KEEPALIVED),
    ),
    "stop-keepalived": MachineFault(
        "stop keepalived as an administrator would", _once(_stop(KEEPALIVED)), _start(KEEPALIVED)
    ),
    "hang-keepalived": MachineFault(
        "stop keepalived's processes where they stand: the VIP stays",
        _once(_signal_all(KEEPALIVED, "SIGSTOP")),
        _if_running(KEEPALIVED, _signal_all(KEEPALIVED, "SIGCONT")),
    ),
    "stop-haproxy": MachineFault(
        "stop HAProxy as an administrator would", _once(_stop(HAPROXY)), _start(HAPROXY)
    ),
    "kill-apiserver": MachineFault(
        "SIGKILL kube-apiserver, once", _once(_kill(APISERVER)), _start(APISERVER)
    ),
    "hang-haproxy": MachineFault(
        "stop HAProxy's workers: connections are accepted, never answered",
        _once(_signal_workers("STOP")),
        _if_running(HAPROXY, _signal_workers("CONT")),
    ),
    "hang-apiserver": MachineFault(
        "stop kube-apiserver where it stands",
        _once(_signal_all(APISERVER, "SIGSTOP")),
        _if_running(APISERVER, _signal_all(APISERVER, "SIGCONT")),
    ),
    # Each API server asks the etcd of its own machine alone, waits for 2 s, and says 500.
    "fail-readyz": MachineFault(
        "the API server's etcd stalls: it answers 500 on /readyz, and runs on",
        _once(_signal_all(ETCD, "SIGSTOP")),
        _if_running(ETCD, _signal_all(ETCD, "SIGCONT")),
    ),
}
