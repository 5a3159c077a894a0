"""Long programs on this box: output to a log file, line by line to the caller, with a heartbeat."""

import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab.process import environment


def stream(
    argv: Sequence[str],
    *,
    log: Path,
    on_line: Callable[[str], None],
    on_beat: Callable[[float], None],
    every: float = 3.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end; `on_beat` gets the seconds so far about every `every` seconds.

    Output (both streams) is appended to `log`. Raises LabError with the last lines when the
    program fails. Ends the program and all its children when this call is interrupted.
    """
    with log.open("ab", buffering=0) as record:
        record.write(f"$ {shlex.join(argv)}\n".encode())
        process = _start(argv, cwd, env)
        try:
            tail = _follow(process, record.write, on_line, on_beat, every)
        finally:
            _end(process)
    if process.returncode != 0:
        raise LabError(
            f"exit status {process.returncode}: {shlex.join(argv)}\n" + "\n".join(tail),
            hint=f"the whole output is in {log}",
        )


def _start(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    """Both streams in one pipe, and a session of its own, to be ended as a whole."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environment(env),
        start_new_session=True,
    )


def _follow(
    process: subprocess.Popen[bytes],
    record: Callable[[bytes], object],
    on_line: Callable[[str], None],
    on_beat: Callable[[float], None],
    every: float,
) -> list[str]:
    """Read until the program closes its output; the last 20 lines."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    started = beat = time.monotonic()
    rest, tail = b"", list[str]()
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, beat + every - time.monotonic()))
        if time.monotonic() - beat >= every:
            beat = time.monotonic()
            on_beat(beat - started)
        if not ready:
            continue
        data = os.read(pipe, 1 << 16)
        if not data:
            break
        record(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            on_line(text)
            tail = [*tail[-19:], text]
    process.wait()
    return [*tail, rest.decode(errors="replace")] if rest else tail


def _end(process: subprocess.Popen[bytes]) -> None:
    """No child outlives the call: the whole session is killed if it is not over."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
