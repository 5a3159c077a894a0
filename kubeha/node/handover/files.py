"""The files that a move leaves on a node, and how they are written."""

import errno
import json
import os
import sys
from typing import Any, Callable, Optional

from kubeha.node.handover.terms import Json

DIRECTORY = "/run/kubeha"
REQUEST = DIRECTORY + "/handover.request"
JOURNAL = DIRECTORY + "/handover.json"
LAST = DIRECTORY + "/handover.last"
LOCK = DIRECTORY + "/handover.lock"
ASIDE = DIRECTORY + "/aside"
DRAIN = "/etc/kubeha/drain"
LOWER = "-127"


def read(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def put(path: str, text: Any) -> None:
    """In place, for keepalived watches it; never emptied first, for the disk may be full."""
    data = ("%s\n" % text).encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, data)
        if not path.startswith("/proc/"):
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def load(path: str) -> Json:
    """A state file of ours; {} where there is none that is whole."""
    try:
        state: Json = json.loads(read(path) or "{}")
    except ValueError:
        return {}
    return state


def save(path: str, state: Json) -> None:
    """Whole or not at all, and on its way before the act that it tells of."""
    beside = path + ".new"
    with open(beside, "w") as file:
        json.dump(state, file, sort_keys=True)
    os.rename(beside, path)


def attempt(act: Callable[[], None]) -> str:
    """Do it; returns what went wrong, or ""."""
    try:
        act()
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def save_last(state: Json) -> None:
    """What was done, for whoever asks: nothing depends on it, so a full /run ends nothing."""
    failure = attempt(lambda: save(LAST, state))
    if failure:
        print("cannot note what was done: %s" % failure, file=sys.stderr, flush=True)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
