"""Main program on a node: reads one request, carries it out, answers.

Request: a JSON object with `op` and what that operation takes, preceded by its length in bytes
and a newline. Answer: JSON lines, any number of {"event": ...}, then one {"result": ...} or
{"error": {"kind": ..., "message": ...}}. The end of standard input means that the operator is gone.
"""

import importlib
import os
import signal
import sys
import traceback

from kubeha.node.wire import Refused, Wire

# Operation -> the modules it needs, in the order of their imports; the last one has `OPERATION`s.
OPERATIONS = {
    "collect": ("process", "collect"),
    "observe": ("process", "collect", "tls", "etcd", "control_plane", "machine", "look"),
    "run": ("process", "run"),
    "write": ("files",),
    "remove": ("files",),
    "probe": ("probe",),
    "listen": ("listen",),
    "passage": ("probe", "connect", "passage"),
    "sample": ("http", "tls", "sample"),
    "monitor": ("monitor",),
    "strike": ("process", "strike"),
}


# Where administrators' programs are: not every login has all of them on its path.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Answer one request; always ends with a result or an error."""
    # A hang-up ends nothing: the end of standard input is what counts. A handler, for programs
    # started from here would inherit SIG_IGN.
    signal.signal(signal.SIGHUP, lambda number, frame: None)
    os.environ["PATH"] = ":".join(filter(None, [os.environ.get("PATH"), _PATH]))
    wire = Wire(sys.stdin.buffer, sys.stdout)
    request = wire.request()
    operation = request.pop("op")
    module = importlib.import_module("kubeha.node." + OPERATIONS[operation][-1])
    try:
        wire.send({"result": getattr(module, operation)(wire, **request)})
    except Refused as refusal:
        wire.send({"error": {"kind": refusal.kind, "message": str(refusal)}})
    except Exception:
        wire.send({"error": {"kind": "bug", "message": traceback.format_exc()}})
