"""A program that stays on nodes is one file there: the same as its modules here, and readable."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubeha.node
from kubeha import joining
from kubeha.guard import program
from kubeha.world import is_ours

PROGRAMS = ("guard", "handover")
each_program = pytest.mark.parametrize("name", PROGRAMS)


def modules(name: str) -> list[Path]:
    return sorted(Path(kubeha.node.__file__).with_name(name).glob("*.py"))


def body(path: Path) -> list[str]:
    """The lines of a module that follow its docstring."""
    text = path.read_text()
    return text.split("\n")[ast.parse(text).body[0].end_lineno :]


def defined(text: str) -> Iterator[str]:
    """Names that a module defines at its top, imports aside."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


@each_program
def test_it_has_every_name_of_every_module_once(name: str) -> None:
    names = [each for path in modules(name) for each in defined(path.read_text())]
    assert sorted(defined(program(name))) == sorted(names)
    assert len(set(names)) == len(names)


@each_program
def test_it_has_every_line_but_imports_and_docstrings_of_modules(name: str) -> None:
    text, paths = program(name), modules(name)
    assert all(f"# {path.name}\n" in text for path in paths if path.stem != "__init__")
    for line in (line for path in paths for line in body(path)):
        if line.startswith(("    ", "@", "# ", "def ", "class ")) and not line.endswith(","):
            assert f"\n{line}\n" in text


@each_program
def test_it_is_python_3_6_of_the_standard_library_alone(name: str) -> None:
    tree = ast.parse(program(name), feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names]
    assert len(set(names)) == len(names)
    for node in imports:
        whole = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        assert all(module in sys.stdlib_module_names for module in whole)
    assert "kubeha.node" not in program(name).partition("# __main__.py")[0]


@each_program
def test_it_looks_as_if_it_had_been_written_so(name: str) -> None:
    text = program(name)
    assert text.startswith("#!/usr/bin/python3 -ISE\n") and is_ours(text)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["format", "--diff"], ["check", "--select", "E,W,F,I,B,C90"]):
        done = subprocess.run(
            [*ruff, *command, "--no-cache", "--stdin-filename", f"kubeha/node/{name}.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 0, done.stdout


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
