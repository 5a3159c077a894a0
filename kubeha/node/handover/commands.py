"""What the program does when it is called."""

import fcntl
import json
import os
import sys
import time
from typing import List

from kubeha.node.handover.acts import Acts
from kubeha.node.handover.files import (
    DIRECTORY,
    DRAIN,
    JOURNAL,
    LAST,
    LOCK,
    LOWER,
    REQUEST,
    load,
    put,
    save,
)
from kubeha.node.handover.formers import longest
from kubeha.node.handover.kernel import now, run, unable
from kubeha.node.handover.service import serve
from kubeha.node.handover.systemd import UNIT, start
from kubeha.node.handover.terms import MARGIN, Json


def join(request: Json) -> Json:
    """Carry a request out by the service; returns the state once it is so, or why it cannot be."""
    os.makedirs(DIRECTORY, exist_ok=True)
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        why = unable(request, request["me"]) if request["formers"] else None
        if why is not None:
            return dict(status(), able=False, why=why)
        request["generation"] = load(REQUEST).get("generation", 0) + 1
        save(REQUEST, request)
        return arrive(request["generation"], longest(request) + MARGIN)


def arrive(generation: int, seconds: float) -> Json:
    """Wait until the service has taken the request; start it where it does not run."""
    limit, asked, words = now() + 8.0, 0.0, ""
    while now() < limit:
        seen = status()
        if seen.get("generation") == generation:
            return dict(seen, able=True, why="")
        last = load(LAST)
        if last.get("generation") == generation:
            words = last.get("failed", "")
            return dict(status(), able=not words, why=words)
        active = run(["systemctl", "is-active", UNIT])[1].strip()
        if active in ("inactive", "failed", "unknown", ""):
            words = start(seconds)
        elif active == "active" and now() > asked + 0.5:
            asked = now()
            run(["systemctl", "kill", "--kill-who=main", "--signal=HUP", UNIT])
        time.sleep(0.02)
    return dict(status(), able=False, why="its service did not take the request: %s" % words)


def status() -> Json:
    """What this node does for moves now."""
    seen = load(JOURNAL)
    at = now()
    for one in seen.get("formers", {}).values():
        one["rest"] = max(0.0, one["until"] - at)
    return dict(seen, active=bool(seen), last=load(LAST))


def main(argv: List[str]) -> int:
    command = argv[1] if len(argv) == 2 else ""
    if command == "join":
        print(json.dumps(join(json.load(sys.stdin))))
    elif command == "status":
        print(json.dumps(status()))
    elif command == "serve":
        return serve()
    elif command == "undo":
        Acts().undo()
    elif command in ("drain", "undrain"):
        put(DRAIN, LOWER if command == "drain" else "0")
    else:
        print("usage: handover join | status | serve | undo | drain | undrain", file=sys.stderr)
        return 2
    return 0
