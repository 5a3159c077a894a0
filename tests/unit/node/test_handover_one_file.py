"""The program for planned moves in its one file: it decides as its modules do, on every Python."""

import json
import random
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from former_holders import REQUEST, entry
from test_program import pythons

from kubeha import paths
from kubeha.guard import program
from kubeha.node.handover import files, formers, frames, wanted

ONE_FILE = program("handover")
LOADED = ModuleType("handover_in_one_file")
exec(compile(ONE_FILE, "handover", "exec"), LOADED.__dict__)


def test_both_sides_mean_the_same_files() -> None:
    assert files.JOURNAL == paths.HANDOVER_JOURNAL
    assert files.ASIDE == paths.ASIDE_FILE
    assert files.DRAIN == paths.DRAIN_FILE


@pytest.mark.parametrize("seed", range(20))
def test_it_decides_as_the_modules_do(seed: int) -> None:
    draw = random.Random(seed)
    asked = {f"m{n}": entry(n, draw.uniform(1, 600)) for n in range(1, draw.randrange(2, 5))}
    known = formers.merged({}, asked, 100.0)
    assert LOADED.merged({}, asked, 100.0) == known
    me, home = draw.choice(["m1", "m2", "m3"]), draw.random() < 0.5
    assert LOADED.wanted(REQUEST, me, known, home) == wanted.wanted(REQUEST, me, known, home)
    said = frames.frame(b"\x02" * 6, REQUEST["vip"], me, "a", draw.uniform(0, 600))
    assert LOADED.read_frame(said, REQUEST["vip"]) == frames.read_frame(said, REQUEST["vip"])


def call(python: str, file: Path, *argv: str, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [python, "-ISE", file, *argv]
    return subprocess.run(command, input=input, capture_output=True, text=True)


@pytest.mark.parametrize("python", pythons())
def test_its_commands_work_on_every_python(python: str, tmp_path: Path) -> None:
    """As on a node, but for the places of its files, and systemd is not asked."""
    file, journal = tmp_path / "handover", tmp_path / "handover.json"
    text = ONE_FILE.replace("/run/kubeha", str(tmp_path)).replace("/etc/kubeha", str(tmp_path))
    file.write_text(text)
    usage = call(python, file)
    assert usage.returncode == 2 and usage.stderr.startswith("usage: handover join | status")
    setting = tmp_path / "arp_ignore"
    setting.write_text("1\n")
    state: dict[str, Any] = {"sysctls": {str(setting): {"was": "0", "set": "1"}}, "formers": {}}
    journal.write_text(json.dumps(state))
    answer = json.loads(call(python, file, "status").stdout)
    assert answer == {**state, "active": True, "last": {}}
    assert call(python, file, "undo").returncode == 0
    assert setting.read_text() == "0\n" and not journal.exists()
    assert call(python, file, "drain").returncode == 0
    assert (tmp_path / "drain").read_text() == "-127\n"


@pytest.mark.parametrize("python", pythons())
def test_join_has_the_file_itself_run_as_a_service(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that asks for nothing: the service takes it and ends. A script is systemd-run."""
    file, asked = tmp_path / "handover", tmp_path / "asked"
    file.write_text(ONE_FILE.replace("/run/kubeha", str(tmp_path)))
    started = f'echo "$*" >>{asked}; while [ $# -gt 2 ]; do shift; done; exec {python} -ISE "$@"'
    for name, text in (("systemctl", "echo inactive"), ("systemd-run", started)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    request = json.dumps({**REQUEST, "me": "m1", "formers": {}})
    done = call(python, file, "join", input=request)
    answer = {"able": True, "why": "", "active": False, "last": {"generation": 1}}
    assert json.loads(done.stdout) == answer, done.stderr
    assert f"--property=ExecStopPost={file} undo {file} serve" in asked.read_text()
