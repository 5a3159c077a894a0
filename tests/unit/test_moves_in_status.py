"""A planned move that is under way is seen in status."""

import json
from dataclasses import replace

import pytest
from test_health import OF, healthy
from worlds import text_file

from kubeha import paths
from kubeha.facts import Carried, NodeFacts, parse_carried
from kubeha.report import status_json, status_view
from kubeha.world import World

MINE = {"id": "a", "address": "198.51.100.11", "until": 500.0, "left": 100.0}
JOURNAL = {"formers": {"m1": MINE}, "connections": 37, "at": 8.0}


def test_a_former_holder_tells_what_it_carries() -> None:
    assert parse_carried("m1", json.dumps(JOURNAL)) == Carried(37, 492.0)


@pytest.mark.parametrize(
    "journal",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        json.dumps({**JOURNAL, "formers": {"m1": {"until": 500.0}}}),
        json.dumps({"formers": {"m1": MINE}}),
    ],
    ids=["no-file", "empty", "cut", "list", "nothing", "not-moved-yet", "half"],
)
def test_anything_else_is_no_move(journal: str | None) -> None:
    assert parse_carried("m1", journal) is None


def test_a_node_that_passes_on_only_carries_nothing() -> None:
    assert parse_carried("m2", json.dumps(JOURNAL)) is None


def test_status_shows_the_connections_and_the_time_that_is_left() -> None:
    nodes = healthy()
    facts = nodes["m1"]
    assert isinstance(facts, NodeFacts)
    file = text_file(paths.HANDOVER_JOURNAL, json.dumps(JOURNAL))
    nodes["m1"] = replace(facts, files={**facts.files, paths.HANDOVER_JOURNAL: file})
    world = World(OF, nodes)
    first = status_json(world, ())["nodes"][0]
    assert first["handover"] == {"active": True, "connections": 37, "seconds": 492.0}
    assert status_view(world, (), 200) is not None
