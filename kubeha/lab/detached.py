"""Programs of a lab that outlive the command which started them, each in its own control group.

Where systemd runs this box, the group is that of a transient unit; else it is made here.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from kubeha.lab import cgroup
from kubeha.lab.lab import CACHE_VARIABLE, cache_directory
from kubeha.lab.process import run

# In the group before anything is started, so that whoever empties the group misses nothing; then
# a session of its own, so that Ctrl-C in the terminal which started it is none of its business.
DETACHED = (
    'echo $$ > "$0/cgroup.procs" && log=$1 && shift &&'
    ' exec setsid --fork "$@" >>"$log" 2>&1 </dev/null'
)


def start(command: Sequence[str], *, unit: str, group: Path, log: Path) -> None:
    """Start the command with its output in `log`; returns as soon as it has been started.

    `unit`: its unit's name, used where systemd runs this box, and `group` its control group, used
    elsewhere.
    """
    if cgroup.systemd_runs_here():
        shell = f"exec {shlex.join(command)} >>{shlex.quote(str(log))} 2>&1"
        options = [f"--unit={unit}", "--collect", "--property=Delegate=yes", "--quiet"]
        # A unit has systemd's environment, not ours.
        options.append(f"--setenv={CACHE_VARIABLE}={cache_directory()}")
        run(["systemd-run", *options, "sh", "-c", shell])
        return
    cgroup.create(group)
    run(["sh", "-c", DETACHED, str(group), str(log), *command])
