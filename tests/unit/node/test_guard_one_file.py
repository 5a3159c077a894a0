"""The guard on a node is one file: the same program as the modules here, and readable."""

import ast
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

from kubeha import joining
from kubeha.guard import program
from kubeha.node.guard import decision, events
from kubeha.node.guard.frames import pack_claim
from kubeha.world import is_ours

MODULES = sorted(Path(decision.__file__).parent.glob("*.py"))
NAMES = [path.stem for path in MODULES]
ONE_FILE = program("guard")


def defined(text: str) -> Iterator[str]:
    """Names that a module defines at its top, imports aside."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def test_it_has_every_name_of_every_module_once() -> None:
    names = [name for path in MODULES for name in defined(path.read_text())]
    assert sorted(defined(ONE_FILE)) == sorted(names)
    assert len(set(names)) == len(names)


def test_it_has_every_line_but_imports_and_docstrings_of_modules() -> None:
    assert all(f"# {path.name}\n" in ONE_FILE for path in MODULES if path.stem != "__init__")
    for line in "\n".join(path.read_text() for path in MODULES).split("\n"):
        if line.startswith(("    ", "@", "# ", "def ", "class ")) and not line.endswith(","):
            assert f"\n{line}\n" in ONE_FILE


def test_it_is_python_3_6_of_the_standard_library_alone() -> None:
    tree = ast.parse(ONE_FILE, feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names]
    assert len(set(names)) == len(names)
    for node in imports:
        modules = (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        assert all(module in sys.stdlib_module_names for module in modules)
    assert "kubeha.node" not in ONE_FILE.partition("# __main__.py")[0]


def test_it_looks_as_if_it_had_been_written_so() -> None:
    assert ONE_FILE.startswith("#!/usr/bin/python3 -ISE\n") and is_ours(ONE_FILE)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["format", "--diff"], ["check", "--select", "E,W,F,I,B,C90"]):
        done = subprocess.run(
            [*ruff, *command, "--no-cache", "--stdin-filename", "kubeha/node/guard.py", "-"],
            input=ONE_FILE,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 0, done.stdout


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


def test_modules_are_joined_behind_what_they_import() -> None:
    texts = {
        "__init__": '"""All."""\n',
        "__main__": '"""Begin."""\n\nfrom p.second import two\n\ntwo()\n',
        "second": '"""Two.\n\nOf two."""\n\nimport os\n\nfrom p.first import (\n    one,\n)\n\n'
        "# Kept.\ntwo = one\n",
        "first": '"""One."""\n\nimport os\nfrom typing import Any\n\n\ndef one() -> Any:\n    os\n',
    }
    assert joining.join("p", texts) == (
        '"""All."""\n\nimport os\nfrom typing import Any\n\n'
        "# first.py\n# One.\n\n\ndef one() -> Any:\n    os\n\n\n"
        "# second.py\n# Two.\n#\n# Of two.\n\n# Kept.\ntwo = one\n\n\n"
        "# __main__.py\n# Begin.\n\ntwo()\n"
    )
