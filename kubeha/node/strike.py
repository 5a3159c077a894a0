"""Break something on purpose, after making sure that it heals by itself.

Rules. First a transient timer of systemd is started that will undo the fault; only when it runs is
anything done. It has a name of its own, so that nobody stops another's; as long as one of another
strike is there, nothing is done. Whom to signal is found before the clock is read, so that the time
told is that of the blow.
"""

import os
import signal
import time
from typing import Any, Dict, List, Optional

from kubeha.node.process import execute
from kubeha.node.wire import Refused, Wire

_TIMEOUT = 20.0
_TELLINGS = 6
_DEATH = 1.0


def strike(
    wire: Wire,
    prefix: str,
    unit: str,
    heal: Optional[List[str]],
    after: float,
    blows: List[Dict[str, Any]],
) -> Dict[str, Any]:
    """Start the timer `unit` that runs `heal` in `after` seconds, then carry out the blows.

    Refused while another unit runs whose name begins with `prefix`.
    A blow is {"run": argv, "input": text or None}, {"signal": NAME, "unit": a service,
    "whom": "all", "main" or "workers"}, {"signal": NAME, "program": name}, or
    {"sysrq": letter, "file": where it is written}.
    Returns the monotonic clock at the first blow, and when those who were killed were dead.
    """
    if heal is not None:
        _arm(unit, heal, after)
        # Only now: of two that come at once, none would have seen the other one before.
        other = _another(prefix, unit)
        if other:
            execute(["systemctl", "stop", unit + ".timer"], _TIMEOUT)
            raise Refused("busy", other)
    targets = [_targets(blow) for blow in blows]
    _tell_time(wire)
    if wire.gone.is_set():
        # Who asked may be healing by now.
        raise Refused("strike", "nobody waits for the blow any more")
    struck = time.monotonic()
    wire.event("struck", clock=struck)
    for number, blow in enumerate(blows):
        _deal(blow, targets[number])
    killed = [
        pid
        for number, blow in enumerate(blows)
        for pid in targets[number]
        if blow.get("signal") == "KILL"
    ]
    return {"struck": struck, "fell": _await_death(killed) if killed else struck}


def _tell_time(wire: Wire) -> None:
    """Of several messages the quickest tells well what our clock is on the operator's."""
    for _ in range(_TELLINGS):
        wire.event("clock", clock=time.monotonic())
        time.sleep(0.02)


def _another(prefix: str, unit: str) -> str:
    """Why we may not: the timer of another strike, or what it starts, runs (or nobody knows)."""
    argv = ["systemctl", "list-units", "--plain", "--no-legend", "--full"]
    argv += ["--state=active,activating,deactivating", prefix + "*"]
    done = execute(argv, _TIMEOUT)
    if done["status"] != 0:
        said = (done["stderr"].strip() or done["error"] or "no reason given")[-300:]
        return "whether another drill is under way cannot be told: %s" % said
    names = [line.split()[0] for line in done["stdout"].splitlines()]
    others = [name for name in names if name.rpartition(".")[0] != unit]
    return "another drill is under way here: %s runs" % others[0] if others else ""


def _arm(unit: str, heal: List[str], after: float) -> None:
    """Start the timer. Without --collect a heal that fails would keep the name for ever."""
    # Without AccuracySec it may come a minute late.
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + unit, "--on-active=%ds" % after]
    argv += ["--timer-property=AccuracySec=100ms", "--property=TimeoutStartSec=60", "--"]
    done = execute(argv + heal, _TIMEOUT)
    if done["status"] == 0:
        return
    said = (done["stderr"].strip() or done["error"] or "no reason given")[-300:]
    raise Refused("strike", "the timer that heals cannot be started: %s" % said)


def _targets(blow: Dict[str, Any]) -> List[int]:
    """Processes to signal; Refused where there are none."""
    if "sysrq" in blow:
        _require_sysrq(blow["file"])
    if "signal" not in blow:
        return []
    pids = _of_unit(blow["unit"], blow["whom"]) if "unit" in blow else _of_program(blow["program"])
    if not pids:
        what = blow.get("unit") or blow["program"]
        raise Refused("strike", "%s: no process of it runs" % what)
    return pids


def _require_sysrq(trigger: str) -> None:
    """systemd-detect-virt prints `none` and fails where there is no container."""
    if execute(["systemd-detect-virt", "--container"], _TIMEOUT)["status"] != 1:
        raise Refused("strike", "this is a container: its kernel is not its own")
    if not os.access(trigger, os.W_OK):
        raise Refused("strike", "the kernel cannot be told to crash: no %s to write to" % trigger)


def _of_unit(unit: str, whom: str) -> List[int]:
    shown = execute(["systemctl", "show", "--property=MainPID,ControlGroup", unit], _TIMEOUT)
    values = dict(line.split("=", 1) for line in shown["stdout"].splitlines() if "=" in line)
    main = int(values.get("MainPID") or 0)
    if whom == "main":
        return [main] if main else []
    pids = _of_group(values.get("ControlGroup") or "")
    return [pid for pid in pids if whom == "all" or pid != main]


def _of_group(group: str) -> List[int]:
    """Every process of a control group, in the unified hierarchy or in systemd's own."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        try:
            with open("%s%s/cgroup.procs" % (root, group)) as file:
                return [int(word) for word in file.read().split()] if group else []
        except OSError:
            continue
    return []


def _of_program(name: str) -> List[int]:
    """Processes of that name in this machine's own namespace, containers' among them."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/comm" % entry) as file:
                    if file.read().strip() == name[:15]:
                        found.append(int(entry))
            except OSError:
                continue
    return found


def _await_death(pids: List[int]) -> float:
    """A big process that is killed on a busy machine closes its sockets some time later."""
    end = time.monotonic() + _DEATH
    while any(_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.001)
    return time.monotonic()


def _alive(pid: int) -> bool:
    """A zombie has closed all that it had, once each of its threads is one."""
    try:
        return any(_runs(pid, thread) for thread in os.listdir("/proc/%d/task" % pid))
    except OSError:
        return False


def _runs(pid: int, thread: str) -> bool:
    try:
        with open("/proc/%d/task/%s/stat" % (pid, thread)) as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _deal(blow: Dict[str, Any], pids: List[int]) -> None:
    if "sysrq" in blow:
        with open(blow["file"], "w") as file:
            file.write(blow["sysrq"])
        return
    for pid in pids:
        try:
            os.kill(pid, getattr(signal, "SIG" + blow["signal"]))
        except ProcessLookupError:
            continue
    if "run" in blow:
        done = execute(blow["run"], _TIMEOUT, input=blow.get("input"))
        if done["status"] != 0:
            said = done["stderr"].strip() or done["error"] or "exit status %s" % done["status"]
            raise Refused("strike", "%s: %s" % (" ".join(blow["run"][:3]), said[-300:]))
