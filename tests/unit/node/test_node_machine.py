"""A node's look at itself, on this machine: real processes, locks and files."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from kubeha.node import machine

HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
)
SAY_AND_WAIT = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def test_who_holds_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    assert machine.lock_holder(str(lock)) is None
    assert machine.lock_holder(str(tmp_path / "none")) is None
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert machine.lock_holder(str(lock)) == holder.pid
        with lock.open("w") as stream, pytest.raises(BlockingIOError):
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.communicate(b"\n")
    assert machine.lock_holder(str(lock)) is None


def test_a_process_with_the_vip_among_its_arguments(tmp_path: Path) -> None:
    """Started through a shell, so that it is no child of the one that looks.

    It tells its number itself: the shell knows it before the program runs.
    """
    name = "vrrpd-of-test"
    (tmp_path / name).symlink_to(Path(sys.executable).resolve())
    script = f'"{tmp_path / name}" -c "$1" & wait'
    environment = {"address": "198.51.100.10"}
    command = ["sh", "-c", script, "sh", SAY_AND_WAIT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        try:
            (found,) = machine.processes({name}, "198.51.100.10")
            assert (found["pid"], found["parent"], found["names_vip"]) == (pid, shell.pid, True)
            assert found["inotify"] == 0 and found["real_time"] is False
            assert [one["names_vip"] for one in machine.processes({name}, "98.51.100.1")] == [False]
            assert [one["names_vip"] for one in machine.processes({name}, "8.51.100.10")] == [False]
        finally:
            subprocess.run(["kill", str(pid)], check=True)
            shell.kill()


def test_what_it_starts_itself_is_none() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid not in [one["pid"] for one in machine.processes({"sleep"}, "192.0.2.1")]
        child.kill()


def test_inotify_is_to_be_had_here() -> None:
    assert machine.inotify_error() is None


def test_sources_that_cannot_be_reached(tmp_path: Path) -> None:
    here, gone = f"file:{tmp_path}", f"file:{tmp_path}/gone"
    deadline = 1e12
    said = {gone: f"{tmp_path}/gone is not there"}
    assert machine._unreachable([gone], "", deadline) == said
    assert machine._unreachable([gone, here], "", deadline) == {}
    assert machine._unreachable(["cdrom:[Debian]"], "", deadline) == {}
    # A third party's source is gone, the one with the packages is there.
    uris = f"'{here}/haproxy_2.6.12-1_amd64.deb' haproxy_2.6.12-1_amd64.deb 1 MD5Sum:0\n"
    assert machine._unreachable(["http://192.0.2.1/gone", here], uris, deadline) == {}


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("Err:1 http://m/d InRelease\n  Could not connect to m:80 (192.0.2.1), timed out", True),
        ("Err:1 http://m/d InRelease\n  Temporary failure resolving 'm'", True),
        ("Err:1 http://m/d InRelease\n  Connection failed [IP: 192.0.2.1 80]", True),
        ("Err:1 http://m/d InRelease\n  404  Not Found [IP: 192.0.2.1 80]", False),
    ],
)
def test_no_way_there_and_an_answer_are_told_apart(said: str, lost: bool) -> None:
    assert bool(machine._LOST.search(said)) is lost
