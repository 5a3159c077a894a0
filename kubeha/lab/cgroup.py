"""A machine's processes as one control group (cgroup v2): list, freeze and kill them at once.

A group's path carries the lab's random id, so whatever is in it was started by that lab. That is
safer than remembering process ids: there is no moment between a process's start and its entry in
a journal, and a number that was reused cannot be hit. See the kernel's cgroup-v2.rst on
`cgroup.freeze` (5.2) and `cgroup.kill` (5.14).
"""

import errno
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from kubeha.errors import LabError


@cache
def mount_point() -> Path:
    """Where the v2 tree is: the usual place, or beside a v1 tree (hybrid)."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError(
        "no cgroup v2 tree is mounted",
        hint="mount one: mkdir -p /sys/fs/cgroup/unified && "
        "mount -t cgroup2 none /sys/fs/cgroup/unified",
    )


@cache
def systemd_runs_here() -> bool:
    """Whether PID 1 of this box is systemd, which then owns the top of the tree (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def create(group: Path) -> None:
    """Create a group and its parents; it may exist."""
    group.mkdir(parents=True, exist_ok=True)


def pids(group: Path) -> list[int]:
    """Process ids in the group and below; empty when there is no such group."""
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        with suppress(OSError):
            found += map(int, (Path(directory) / "cgroup.procs").read_text().split())
    return found


def kill(group: Path, timeout: float = 10.0) -> None:
    """SIGKILL to everything in the group and below, and wait (seconds) until it is empty."""
    with suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + timeout
    while left := pids(group):
        if time.monotonic() > deadline:
            raise LabError(f"processes {left} of {group} do not die")
        time.sleep(0.01)


def remove(group: Path, timeout: float = 10.0) -> None:
    """Remove an empty group with its children; it may be gone already.

    A process that has been killed keeps its group busy until its memory has been given back, which
    takes a while where it was large: tried again for `timeout` seconds. Raises OSError after that.
    """
    deadline = time.monotonic() + timeout
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                raise
            break


def is_frozen(group: Path) -> bool:
    """Whether everything in the group is stopped; False when there is no such group."""
    with suppress(OSError):
        return "frozen 1" in (group / "cgroup.events").read_text().splitlines()
    return False


def freeze(group: Path, frozen: bool, timeout: float = 5.0) -> None:
    """Stop every process of the group where it stands (or let it go on), and wait until it is."""
    (group / "cgroup.freeze").write_text("1" if frozen else "0")
    deadline = time.monotonic() + timeout
    while is_frozen(group) != frozen:
        if time.monotonic() > deadline:
            raise LabError(f"{group} is not {'frozen' if frozen else 'thawed'} after {timeout:g} s")
        time.sleep(0.01)
