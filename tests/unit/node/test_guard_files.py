"""What apply puts on a node for the guard, and that both sides mean the same files."""

import json

from kubeha import guard, paths
from kubeha.config import parse
from kubeha.node import guard as program
from kubeha.world import is_ours

CLUSTER = parse(
    b"""
cluster: demo
endpoint: {vip: 198.51.100.10, port: 8443}
control_plane:
  - {name: m1, address: 198.51.100.11}
  - {name: m2, address: 198.51.100.12}
  - {name: m3, address: 198.51.100.13}
""",
    "kubeha.yaml",
).cluster


def test_both_sides_mean_the_same_files() -> None:
    assert program.SETTINGS == paths.NODE_SETTINGS
    assert program.GUARD_FILE == paths.GUARD_FILE
    assert program.FRESH_FILE == paths.FRESH_FILE
    assert program.HOLDER_FILE == paths.HOLDER_FILE
    assert program.STATE_FILE == paths.GUARD_STATE


def test_every_file_says_who_wrote_it() -> None:
    node = CLUSTER.load_balancer_nodes[1]
    settings = guard.render_settings(CLUSTER, node, interface="eth0", vrid=10)
    assert is_ours(settings)
    assert is_ours(guard.render_unit())
    assert is_ours(guard.program("guard"))
    told = json.loads(settings)
    assert (told["name"], told["rank"]) == ("m2", 1)
    assert told["peers"] == {"m1": "198.51.100.11", "m3": "198.51.100.13"}


def test_the_guard_understands_its_settings(tmp_path) -> None:
    node = CLUSTER.load_balancer_nodes[1]
    file = tmp_path / "node.json"
    file.write_text(guard.render_settings(CLUSTER, node, interface="eth0", vrid=10))
    interface, me = program.read_settings(str(file))
    assert interface == "eth0"
    assert (me.vrid, me.rank, sorted(me.peers.values())) == (10, 1, ["m1", "m3"])
    assert me.vip == bytes([198, 51, 100, 10])
