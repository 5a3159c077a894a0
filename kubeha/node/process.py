"""Running a program on a node with bounds on its time and output."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Optional

OUTPUT_LIMIT = 4 << 20
# How long output is awaited after the end of a program whose children still hold its pipes.
_LINGER = 0.5
_TICK = 0.2

OnOutput = Optional[Callable[[str, bytes], None]]


def execute(
    argv: List[str],
    timeout: float,
    env: Optional[Dict[str, str]] = None,
    input: Optional[str] = None,
    on_output: OnOutput = None,
    stop: Optional[threading.Event] = None,
) -> Dict[str, Any]:
    """Run `argv`, at most `timeout` seconds; its process group is killed then, or on `stop`.

    Returns the fields of Completed. Programs speak English (LC_ALL=C) unless `env` says otherwise.
    """
    begin = time.monotonic()
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, LC_ALL="C", **(env or {})),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return _completed(None, {}, _reason(argv, error), begin)
    if input is not None:
        threading.Thread(target=_feed, args=(child, input), daemon=True).start()
    output = {"stdout": bytearray(), "stderr": bytearray()}
    try:
        why = _drain(child, output, begin + timeout, on_output, stop)
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    if why is None:
        return _completed(child.wait(), output, None, begin)
    _kill(child)
    reason = "no end after %g s" % timeout if why == "timeout" else "stopped: the operator is gone"
    return _completed(None, output, reason, begin)


def _reason(argv: List[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "%s: not found" % argv[0]
    return "%s: %s" % (argv[0], getattr(error, "strerror", None) or error)


def _drain(
    child: "subprocess.Popen[bytes]",
    output: Dict[str, bytearray],
    deadline: float,
    on_output: OnOutput,
    stop: Optional[threading.Event],
) -> Optional[str]:
    """Read both pipes to their end. Returns None, or why the program has to be killed."""
    with selectors.DefaultSelector() as selector:
        for name in output:
            selector.register(getattr(child, name), selectors.EVENT_READ, name)
        ended = None
        while selector.get_map():
            for key, _ in selector.select(_TICK):
                _read(selector, key, output, on_output)
            now = time.monotonic()
            if child.poll() is not None:
                ended = ended or now
                if now > ended + _LINGER:
                    return None
            elif stop is not None and stop.is_set():
                return "stop"
            elif now > deadline:
                return "timeout"
    return _await_end(child, deadline)


def _read(
    selector: selectors.BaseSelector,
    key: selectors.SelectorKey,
    output: Dict[str, bytearray],
    on_output: OnOutput,
) -> None:
    chunk = os.read(key.fd, 65536)
    if not chunk:
        selector.unregister(key.fileobj)
        return
    kept = output[key.data]
    kept += chunk[: max(0, OUTPUT_LIMIT - len(kept))]
    if on_output is not None:
        on_output(key.data, chunk)


def _await_end(child: "subprocess.Popen[bytes]", deadline: float) -> Optional[str]:
    """A program may close its output and go on."""
    try:
        child.wait(max(0.01, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "timeout"
    return None


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End the whole group: TERM, a moment, then KILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(1)
            break
        except subprocess.TimeoutExpired:
            continue


def _feed(child: "subprocess.Popen[bytes]", text: str) -> None:
    """Write all of the input; a program may end without reading it."""
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.write(text.encode())
    with contextlib.suppress(OSError):
        child.stdin.close()


def _completed(
    status: Optional[int], output: Dict[str, bytearray], error: Optional[str], begin: float
) -> Dict[str, Any]:
    return {
        "status": status,
        "stdout": bytes(output.get("stdout", b"")).decode("utf-8", "replace"),
        "stderr": bytes(output.get("stderr", b"")).decode("utf-8", "replace"),
        "error": error,
        "seconds": round(time.monotonic() - begin, 4),
    }
