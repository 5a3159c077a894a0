"""What the lab needs of this box, checked before anything is touched."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab import cgroup

# Program -> the Debian package that has it.
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "dpkg-scanpackages": "dpkg-dev",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}

# inotify instances of a running machine: systemd 3, dbus 1, logind 1, and what is installed later.
WATCHERS = 8
_MOST_WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")


def require() -> None:
    """Raises LabError which names everything that is missing, and how to get it."""
    if os.geteuid() != 0:
        raise LabError(
            "the lab needs root: it makes namespaces, mounts and control groups",
            hint="run it as root (sudo), in a checkout or a directory of root's",
        )
    # A root shell made by `su` has the user's PATH, without the places of these programs.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    missing = {each: package for each, package in PROGRAMS.items() if not shutil.which(each)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LabError(
            f"not found on this box: {', '.join(missing)}",
            hint=f"make setup-system, or: apt-get install {packages}",
        )
    if "overlay" not in Path("/proc/filesystems").read_text() and not _load("overlay"):
        raise LabError("this kernel has no overlay file system", hint="modprobe overlay")
    cgroup.mount_point()


def require_watchers(machines: int) -> None:
    """Raises LabError when so many machines' systemds could not watch files any more.

    All machines' root is one user to this kernel, which gives a user 128 inotify instances
    (inotify(7)); without one, a systemd hangs in 'initializing' or has failed units.
    """
    limit, used = int(_MOST_WATCHERS.read_text()), _watchers()
    if used + machines * WATCHERS > limit:
        raise LabError(
            f"root may have {limit} inotify instances, {used} are in use, and "
            f"{machines} machines need {machines * WATCHERS}",
            hint="sysctl -w fs.inotify.max_user_instances=1024, or take another lab down",
        )


def _watchers() -> int:
    """inotify instances that root's processes have open now."""
    count = 0
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            if descriptors.stat().st_uid == 0:
                links = (os.readlink(each) for each in descriptors.iterdir())
                count += sum(link == "anon_inode:inotify" for link in links)
    return count


def _load(module: str) -> bool:
    """Ask for a kernel module; the file system is listed once it is loaded."""
    if shutil.which("modprobe"):
        os.spawnlp(os.P_WAIT, "modprobe", "modprobe", "--quiet", module)
    return module in Path("/proc/filesystems").read_text()
