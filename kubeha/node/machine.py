"""Looks at the machine itself: processes, locks, kernel limits, where packages would come from.

Nothing is changed and nothing is started but apt's simulation. Raw values only. What they mean is
found out on the operator's side.
"""

import ctypes
import errno
import fcntl
import os
import re
import struct
import subprocess
import tempfile
import time
from typing import Any, Dict, Iterator, List, Optional

# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"
_QUIET = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}  # type: Dict[str, Any]
# Neither waits for a lock nor takes one, and writes no cache.
_APT = ["-o", "Debug::NoLocking=1", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
# What apt's methods say when there is no way to a host (methods/connect.cc).
_LOST = re.compile(
    "could not (?:connect|resolve)|unable to connect|temporary failure resolving|no route to host"
    "|connection (?:timed out|failed|refused)|network is unreachable|something wicked",
    re.IGNORECASE,
)


def machine(ask: Dict[str, Any]) -> Dict[str, Any]:
    """`ask`: `processes`, names of programs to look for, `locks`, paths of lock files, `vip`."""
    return {
        "processes": list(processes(set(ask["processes"]), ask["vip"])),
        "locks": {path: lock_holder(path) for path in ask["locks"]},
        "inotify_error": inotify_error(),
    }


def processes(names: "set[str]", vip: str) -> Iterator[Dict[str, Any]]:
    """Every process of one of these names, with what the kernel grants it."""
    own = _link("/proc/1/ns/net")
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % number) as stream:
                name = stream.read().strip()
            if name not in names:
                continue
            process = dict(_process(int(number), name, own), names_vip=_names(number, vip))
        except OSError:
            continue
        # What this look itself asks (keepalived -v) is none.
        if process["parent"] != os.getpid():
            yield process


def _process(pid: int, name: str, own: Optional[str]) -> Dict[str, Any]:
    with open("/proc/%d/stat" % pid) as stream:
        # The name in parentheses may contain anything; the parent is the second field after it.
        parent = int(stream.read().rpartition(")")[2].split()[1])
    with open("/proc/%d/cgroup" % pid) as stream:
        cgroup = stream.read()
    policy = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK
    return {
        "pid": pid,
        "parent": parent,
        "name": name,
        "cgroup": cgroup,
        "host_network": own is not None and _link("/proc/%d/ns/net" % pid) == own,
        "real_time": policy in (os.SCHED_FIFO, os.SCHED_RR),
        "inotify": _inotify_instances(pid),
    }


def _names(number: str, vip: str) -> bool:
    """Is the VIP among a process's arguments or in its environment? Of neither is more told."""
    word = re.compile(rb"(?<![0-9A-Fa-f.:])" + re.escape(vip.encode()) + rb"(?![0-9A-Fa-f.:])")
    texts = []
    for name in ("cmdline", "environ"):
        with open("/proc/%s/%s" % (number, name), "rb") as stream:
            texts.append(stream.read())
    return any(word.search(text) for text in texts)


def _inotify_instances(pid: int) -> int:
    directory = "/proc/%d/fd" % pid
    links = [_link(os.path.join(directory, number)) for number in os.listdir(directory)]
    return sum("inotify" in (link or "") for link in links)


def _link(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def lock_holder(path: str) -> Optional[int]:
    """The process that holds a POSIX lock on a file, None if nobody does; the lock is not taken.

    0 where the holder is in another PID namespace.
    """
    try:
        with open(path, "rb") as stream:
            wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(stream, fcntl.F_GETLK, wanted)
    except (OSError, ValueError):
        return None
    kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else int(pid)


def inotify_error() -> Optional[str]:
    """Why no program of this user can watch files any more, None if one can."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor >= 0:
        os.close(descriptor)
        return None
    return errno.errorcode.get(ctypes.get_errno(), "?")


def package_source(ask: Dict[str, Any]) -> Dict[str, Any]:
    """Could apt install what is missing of `packages`, in `timeout` seconds for the whole answer?

    `missing`: what is not installed; the rest is only there if anything is. `status` and `output`
    of apt's simulation, `sources`: directories from which the lists come, `lists`: whether there
    are any, `unreachable`: source -> what apt says of a try to fetch from it.
    """
    deadline = time.monotonic() + ask["timeout"]
    try:
        missing = _missing(ask["packages"])
        if not missing:
            return {"missing": []}
        install = ["apt-get", *_APT, "-qq", "--print-uris", "--no-install-recommends", "install"]
        status, output = _run([*install, *missing], deadline)
        sources = _sources(deadline)
        return {
            "missing": missing,
            "status": status,
            "output": output,
            "sources": sources,
            "lists": any(name.endswith("_Packages") or "_Packages." in name for name in _lists()),
            "unreachable": _unreachable(sources, output if status == 0 else "", deadline),
        }
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def _missing(packages: List[str]) -> List[str]:
    line = "${Package} ${db:Status-Abbrev}\n"
    _, output = _run(["dpkg-query", "-W", "-f", line, *packages], time.monotonic() + 3)
    rows = [row.split() for row in output.splitlines()]
    there = {row[0] for row in rows if len(row) == 2 and row[1][1:2] == "i"}
    return [name for name in packages if name not in there]


def _sources(deadline: float) -> List[str]:
    """Directories of the configured sources, in the order in which apt has them.

    What an update would fetch: indextargets is empty as long as there was none.
    """
    status, output = _run(["apt-get", *_APT, "--print-uris", "update"], deadline)
    rows = re.findall(r"^'([^']*)/InRelease' ", output if status == 0 else "", re.MULTILINE)
    return sorted(set(rows), key=rows.index)


def _lists() -> List[str]:
    try:
        return os.listdir("/var/lib/apt/lists")
    except OSError:
        return []


def _unreachable(sources: List[str], uris: str, deadline: float) -> Dict[str, str]:
    """What apt says of the sources that it cannot get to; nothing as soon as it gets to one.

    Of those on the packages' own hosts, where they are known: a third party's may well be gone.
    """
    hosts = set(re.findall(r"^'(\w+:(?://[^/']*)?)", uris, re.MULTILINE))
    likely = [source for source in sources if any(source.startswith(host) for host in hosts)]
    found = {}
    for source in (likely or sources)[:3]:
        why = _why_unreachable(source, deadline)
        if why is None:
            return {}
        found[source] = why
    return found


def _why_unreachable(source: str, deadline: float) -> Optional[str]:
    """None if it can be reached, or if that cannot be told; a 404 is an answer."""
    kind, _, path = source.partition(":")
    if kind in ("file", "copy"):
        return None if os.path.isdir(path) else "%s is not there" % path
    if kind not in ("http", "https"):
        return None
    argv = ["/usr/lib/apt/apt-helper", "-o", "Acquire::Retries=0"]
    for scheme in ("http", "https"):
        argv += ["-o", "Acquire::%s::Timeout=2" % scheme]
    with tempfile.TemporaryDirectory(prefix="kubeha-") as place:
        target = os.path.join(place, "InRelease")
        status, output = _run([*argv, "download-file", source + "/InRelease", target], deadline)
    return output if status is None or (status and _LOST.search(output)) else None


def _run(argv: List[str], deadline: float) -> "tuple[Optional[int], str]":
    """Exit status and all that was printed; None as the status if it took too long."""
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    left = max(0.1, deadline - time.monotonic())
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, env=environment, timeout=left, **_QUIET)
    except subprocess.TimeoutExpired as error:
        return None, (error.stdout or b"").decode("utf-8", "replace")
    return done.returncode, done.stdout.decode("utf-8", "replace")
