"""The files that the guard reads and writes."""

import json
import os
import socket
import time
from typing import Optional, Tuple

from kubeha.node.guard.events import Me

SETTINGS = "/etc/kubeha/node.json"
GUARD_FILE = "/run/kubeha/guard"
FRESH_FILE = "/run/kubeha/fresh"
HOLDER_FILE = "/run/kubeha/holder"
STATE_FILE = "/run/kubeha/guard.json"


def overwrite(path: str, text: str) -> None:
    """Same length, same place: it works on a full file system, and nobody ever sees it empty."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read_settings(path: str) -> Tuple[str, Me]:
    """The interface, and who this node is."""
    with open(path) as file:
        told = json.load(file)
    family = socket.AF_INET6 if ":" in told["vip"] else socket.AF_INET
    peers = {socket.inet_pton(family, a): name for name, a in told["peers"].items()}
    address, vip = (socket.inet_pton(family, told[name]) for name in ("address", "vip"))
    interval, port = told["advert_interval"], told["port"]
    me = Me(address, vip, told["vrid"], told["rank"], peers, interval, port)
    return told["interface"], me


def write_state(why: Optional[str], other: str, text: str) -> None:
    """Why this node stands aside, and for whom; only for people, so it may fail."""
    told = {"why": why or None, "other": other, "text": text, "since": int(time.time())}
    try:
        with open(STATE_FILE + ".new", "w") as file:
            json.dump(told, file)
        os.replace(STATE_FILE + ".new", STATE_FILE)
    except OSError:
        pass


def held_before() -> float:
    """How long ago keepalived told that it became master: the guard may be the younger one."""
    try:
        with open(HOLDER_FILE) as file:
            if file.read().strip() != "1":
                return 0.0
            return max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
    except OSError:
        return 0.0
