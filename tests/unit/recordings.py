"""Virtual routers that were really broken, on real machines, as tests/recorded has them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from worlds import bare, cluster, text_file, unit

from kubeha import paths
from kubeha.facts import NodeFacts, parse_addresses, parse_journal
from kubeha.world import World

HERE = Path(__file__).parents[1] / "recorded" / "virtual_router"
RELEASES = ("bookworm", "trixie")
OF = cluster()


def recorded(release: str, case: str) -> World:
    """Three nodes with keepalived files written by hand, a few seconds after their start."""
    seen = json.loads((HERE / f"{release}-{case}.json").read_text())["nodes"]
    return World(OF, {name: _facts(name, one) for name, one in seen.items()})


def _facts(name: str, seen: dict[str, Any]) -> NodeFacts:
    address = next(str(node.address) for node in OF.control_plane if node.name == name)
    facts = bare(name, address)
    config = text_file(paths.KEEPALIVED_CONFIG, seen["config"])
    return replace(
        facts,
        units={"keepalived.service": unit("keepalived.service", instance=seen["invocation"])},
        files={**facts.files, config.path: config},
        addresses=parse_addresses(json.dumps(seen["addresses"])),
        keepalived_json=json.dumps(seen["dump"]),
        keepalived_journal=parse_journal("\n".join(seen["journal"])),
        clock=seen["clock"],
        clock_offset=0.0,
    )


def changed(world: World, name: str, **changes: object) -> World:
    """The same with other facts of one node."""
    facts = world.nodes[name]
    assert isinstance(facts, NodeFacts)
    return replace(world, nodes={**world.nodes, name: replace(facts, **changes)})  # type: ignore[arg-type]
