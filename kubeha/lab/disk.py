"""A machine's disk: an overlay over the image, whose upper layer has a limited size of its own.

The upper layer is in memory (tmpfs), so a machine that fills its disk does not fill this box's,
and a disk is full at once: its size becomes that of what is on it.
"""

import os
import time
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab.journal import Entry
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

SIZE = "2g"


def place(machine: Machine) -> Path:
    """Where the upper layer is on this box."""
    return machine.store / "disk"


def traces(machine: Machine) -> list[Entry]:
    """What `make` leaves on this box: for the journal, the last one is taken away first."""
    return [Entry("mount", str(place(machine))), Entry("mount", str(machine.root))]


def make(machine: Machine, base: Path) -> None:
    """Give a machine its root file system, an overlay over `base`."""
    disk = place(machine)
    upper, work = disk / "upper", disk / "work"
    for directory in (disk, machine.root):
        directory.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(disk)])
    for directory in (upper, work):
        directory.mkdir()
    layers = f"lowerdir={base},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "-o", layers, "overlay", str(machine.root)])


def fill(machine: Machine, timeout: float = 10.0) -> None:
    """Leave no block of the disk free. What is there can still be written over, as on any disk."""
    deadline = time.monotonic() + timeout
    while not _resized(machine, _used(place(machine))):
        if time.monotonic() > deadline:
            raise LabError("its disk grows faster than it can be filled", node=machine.name)


def empty(machine: Machine) -> None:
    """Give the disk its size back."""
    if not _resized(machine, SIZE):
        raise LabError(f"its disk cannot be given {SIZE} again", node=machine.name)


def _resized(machine: Machine, size: str) -> bool:
    """The kernel refuses to make a disk smaller than what is on it by then."""
    resize = ["mount", "-o", f"remount,size={size}", str(place(machine))]
    return run(resize, check=False).returncode == 0


def _used(directory: Path) -> str:
    seen = os.statvfs(directory)
    return str((seen.f_blocks - seen.f_bfree) * seen.f_frsize)
