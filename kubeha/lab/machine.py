"""One machine of a lab: a systemd in its own namespaces, on an overlay over the shared image.

A machine is a value (names and places); what it is doing is asked of the kernel each time. It is
started by a supervisor of its own (`supervisor`), which boots it again when it reboots.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab import cgroup
from kubeha.lab.process import run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Joining the machine's group first means that what is executed in it freezes and dies with it.
_JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True)
class Machine:
    """`store` is this machine's own directory outside the lab's: its overlay lives there."""

    name: str
    address: str
    address6: str
    lab_id: str
    store: Path

    @property
    def root(self) -> Path:
        """The merged root file system as this box sees it, also while the machine is off."""
        return self.store / "root"

    @property
    def namespace(self) -> str:
        """Name of its network namespace."""
        return f"kubeha-{self.lab_id}-{self.name}"

    @property
    def unit(self) -> str:
        """Name of its unit where systemd runs this box."""
        return f"kubeha-{self.lab_id}-{self.name}.service"

    @property
    def group(self) -> Path:
        """Control group of the machine and its supervisor."""
        top = cgroup.mount_point()
        if cgroup.systemd_runs_here():
            return top / "system.slice" / self.unit
        return top / f"kubeha-{self.lab_id}" / self.name

    @property
    def running_group(self) -> Path:
        """Control group of the running machine alone: frozen or killed as a whole."""
        return self.group / "machine"

    def leader(self) -> int | None:
        """Process id, here, of the machine's PID 1; None when the machine is off."""
        for pid in cgroup.pids(self.running_group):
            with suppress(OSError):
                if _is_init(pid):
                    return pid
        return None

    def require_on(self) -> int:
        """Process id, here, of the machine's PID 1; raises LabError when the machine is off."""
        if (leader := self.leader()) is None:
            raise LabError("is powered off", hint=f"kubeha lab boot {self.name}", node=self.name)
        return leader

    def execute(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root inside the machine, past its network (like a console).

        Raises LabError when the machine is off, after `timeout` seconds, and (with `check`) when
        the program fails.
        """
        try:
            return run(self.enter(argv), input=input, timeout=timeout, check=check)
        except LabError as error:
            raise LabError(error.message, hint=error.hint, node=self.name) from error

    def enter(self, argv: Sequence[str], *, terminal: str = "") -> list[str]:
        """The command, for this box, that runs `argv` inside the machine."""
        leader = self.require_on()
        if cgroup.is_frozen(self.running_group):
            raise LabError("is frozen", hint=f"kubeha lab heal {self.name}", node=self.name)
        group = self.running_group / "exec"
        cgroup.create(group)
        environment = [f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8"]
        if terminal:
            environment.append(f"TERM={terminal}")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        # Whoever kills the nsenter here means the program inside.
        inside = ["setpriv", "--pdeathsig", "KILL", "env", "-i", *environment, *argv]
        return ["sh", "-c", _JOIN, str(group), "nsenter", f"--target={leader}", *spaces, *inside]

    def state(self) -> str:
        """What its systemd says of itself (running, degraded, starting, ...), 'off' or 'frozen'."""
        if self.leader() is None:
            return "off"
        if cgroup.is_frozen(self.running_group):
            return "frozen"
        try:
            done = self.execute(["systemctl", "is-system-running"], timeout=5, check=False)
        except LabError as error:
            return "off" if self.leader() is None else f"unknown: {error.message}"
        return done.stdout.strip() or done.stderr.strip()

    def wait_until_up(self, timeout: float = 60.0) -> str:
        """Wait until systemd has started everything; returns 'running' or 'degraded'.

        Raises LabError with the last state seen after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (state := self.state()) not in ("running", "degraded"):
            if time.monotonic() > deadline:
                raise LabError(
                    f"has not booted after {timeout:g} s; the last state seen was '{state}'",
                    hint=f"read the console in the lab's logs/{self.name}.console",
                    node=self.name,
                )
            time.sleep(0.1)
        return state

    def failed_units(self) -> list[str]:
        """Names of the units that failed."""
        done = self.execute(["systemctl", "--failed", "--plain", "--no-legend"], check=False)
        return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


def _is_init(pid: int) -> bool:
    """Whether the process is PID 1 of a namespace below this one (proc(5), NSpid), and systemd.

    Before it is systemd it is still systemd-nspawn and may see this box's root file system.
    """
    if not os.readlink(f"/proc/{pid}/exe").endswith("/systemd/systemd"):
        return False
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"
