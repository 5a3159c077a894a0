"""The service as systemd runs it. On a node this module is part of the program's one file."""

import os
import socket
import sys

from kubeha.node.handover.kernel import run
from kubeha.node.handover.terms import MARGIN

UNIT = "kubeha-handover.service"


def start(seconds: float) -> str:
    """The service, and what undoes all of it however it ends. Returns a complaint, or ""."""
    me = os.path.abspath(__file__)
    properties = (
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=15",
        "RuntimeMaxSec=%d" % seconds,
        "TimeoutStopSec=20",
        "OOMScoreAdjust=-900",
        "ExecStopPost=%s undo" % me,
    )
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + UNIT]
    argv += ["--description=Connections of the Kubernetes endpoint while the VIP moves"]
    argv += ["--setenv=KUBEHA_SECONDS=%d" % (seconds - MARGIN)]
    argv += ["--property=" + each for each in properties]
    code, _, complaint = run(argv + [me, "serve"], timeout=20.0)
    return complaint if code else ""


def notify(text: str) -> None:
    """sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        try:
            end.sendto(text.encode(), address)
        except OSError as error:
            print("sd_notify: %s" % error, file=sys.stderr, flush=True)
