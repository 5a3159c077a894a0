"""Running programs with bounds."""

import os
import threading
import time
from pathlib import Path

import pytest

from kubeha.node import process
from kubeha.node.process import execute


def alive(pid: int) -> bool:
    """Is this process there, and not a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; trap '' TERM; wait; sleep 60"
    begin = time.monotonic()
    done = execute(["sh", "-c", script], 0.5)
    assert (done["status"], done["error"]) == (None, "no end after 0.5 s")
    assert time.monotonic() - begin < 4
    assert not alive(int((tmp_path / "pid").read_text()))


def test_stop_ends_it() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert execute(["sleep", "60"], 60, stop=stop)["error"] == "stopped: the operator is gone"


def test_a_daemon_that_holds_the_pipes_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = execute(["sh", "-c", f"sleep 30 & echo $! > {tmp_path}/pid; echo ready"], 20)
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert (done["status"], done["stdout"]) == (0, "ready\n")
    assert time.monotonic() - begin < 5


def test_output_is_cut_and_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OUTPUT_LIMIT", 1000)
    done = execute(["sh", "-c", "head -c 1000000 /dev/zero; echo end >&2; exit 7"], 20)
    assert (done["status"], len(done["stdout"]), done["stderr"]) == (7, 1000, "end\n")


def test_a_program_may_close_its_output_and_go_on() -> None:
    assert execute(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 5"], 20)["status"] == 5
    done = execute(["sh", "-c", "exec >&- 2>&-; sleep 30"], 0.4)
    assert done["error"] == "no end after 0.4 s"


def test_input_and_signals() -> None:
    assert execute(["sh", "-c", "cat"], 20, input="é\n")["stdout"] == "é\n"
    assert execute(["true"], 20, input="x" * 1_000_000)["status"] == 0
    assert execute(["sh", "-c", "kill -9 $$"], 20)["status"] == -9


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["no-such-program"], "no-such-program: not found"),
        (["/etc/passwd"], "/etc/passwd: Permission denied"),
        (["echo", "\0"], "echo: embedded null byte"),
    ],
)
def test_what_cannot_be_started_is_an_answer(argv: list[str], error: str) -> None:
    done = execute(argv, 5)
    assert (done["status"], done["error"]) == (None, error)
