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

Act = Callable[[Lab, Machine], None]

# A kill has struck when they are dead: until then the kernel accepts connections for them.
_UNTIL_DEAD = 'kill -KILL "$@"; for pid; do while kill -0 "$pid"; do sleep 0.01; done; done; true'


def _once(act: Act) -> Callable[[Lab, Machine, Settings], None]:
    """As an injection without settings."""

    def inject(lab: Lab, machine: Machine, _: Settings) -> None:
        act(lab, machine)

    return inject


def _kill(unit: str) -> Act:
    def kill(_: Lab, machine: Machine) -> None:
        _main_pid(machine, unit)
        # Not by systemctl kill: systemd 257 would kill the unit's ExecStopPost as well.
        pids = map(str, _unit_pids(machine, unit))
        machine.execute(["timeout", "10", "sh", "-c", _UNTIL_DEAD, "sh", *pids])

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
}
