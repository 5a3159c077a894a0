"""Code, page and test of each finding belong together: none is there without the others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeha import pages
from kubeha.checks import finding
from kubeha.checks.finding import Kind, catalogue

ROOT = Path(__file__).parents[2]
LAB = ROOT / "tests/lab"
KINDS = {kind.code: kind for kind in catalogue()}
# What the constants of the kinds are called: a test may name a kind by it.
NAMES = {kind.code: name for name, kind in vars(finding).items() if isinstance(kind, Kind)}
SECTIONS = ("What it means", "How it comes about", "See it by hand", "Mend it", "Sources")
# Provoked on real machines, too; but for these, for a reason.
ON_MACHINES = "346"
ONLY_RECORDED: dict[str, str] = {}


def marked(file: Path) -> Iterator[str]:
    """The codes that the tests of a file say they provoke, wherever the marker stands."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.provokes":
            for argument in node.args:
                if isinstance(argument, ast.Starred):
                    yield from table(tree, ast.unparse(argument.value))
                else:
                    yield str(ast.literal_eval(argument))


def table(tree: ast.Module, name: str) -> Iterator[str]:
    """The codes that a table of the module begins its entries with: `mark.provokes(*TABLE)`."""
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if [ast.unparse(target) for target in targets] == [name]:
            entries = getattr(node.value, "keys", None) or node.value.elts
            yield from (str(ast.literal_eval(entry)) for entry in entries)


def provoked() -> dict[str, set[Path]]:
    """code -> the files with tests that provoke it."""
    found: dict[str, set[Path]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for code in marked(file):
            found.setdefault(code, set()).add(file)
    return found


PROVOKED = provoked()
IN_LAB = {code for code, files in PROVOKED.items() if any(LAB in file.parents for file in files)}
PURE = {code for code, files in PROVOKED.items() if any(LAB not in file.parents for file in files)}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert set(pages.pages()) == set(KINDS)


@pytest.mark.parametrize("code", KINDS)
def test_a_page_says_what_an_operator_wants_to_know(code: str) -> None:
    kind, text = KINDS[code], pages.page(code)
    assert text.startswith(f"# {code}: {kind.title}\n")
    assert f"Severity: {kind.severity.value}" in text.split("## ", 1)[0]
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert [head for head in heads if head in SECTIONS] == list(SECTIONS)


def test_every_code_has_a_test_that_provokes_it_from_plain_data() -> None:
    assert set(KINDS) - PURE == set()
    assert set(PROVOKED) - set(KINDS) == set()


def test_every_finding_of_wire_vrrp_and_kubernetes_is_provoked_on_machines() -> None:
    wanted = {code for code in KINDS if code[2] in ON_MACHINES}
    assert wanted - IN_LAB - set(ONLY_RECORDED) == set()
    assert set(ONLY_RECORDED) <= wanted - IN_LAB, "what is provoked is no exception any more"


def test_a_test_names_what_it_provokes_elsewhere_than_in_its_marker() -> None:
    """Or it would be marked, and look at something else."""
    silent = []
    for file in {file for files in PROVOKED.values() for file in files}:
        rest = re.sub(r"mark\.provokes\([^)]*\)", "", file.read_text())
        silent += [
            (code, file.name)
            for code in marked(file)
            if code not in rest and not re.search(rf"\b{NAMES.get(code)}\b", rest)
        ]
    assert silent == []


def test_no_code_is_given_by_nothing() -> None:
    """Each kind is named somewhere in the package outside of the catalogue."""
    package = ROOT / "kubeha"
    files = (path for path in package.rglob("*.py") if path != Path(finding.__file__))
    text = "\n".join(path.read_text() for path in files)
    words = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", text))
    assert {code for code, name in NAMES.items() if name not in words} == set()
