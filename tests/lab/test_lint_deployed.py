"""kubeha lint --deployed on machines that somebody has set up by hand, with the article's files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_lab import RunningLab

from kubeha.lint.sources import Grammar, Source
from kubeha.lint.whole import judge

ARTICLE = Path(__file__).parents[1] / "unit/lint/data/article"
NODES = ("m1", "m2", "m3")
PLACES = {Grammar.HAPROXY: "/etc/haproxy/haproxy.cfg"}
PLACES[Grammar.KEEPALIVED] = "/etc/keepalived/keepalived.conf"


def files(node: str) -> dict[Grammar, str]:
    return {
        Grammar.HAPROXY: (ARTICLE / "haproxy.cfg").read_text(),
        Grammar.KEEPALIVED: (ARTICLE / node / "keepalived.conf").read_text(),
    }


@pytest.fixture
def by_hand(machines: RunningLab) -> Iterator[RunningLab]:
    """The files put on three bare machines, and taken away again."""
    for node in NODES:
        for grammar, text in files(node).items():
            script = 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"'
            machines.machine(node).execute(["sh", "-c", script, PLACES[grammar], text])
    yield machines
    for node in NODES:
        gone = ["rm", "-rf", "/etc/haproxy", "/etc/keepalived"]
        machines.machine(node).execute(gone)


def told(lab: RunningLab, *options: str) -> tuple[int, set[tuple[str, str, int]], str]:
    """Exit status; node, code and line of each finding; standard error."""
    done = lab.kubeha("lint", "--deployed", "-o", "json", *options)
    found = json.loads(done.stdout)["findings"] if done.stdout else []
    return done.returncode, {(f["node"], f["code"], f["line"]) for f in found}, done.stderr


def test_the_same_is_found_on_the_nodes_as_in_the_files(by_hand: RunningLab) -> None:
    sources = [
        Source(f"{node}:{PLACES[grammar]}", text, grammar, node)
        for node in NODES
        for grammar, text in files(node).items()
    ]
    expected = {(each.node, each.code, each.line) for each in judge(sources)}
    status, found, said = told(by_hand)
    assert (status, said) == (1, "")
    assert found == expected
    assert {("m1", "KH743", 34), ("m3", "KH746", 35)} <= found


def test_what_is_missing_and_who_is_silent_is_told(by_hand: RunningLab) -> None:
    """A node without a file, and one that is off: on standard error; the rest is judged."""
    by_hand.machine("m2").execute(["rm", PLACES[Grammar.KEEPALIVED]])
    by_hand.fault("power-off", "m3")
    try:
        status, found, said = told(by_hand)
    finally:
        by_hand.heal("m3")
    assert status == 1
    assert {node for node, _, _ in found} == {"m1", "m2"}
    assert "m2: no keepalived.conf that can be read" in said
    assert "m3: cannot be asked: " in said
