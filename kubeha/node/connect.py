"""Can this machine connect to others? TCP handshakes, many at once; nothing is sent."""

import errno
import os
import select
import socket
import time
from typing import Any, Dict, List, Tuple

from kubeha.node.wire import Wire

# A lost SYN is repeated by the kernel after a second: another attempt beside it is sooner.
_ATTEMPTS = 3
_BETWEEN = 0.4
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)
_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)

Outcome = Tuple[str, str]


def connect(wire: Wire, targets: Dict[str, List[Any]], timeout: float) -> Dict[str, Outcome]:
    """Target -> (outcome, the kernel's words), within `timeout` seconds.

    `targets`: name -> [address, port]. Outcomes: connected, refused, timeout, unreachable, error.
    """
    begin = time.monotonic()
    attempts = {}  # type: Dict[socket.socket, str]
    outcomes = {}  # type: Dict[str, Outcome]
    started = 0
    try:
        while len(outcomes) < len(targets) and not wire.gone.is_set():
            passed = time.monotonic() - begin
            if started < _ATTEMPTS and passed >= started * _BETWEEN:
                started += 1
                for name, (address, port) in targets.items():
                    if name not in outcomes:
                        _start(name, address, port, attempts, outcomes)
            for ready in select.select([], list(attempts), [], 0.05)[1]:
                name = attempts.pop(ready)
                outcomes.setdefault(name, _outcome(ready.getsockopt(*_ERROR)))
                ready.close()
            if passed >= timeout:
                break
    finally:
        for left in attempts:
            left.close()
    return {name: outcomes.get(name, ("timeout", "no answer")) for name in targets}


def _start(
    name: str,
    address: str,
    port: int,
    attempts: Dict[socket.socket, str],
    outcomes: Dict[str, Outcome],
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        attempt = socket.socket(family, socket.SOCK_STREAM)
    except OSError as refusal:  # a kernel without this family, or no descriptor left
        outcomes[name] = _outcome(refusal.errno or errno.EIO)
        return
    attempt.setblocking(False)
    error = attempt.connect_ex((address, port))
    if error in (0, errno.EINPROGRESS):
        attempts[attempt] = name
    else:
        outcomes[name] = _outcome(error)
        attempt.close()


def _outcome(error: int) -> Outcome:
    if not error:
        return "connected", ""
    if error == errno.ECONNREFUSED:
        word = "refused"
    elif error == errno.ETIMEDOUT:
        word = "timeout"
    else:
        word = "unreachable" if error in _UNREACHABLE else "error"
    return word, os.strerror(error)
