"""Whole files: those that people copy, and our own."""

from pathlib import Path

import pytest

from kubeha.lint.sources import Grammar, Source, recognise
from kubeha.lint.whole import Programs, judge

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).parents[2] / "golden"
CLUSTERS = sorted(path.parent.name for path in GOLDEN.glob("*/kubeha.yaml"))

# line -> codes of the haproxy.cfg in data/
COPIED = {
    "article": {
        2: ["KH767"],
        6: ["KH771"],
        11: ["KH749"],
        16: ["KH744"],
        28: ["KH751"],
        30: ["KH747", "KH761"],
        34: ["KH743"],
        35: ["KH745", "KH746"],
        36: ["KH746"],
        37: ["KH746"],
    },
    "kubeasz": {
        2: ["KH767"],
        8: ["KH749"],
        16: ["KH747", "KH761"],
        23: ["KH745", "KH746"],
        24: ["KH746"],
    },
    "kubeadm": {
        3: ["KH767", "KH769", "KH770"],
        12: ["KH763"],
        13: ["KH763"],
        18: ["KH748"],
        19: ["KH744"],
        40: ["KH757"],
        41: ["KH757"],
        42: ["KH757"],
    },
}


def source(path: Path, node: str = "m1") -> Source:
    text = path.read_text()
    grammar = recognise(str(path), text)
    assert grammar
    return Source(str(path), text, grammar, node)


@pytest.mark.provokes(
    "KH743",
    "KH744",
    "KH745",
    "KH746",
    "KH747",
    "KH748",
    "KH749",
    "KH751",
    "KH757",
    "KH761",
    "KH763",
)
@pytest.mark.parametrize("name", COPIED)
def test_every_finding_on_a_file_that_people_copy(name: str) -> None:
    found: dict[int, list[str]] = {}
    for each in judge([source(DATA / name / "haproxy.cfg")]):
        found.setdefault(each.line, []).append(each.code)
    assert found == COPIED[name]


@pytest.mark.parametrize("name", COPIED)
def test_judged_for_an_old_and_a_new_haproxy(name: str) -> None:
    """nbproc is refused from 2.5 on."""
    file = source(DATA / name / "haproxy.cfg")
    old = {each.code for each in judge([file], Programs(haproxy=(2, 4)))}
    new = {(each.code, each.severity) for each in judge([file], Programs(haproxy=(2, 6)))}
    assert "KH749" not in old
    assert (("KH749", "error") in new) == (name != "kubeadm")


# What our own files lack on purpose, and say so by other findings.
LACKING = {"bootstrap": {"KH745"}, "one-node": {"KH765"}}


def golden(name: str) -> list[Source]:
    """Every file of every node that lint knows what to do with."""
    common = GOLDEN / name / "every-node"
    own = [path for path in (GOLDEN / name).iterdir() if path.is_dir() and path != common]
    files = [
        (node.name, file)
        for node in own or [common]
        for directory in {node, common}
        for file in sorted(directory.rglob("*"))
        if file.is_file() and recognise(str(file), file.read_text())
    ]
    return [source(file, node) for node, file in files]


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_finding_on_our_own_files(name: str) -> None:
    """All nodes together; units and tmpfiles tell which directories there are."""
    sources = golden(name)
    assert {each.grammar for each in sources} == {*Grammar}
    found = judge(sources, Programs(haproxy=(2, 6, 12), keepalived=(2, 2, 7)))
    assert {each.code for each in found} == LACKING.get(name, set()), found


def test_without_our_unit_the_run_directory_is_told() -> None:
    """Our own file alone: only that its neighbours are not known."""
    own = [each for each in golden("three-nodes") if each.grammar is Grammar.HAPROXY][:1]
    assert [each.code for each in judge(own)] == ["KH771"]
