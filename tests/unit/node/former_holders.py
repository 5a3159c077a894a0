"""A request to the nodes of a planned move, and a place for the files that it leaves."""

from pathlib import Path
from typing import Any

import pytest

from kubeha.node.handover import acts, commands, files, service

REQUEST: dict[str, Any] = {"vip": "198.51.100.10", "port": 8443, "interface": "eth0"}


def entry(number: int, seconds: float = 600.0, move: str = "a") -> dict[str, Any]:
    return {"id": move, "address": f"198.51.100.1{number}", "seconds": seconds}


def keep_files_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State files in a directory of the test, in each module that knows their names."""
    for name in ("REQUEST", "JOURNAL", "LAST", "ASIDE"):
        for module in (acts, commands, files, service):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, str(directory / name.lower()))
