"""What the lab needs of this box, checked before anything is touched."""

import os
import shutil
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


def _load(module: str) -> bool:
    """Ask for a kernel module; the file system is listed once it is loaded."""
    if shutil.which("modprobe"):
        os.spawnlp(os.P_WAIT, "modprobe", "modprobe", "--quiet", module)
    return module in Path("/proc/filesystems").read_text()
