"""Run one program on a node, its output passed on line by line while it works."""

from typing import Any, Dict, List, Optional

from kubeha.node.process import execute
from kubeha.node.wire import Wire


def run(
    wire: Wire,
    argv: List[str],
    timeout: float,
    env: Optional[Dict[str, str]],
    input: Optional[str],
    finish: bool,
) -> Dict[str, Any]:
    """Run `argv`; with `finish` it goes on to its own end when the operator is gone."""
    partial = {"stdout": b"", "stderr": b""}

    def on_output(stream: str, chunk: bytes) -> None:
        # A carriage return is how progress bars rewrite their line.
        lines = (partial[stream] + chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
        partial[stream] = lines.pop()
        for line in lines:
            wire.event("line", stream=stream, text=line.decode("utf-8", "replace"))

    result = execute(argv, timeout, env, input, on_output, None if finish else wire.gone)
    for stream, rest in partial.items():
        if rest:
            wire.event("line", stream=stream, text=rest.decode("utf-8", "replace"))
    return result
