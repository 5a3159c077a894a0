"""Faults of space: no block is left where a machine writes."""

from kubeha.lab import disk
from kubeha.lab.faults.kind import MachineFault
from kubeha.lab.faults.settings import Settings
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine

# What systemd-nspawn gives a machine's /run at its boot: a part of this box's memory.
_FRESH = "20%"
# Whatever is there grows by nothing: the size of /run becomes that of what is in it, which the
# kernel refuses if something was written in between.
_FILL_RUN = """\
for try in 1 2 3 4 5 6 7 8 9; do
    mount -o "remount,size=$(($(stat -fc '(%b - %f) * %S' /run)))" /run && exit
done
exit 1
"""


def _fill_disk(_: Lab, machine: Machine, __: Settings) -> None:
    disk.fill(machine)


def _empty_disk(_: Lab, machine: Machine) -> None:
    disk.empty(machine)


def _fill_run(_: Lab, machine: Machine, __: Settings) -> None:
    machine.execute(["sh", "-c", _FILL_RUN])


def _empty_run(_: Lab, machine: Machine) -> None:
    if machine.leader() is not None:
        machine.execute(["mount", "-o", f"remount,size={_FRESH}", "/run"])


FAULTS = {
    "disk-full": MachineFault("leave no space on the machine's disk", _fill_disk, _empty_disk),
    "run-full": MachineFault("leave no space in the machine's /run", _fill_run, _empty_run),
}
