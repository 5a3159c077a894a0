"""Long programs with a log and a heartbeat."""

import os
import time
from pathlib import Path

import pytest

from kubeha.errors import LabError
from kubeha.lab.streaming import stream


def ignore(_: object) -> None:
    pass


def test_lines_arrive_and_are_logged(tmp_path: Path) -> None:
    lines = list[str]()
    script = "echo one; echo two >&2; printf three"
    stream(["sh", "-c", script], log=tmp_path / "log", on_line=lines.append, on_beat=ignore)
    assert lines == ["one", "two"]
    assert (tmp_path / "log").read_text() == f"$ sh -c '{script}'\none\ntwo\nthree"


def test_a_silent_program_still_beats(tmp_path: Path) -> None:
    beats = list[float]()
    stream(["sleep", "0.35"], log=tmp_path / "log", on_line=ignore, on_beat=beats.append, every=0.1)
    assert len(beats) >= 2
    assert beats == sorted(beats)


def test_a_talkative_program_beats_too(tmp_path: Path) -> None:
    beats = list[float]()
    script = "for i in 1 2 3 4 5 6 7; do echo $i; sleep 0.05; done"
    stream(
        ["sh", "-c", script], log=tmp_path / "log", on_line=ignore, on_beat=beats.append, every=0.1
    )
    assert beats


def test_failure_shows_the_last_lines_and_the_log(tmp_path: Path) -> None:
    script = "seq 30; printf last; exit 3"
    with pytest.raises(LabError) as caught:
        stream(["sh", "-c", script], log=tmp_path / "log", on_line=ignore, on_beat=ignore)
    assert caught.value.message.startswith("exit status 3: sh -c")
    assert caught.value.message.endswith("\n29\n30\nlast")
    assert str(tmp_path / "log") in caught.value.hint


def test_interruption_ends_the_children_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    script = f"sleep 60 & echo $! >{pid}; echo started; wait"
    with pytest.raises(KeyboardInterrupt):
        stream(["sh", "-c", script], log=tmp_path / "log", on_line=interrupt, on_beat=ignore)
    assert gone(int(pid.read_text()))


def gone(pid: int, timeout: float = 2.0) -> bool:
    """Whether the process ends in time; one that waits to be reaped has ended."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.01)
    return False
