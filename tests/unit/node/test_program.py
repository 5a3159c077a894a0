"""The program as it is sent: syntax of Python 3.6, and real runs on every Python that is here."""

import ast
import grp
import json
import os
import pwd
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import kubeha.node
from kubeha.node import BOOTSTRAP, SENTINEL, program, without_docstrings
from kubeha.node.program import OPERATIONS

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
HERE = Path(kubeha.node.__file__).parent
ON_NODES = sorted(path for path in HERE.rglob("*.py") if path != HERE / "__init__.py")
SENT = [path for path in ON_NODES if path.parent == HERE]


@cache
def pythons() -> tuple[str, ...]:
    """The interpreters on this machine, from 3.6 on; at least our own."""
    found = {}
    homes = [*Path("~/.pyenv/versions").expanduser().glob("3.*/bin"), Path("/usr/bin")]
    for path in sorted(Path(home, "python3") for home in homes):
        if path.exists():
            version = subprocess.run([path, "-V"], capture_output=True, text=True).stdout.split()[1]
            found[version] = str(path)
    found[".".join(map(str, sys.version_info[:3]))] = sys.executable
    return tuple(found.values())


def ask(python: str, request: dict[str, Any]) -> list[Any]:
    """What the program sends for a request, without the sentinel."""
    data = json.dumps(request).encode()
    with subprocess.Popen(
        [python, "-I", "-S", "-c", BOOTSTRAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(program(request["op"]) + b"%d\n%s" % (len(data), data))
        process.stdin.flush()
        blank, sentinel, *lines = process.stdout.read().decode().split("\n")
    assert blank == "" and sentinel.startswith(f"{SENTINEL} 3 ")
    return [json.loads(line) for line in lines if line]


@pytest.mark.parametrize("path", ON_NODES, ids=lambda path: str(path.relative_to(HERE)))
def test_compiles_as_python_3_6(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("path", ON_NODES, ids=lambda path: str(path.relative_to(HERE)))
def test_imports_only_the_standard_library_and_its_own(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            own = name.startswith("kubeha.node.")
            assert own or name.partition(".")[0] in sys.stdlib_module_names, name


@pytest.mark.parametrize("python", pythons())
def test_looks_at_a_node(python: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    commands = {"echo": {"argv": ["echo", "é"], "timeout": 5}}
    request = {"op": "collect", "commands": commands, "files": [str(tmp_path / "file")]}
    (answer,) = ask(python, request)
    assert answer["result"]["commands"]["echo"]["stdout"] == "é\n"
    assert answer["result"]["files"][str(tmp_path / "file")]["content"] == "content"


@pytest.mark.parametrize("python", pythons())
def test_writes_on_a_node(python: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    file = {"path": str(path), "content": "é", "mode": 0o640, "owner": OWNER, "group": GROUP}
    (answer,) = ask(python, {"op": "write", "files": [file]})
    assert answer["result"][0]["changed"], answer
    assert path.read_text() == "é"


@pytest.mark.parametrize("python", pythons())
def test_runs_on_a_node(python: str) -> None:
    request = {"op": "run", "argv": ["sh", "-c", "echo one; exit 2"], "timeout": 5, "env": None}
    *events, answer = ask(python, {**request, "input": None, "finish": False})
    assert [event["text"] for event in events] == ["one"]
    assert answer["result"]["status"] == 2


@pytest.mark.parametrize("python", pythons())
def test_samples_on_a_node(python: str) -> None:
    load = {"kind": "version", "rate": 5.0, "connections": 1, "interval": 1.0, "timeout": 1.0}
    ca = Path(__file__).with_name("ca.pem").read_text()
    request = {
        "op": "sample",
        "address": "127.0.0.1",
        "port": 1,
        "server_name": None,
        "credentials": {"ca": ca},
        "loads": [{**load, "path": None}],
        "duration": 1.0,
        "limit": 3,
    }
    *events, answer = ask(python, request)
    assert answer == {"result": {"count": 3}}
    rows = [row for event in events for row in event.get("attempts", ())]
    assert [row[4] for row in rows] == ["refused"] * 3


def test_every_operation_is_small_enough_for_one_flight() -> None:
    """SSH channels and TCP start with windows of this size: no operation waits for a second."""
    assert all(len(program(operation)) < 14_000 for operation in OPERATIONS)


@pytest.mark.parametrize("path", SENT, ids=lambda path: str(path.relative_to(HERE)))
def test_without_docstrings_it_is_the_same_program_on_the_same_lines(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and (
            ast.get_docstring(node) is not None and len(node.body) > 1
        ):
            del node.body[0]
    sent = ast.parse(without_docstrings(text))
    assert ast.dump(sent, include_attributes=True) == ast.dump(tree, include_attributes=True)
    assert len(without_docstrings(text)) < len(text)


def test_an_error_inside_is_an_answer() -> None:
    (answer,) = ask(sys.executable, {"op": "write", "files": [{"path": 1}]})
    assert answer["error"]["kind"] == "bug" and "TypeError" in answer["error"]["message"]
