"""Look at a node: outputs of commands and states of files, in one round trip.

Raw text only. What it means is found out on the operator's side.
"""

import errno
import grp
import hashlib
import os
import pwd
import stat
import sys
import threading
import time
from typing import Any, Dict, List, Optional

from kubeha.node.process import execute
from kubeha.node.wire import Wire

CONTENT_LIMIT = 1 << 20
# Programs at work at the same time; most of them wait for a socket rather than for a CPU.
_PARALLEL = 8


def collect(wire: Wire, commands: Dict[str, Dict[str, Any]], files: List[str]) -> Dict[str, Any]:
    """Run all commands in parallel and read all files."""
    results = {}  # type: Dict[str, Any]
    waiting = list(commands.items())

    def work() -> None:
        while waiting and not wire.gone.is_set():
            try:
                name, command = waiting.pop(0)
            except IndexError:
                return
            results[name] = execute(command["argv"], command["timeout"], stop=wire.gone)

    workers = [threading.Thread(target=work) for _ in range(min(_PARALLEL, len(waiting)))]
    for worker in workers:
        worker.start()
    states = {path: file_state(path) for path in files}
    for worker in workers:
        worker.join()
    return {
        "commands": results,
        "files": states,
        "systemd": os.path.isdir("/run/systemd/system"),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "clock": time.time(),
    }


def file_state(path: str) -> Dict[str, Any]:
    """The fields of FileState; what is missing and what cannot be read are told apart."""
    state = {"path": path, "exists": False}  # type: Dict[str, Any]
    try:
        state["link"] = os.readlink(path) if os.path.islink(path) else None
        # O_NONBLOCK: a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            state.update(exists=True, error=error.strerror)
        return state
    try:
        state.update(_opened(descriptor))
    finally:
        os.close(descriptor)
    return state


def _opened(descriptor: int) -> Dict[str, Any]:
    found = os.fstat(descriptor)
    state = {
        "exists": True,
        "mode": stat.S_IMODE(found.st_mode),
        "owner": _user(found.st_uid),
        "group": _group(found.st_gid),
    }  # type: Dict[str, Any]
    if not stat.S_ISREG(found.st_mode):
        return dict(state, error="not a regular file")
    try:
        data = _bytes(descriptor)
    except OSError as error:
        return dict(state, error=error.strerror)
    if data is None:
        return dict(state, error="bigger than %d KiB" % (CONTENT_LIMIT >> 10))
    # What is not UTF-8 travels as lone surrogates, so that a file can be put back byte for byte.
    text = data.decode("utf-8", "surrogateescape")
    return dict(state, content=text, sha256=hashlib.sha256(data).hexdigest())


def _bytes(descriptor: int) -> Optional[bytes]:
    """The content, None if there is too much of it. Sizes in /proc are 0: only reading tells."""
    data = bytearray()
    while len(data) <= CONTENT_LIMIT:
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return bytes(data)
        data += chunk
    return None


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
