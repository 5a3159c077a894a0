"""Keeps one machine running: `python -m kubeha.lab.supervisor LAB-DIRECTORY MACHINE`.

A process of its own per machine, in the machine's control group, that outlives the command which
started it. It gives the machine a fresh network, runs it, and boots it again when it has rebooted
(systemd-nspawn ends with status 133 then). When the machine is switched off, it goes too.
"""

import os
import subprocess
import sys
from pathlib import Path

from kubeha.lab import cgroup, faults, network
from kubeha.lab.binaries import SHARED_PROGRAMS, programs_directory
from kubeha.lab.lab import Lab, load
from kubeha.lab.machine import Machine

REBOOT = 133
# For VRRP: addresses and raw packets, real-time scheduling, locked memory.
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE,CAP_IPC_LOCK"
# What systemd gives itself where it may (bump_rlimit_nofile); inside it may not, and this box's
# own limit can be far lower.
OPEN_FILES = "1024:1048576"
_ENVIRONMENT = {
    # Otherwise /proc/sys/net is read-only inside, and every sysctl there silently fails.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    # Without it, a systemd as new as Debian 13's does not boot where this box uses cgroup v1.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}


def nspawn(machine: Machine) -> list[str]:
    """The command that boots a machine and ends with it."""
    programs_directory().mkdir(parents=True, exist_ok=True)
    return [
        "systemd-nspawn",
        "--boot",
        "--quiet",
        f"--directory={machine.root}",
        f"--machine={machine.name}-{machine.lab_id}",
        f"--hostname={machine.name}",
        f"--network-namespace-path={network.NETNS / machine.namespace}",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        f"--capability={CAPABILITIES}",
        f"--rlimit=RLIMIT_NOFILE={OPEN_FILES}",
        # Every machine sees the one copy of the Kubernetes servers, which the box then has in
        # memory only once.
        f"--bind-ro={programs_directory()}:{SHARED_PROGRAMS}",
    ]


def boot_once(lab: Lab, machine: Machine) -> int:
    """Run the machine until it is off or reboots; the exit status of its systemd-nspawn."""
    network.connect(lab, machine)
    faults.restore(lab, machine)
    cgroup.create(machine.running_group)
    joined = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(machine.running_group)]
    with (lab.logs / f"{machine.name}.console").open("ab") as console:
        status = subprocess.call(
            [*joined, *nspawn(machine)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={**os.environ, **_ENVIRONMENT},
        )
    network.disconnect(lab, machine)
    cgroup.kill(machine.running_group)
    cgroup.remove(machine.running_group)
    return status


def main(directory: str, name: str) -> int:
    """Boot until the machine is switched off."""
    lab = load(Path(directory))
    machine = lab.machine(name)
    own = machine.group / "supervisor"
    cgroup.create(own)
    (own / "cgroup.procs").write_text(str(os.getpid()))
    while (status := boot_once(lab, machine)) == REBOOT:
        pass
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
