"""What this node's kernel is asked, by the programs that are there for it."""

import subprocess
import time
from typing import List, Optional, Tuple

from kubeha.node.handover.files import read
from kubeha.node.handover.terms import Json
from kubeha.node.handover.wanted import wanted

BOOTTIME = 7
STATES = ("established", "syn-recv", "close-wait", "fin-wait-1", "closing")


def now() -> float:
    """Seconds since boot, the same for every process, counted on while the machine sleeps."""
    return time.clock_gettime(BOOTTIME)


def run(argv: List[str], text: Optional[str] = None, timeout: float = 10.0) -> Tuple[int, str, str]:
    """(exit status, standard output, what it complained of)."""
    try:
        done = subprocess.run(
            argv,
            input=text.encode() if text is not None else None,
            stdin=None if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
        )
    except FileNotFoundError:
        return 127, "", "%s: there is no such program" % argv[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, "", "%s: %s" % (argv[0], error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode().strip()


def strict(path: str) -> bool:
    """Is the reverse path filter of this card strict? The higher of two settings counts."""
    everywhere = path.replace(path.split("/")[-2], "all")
    return max(int(read(path) or 0), int(read(everywhere) or 0)) == 1


def host_prefix(vip: str) -> str:
    return "%s/%d" % (vip, 128 if ":" in vip else 32)


def on_interface(vip: str, interface: str) -> Optional[bool]:
    """Is the address there? None if that cannot be found out."""
    status, out, _ = run(["ip", "-o", "address", "show", "dev", interface, "to", host_prefix(vip)])
    return bool(out.strip()) if status == 0 else None


def sockets(
    request: Json, states: Tuple[str, ...] = STATES, kill: bool = False
) -> Optional[List[str]]:
    """The endpoint's sockets on this node; with `kill`, reset them: those that could be."""
    words = [word for state in states for word in ("state", state)]
    vip = "[%s]" % request["vip"] if ":" in request["vip"] else request["vip"]
    which = ["src", vip, "and", "sport", "=", ":%d" % request["port"]]
    status, out, _ = run(["ss"] + (["-K"] if kill else []) + ["-H", "-t", "-n"] + words + which)
    return out.splitlines() if status == 0 else None


def connections(request: Json, close: bool = False) -> Optional[int]:
    """How many connections of the endpoint this kernel has; with `close`, reset them first."""
    if close:
        sockets(request, kill=True)
    found = sockets(request)
    return None if found is None else len(found)


def unable(request: Json, me: str) -> Optional[str]:
    """Why this node cannot take part, or None. The kernel is asked, and nothing is changed."""
    others = {name: one for name, one in request["formers"].items() if name != me}
    rules = wanted(request, me, others or {"": {"address": request["vip"]}})["rules"]
    status, _, complaint = run(["nft", "-c", "-f", "-"], rules)
    if status == 127:
        return "there is no nft (package nftables)"
    if status != 0:
        reason = complaint.splitlines()[0] if complaint else "status %d" % status
        return "its kernel or its nft cannot pass packets on: " + reason[:200]
    return None
