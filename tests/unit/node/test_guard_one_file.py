"""The guard in its one file decides as its modules do, and starts on every Python."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from simulated_guards import ADDRESSES, GATEWAY, MACS, VIP, claim
from test_program import pythons

from kubeha.guard import program
from kubeha.node.guard import decision, events
from kubeha.node.guard.frames import pack_claim

ONE_FILE = program("guard")


@pytest.fixture(scope="module")
def loaded() -> Iterator[ModuleType]:
    """The one file as a module."""
    module = sys.modules["guard_in_one_file"] = ModuleType("guard_in_one_file")
    exec(compile(ONE_FILE, "guard", "exec"), module.__dict__)
    yield module
    del sys.modules["guard_in_one_file"]


@pytest.mark.parametrize("seed", range(20))
def test_it_decides_as_the_modules_do(loaded: ModuleType, seed: int) -> None:
    draw = random.Random(seed)
    me = events.Me(ADDRESSES[1], VIP, 10, 1, {ADDRESSES[0]: "m1", ADDRESSES[2]: "m3"}, 0.1, 8443)
    here, there = decision.Guard(me), loaded.Guard(me)
    now = 0.0
    for _ in range(200):
        now += draw.uniform(0, 0.1)
        event = drawn(draw)
        done = here.react(now, event)
        same = there.react(now, getattr(loaded, type(event).__name__)(*event))
        assert [(type(a).__name__, a) for a in done] == [(type(a).__name__, a) for a in same]
        assert here.deadline() == there.deadline()


def drawn(draw: random.Random) -> Any:
    """Any event."""
    rank = draw.randrange(3)
    said = claim(rank, holds=draw.random() < 0.8, held=draw.choice([0.0, 60.0]))
    return draw.choice(
        [
            events.Tick(),
            events.Taken(draw.choice([0.0, 30.0])),
            events.Lost(),
            events.Answer(draw.choice([VIP, GATEWAY, *ADDRESSES]), draw.choice(MACS)),
            events.Claimed(MACS[rank], said),
            events.Advert(ADDRESSES[rank]),
            events.OwnAdvert(),
            events.Alive(ADDRESSES[rank]),
            events.Gateway(GATEWAY),
        ]
    )


def test_it_writes_the_same_bytes(loaded: ModuleType) -> None:
    said = claim(1, held=1.5)
    assert loaded.pack_claim(said) == pack_claim(said)


@pytest.mark.parametrize("python", pythons())
def test_it_starts_on_every_python_and_says_what_it_lacks(python: str, tmp_path: Path) -> None:
    """As on a node, but for the settings: there are none."""
    file, none = tmp_path / "guard", tmp_path / "none"
    file.write_text(ONE_FILE.replace("/etc/kubeha/node.json", str(none)))
    done = subprocess.run([python, "-ISE", file], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("FileNotFoundError: ")
    assert str(none) in done.stderr
