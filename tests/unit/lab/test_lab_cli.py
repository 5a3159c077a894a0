"""`kubeha lab` says what there is, and what is wrong with what was asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubeha.lab.faults import FAULTS

KUBEHA = Path(sys.executable).with_name("kubeha")


def lab(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(KUBEHA), "lab", *arguments]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=30, env=environment
    )


def test_help_of_fault_lists_every_fault(tmp_path: Path) -> None:
    shown = lab(tmp_path, "fault", "--help").stdout
    listed = [line.split(maxsplit=1) for line in shown.splitlines()]
    described = {line[0]: line[1] for line in listed if len(line) == 2 and line[0] in FAULTS}
    assert described == {name: fault.summary for name, fault in FAULTS.items()}
    words = set(shown.replace("(the cluster file's)", "...").split())
    for fault in FAULTS.values():
        for key, setting in fault.settings.items():
            default = setting.default if isinstance(setting.default, str) else "..."
            assert f"{key}={default}" in words


@pytest.mark.parametrize(
    "arguments",
    [("up", "--nodes", "0"), ("up", "--name", "a/b"), ("up", "-o", "xml"), ("status", "-o", "x")],
)
def test_wrong_usage_touches_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = lab(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert list(tmp_path.iterdir()) == []
