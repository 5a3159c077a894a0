"""Faults of services: killed once, stopped, or halted where they stand.

Signals are sent from this box, to the processes as it sees them: they strike at once, however busy
the machine is, and when they strike is known.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab import cgroup
from kubeha.lab.faults.kind import MachineFault
from kubeha.lab.faults.settings import Settings
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine

HAPROXY = "haproxy.service"
KEEPALIVED = "keepalived.service"
APISERVER = "kube-apiserver.service"
ETCD = "etcd.service"

# Which of a unit's processes: the main one is first.
Choice = Callable[[list[int]], list[int]]
Heal = Callable[[Lab, Machine], None]
Inject = Callable[[Lab, Machine, Settings], float]


def _all(pids: list[int]) -> list[int]:
    return pids


def _main(pids: list[int]) -> list[int]:
    return pids[:1]


def _workers(pids: list[int]) -> list[int]:
    """Those which do the work, and not their master, which systemd talks to."""
    return pids[1:]


def _signal(unit: str, number: signal.Signals, choice: Choice = _all) -> Inject:
    def send(_: Lab, machine: Machine, __: Settings) -> float:
        pids = choice(_running(machine, unit))
        if not pids:
            raise LabError(f"{unit} has a master and no worker", node=machine.name)
        struck = time.time()
        _send(pids, number)
        return _when_dead(machine, pids) if number == signal.SIGKILL else struck

    return send


def _kill(unit: str, choice: Choice = _all) -> Inject:
    # Not by systemctl kill: systemd 257 would kill the unit's ExecStopPost as well.
    return _signal(unit, signal.SIGKILL, choice)


def _go_on(unit: str, choice: Choice = _all) -> Heal:
    """A process that is gone by now needs nothing."""

    def go_on(_: Lab, machine: Machine) -> None:
        if machine.leader() is not None:
            _send(choice(_pids(machine, unit)), signal.SIGCONT)

    return go_on


def _stop(unit: str) -> Inject:
    def stop(_: Lab, machine: Machine, __: Settings) -> float:
        _running(machine, unit)
        struck = time.time()
        machine.execute(["systemctl", "stop", unit])
        return struck

    return stop


def _start(unit: str) -> Heal:
    def start(_: Lab, machine: Machine) -> None:
        if machine.leader() is None:
            return
        machine.execute(["systemctl", "reset-failed", unit], check=False)
        machine.execute(["systemctl", "start", unit])

    return start


def _running(machine: Machine, unit: str) -> list[int]:
    """The unit's processes on this box; raises LabError when there is none."""
    if not (pids := _pids(machine, unit)):
        raise LabError(
            f"{unit} does not run",
            hint=f"kubeha lab exec {machine.name} -- systemctl status {unit}",
            node=machine.name,
        )
    return pids


def _pids(machine: Machine, unit: str) -> list[int]:
    """The unit's processes as this box numbers them, its main one first; none if it is off."""
    show = ["systemctl", "show", "--property=MainPID,ControlGroup", unit]
    lines = machine.execute(show).stdout.splitlines()
    shown = dict(line.split("=", 1) for line in lines)
    if shown["MainPID"] == "0":
        return []
    pids = cgroup.pids(_groups_of(machine) / shown["ControlGroup"].lstrip("/"))
    return sorted(pids, key=lambda pid: _number_inside(pid) != shown["MainPID"])


def _groups_of(machine: Machine) -> Path:
    """Where the top of the machine's own tree of control groups is on this box."""
    lines = Path(f"/proc/{machine.require_on()}/cgroup").read_text().splitlines()
    own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::"))
    return cgroup.mount_point() / own.removesuffix("/init.scope")


def _number_inside(pid: int) -> str:
    """What a process is called inside its machine (proc(5), NSpid); '' when it is gone."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))
    return ""


def _when_dead(machine: Machine, pids: Iterable[int], timeout: float = 10.0) -> float:
    """When the last of them had died: until then the kernel accepts connections for it."""
    deadline = time.monotonic() + timeout
    for pid in pids:
        while _lives(pid):
            if time.monotonic() > deadline:
                raise LabError(f"process {pid} of this box does not die", node=machine.name)
            time.sleep(0.001)
    return time.time()


def _lives(pid: int) -> bool:
    """Not when all of its threads have ended and only its parent has yet to ask how (state Z)."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    return False


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


FAULTS = {
    "kill-haproxy": MachineFault("SIGKILL HAProxy, once", _kill(HAPROXY), _start(HAPROXY)),
    "stop-haproxy": MachineFault(
        "stop HAProxy as an administrator would", _stop(HAPROXY), _start(HAPROXY)
    ),
    "hang-haproxy": MachineFault(
        "stop HAProxy's workers: connections are accepted, never answered",
        _signal(HAPROXY, signal.SIGSTOP, _workers),
        _go_on(HAPROXY, _workers),
    ),
    "kill-keepalived": MachineFault(
        "SIGKILL keepalived, once", _kill(KEEPALIVED), _start(KEEPALIVED)
    ),
    "kill-keepalived-parent": MachineFault(
        "SIGKILL keepalived's main process, once", _kill(KEEPALIVED, _main), _start(KEEPALIVED)
    ),
    "kill-keepalived-child": MachineFault(
        "SIGKILL the child of keepalived that speaks VRRP, once",
        _kill(KEEPALIVED, _workers),
        _start(KEEPALIVED),
    ),
    "stop-keepalived": MachineFault(
        "stop keepalived as an administrator would", _stop(KEEPALIVED), _start(KEEPALIVED)
    ),
    "hang-keepalived": MachineFault(
        "stop keepalived's processes where they stand: the VIP stays",
        _signal(KEEPALIVED, signal.SIGSTOP),
        _go_on(KEEPALIVED),
    ),
    "kill-apiserver": MachineFault(
        "SIGKILL kube-apiserver, once", _kill(APISERVER), _start(APISERVER)
    ),
    "hang-apiserver": MachineFault(
        "stop kube-apiserver where it stands",
        _signal(APISERVER, signal.SIGSTOP),
        _go_on(APISERVER),
    ),
    # Each API server asks the etcd of its own machine alone, waits for 2 s, and says 500.
    "fail-readyz": MachineFault(
        "the API server's etcd stalls: it answers 500 on /readyz, and runs on",
        _signal(ETCD, signal.SIGSTOP),
        _go_on(ETCD),
    ),
}
