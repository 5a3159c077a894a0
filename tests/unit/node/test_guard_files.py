"""What apply puts on a node for the guard, what it finds there, and keepalived's processes."""

import json
import os
import signal
import subprocess
from pathlib import Path

from kubeha import guard, paths
from kubeha.config import parse
from kubeha.node.guard import files
from kubeha.node.guard.events import Gone, Stopped
from kubeha.node.guard.nfnetlink import HUSH_TABLE
from kubeha.node.guard.unit import Unit
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
    assert files.SETTINGS == paths.NODE_SETTINGS
    assert files.GUARD_FILE == paths.GUARD_FILE
    assert files.FRESH_FILE == paths.FRESH_FILE
    assert files.HOLDER_FILE == paths.HOLDER_FILE
    assert files.STATE_FILE == paths.GUARD_STATE
    assert HUSH_TABLE == paths.GUARD_TABLE


def test_every_file_says_who_wrote_it() -> None:
    node = CLUSTER.load_balancer_nodes[1]
    settings = guard.render_settings(CLUSTER, node, interface="eth0", vrid=10)
    assert is_ours(settings)
    assert is_ours(guard.render_unit())
    assert is_ours(guard.program("guard"))
    told = json.loads(settings)
    assert (told["name"], told["rank"]) == ("m2", 1)
    assert told["peers"] == {"m1": "198.51.100.11", "m3": "198.51.100.13"}


def test_the_guard_understands_its_settings(tmp_path: Path) -> None:
    node = CLUSTER.load_balancer_nodes[1]
    file = tmp_path / "node.json"
    file.write_text(guard.render_settings(CLUSTER, node, interface="eth0", vrid=10))
    interface, me = files.read_settings(str(file))
    assert interface == "eth0"
    assert (me.vrid, me.rank, sorted(me.peers.values())) == (10, 1, ["m1", "m3"])
    assert me.vip == bytes([198, 51, 100, 10])


def test_processes_of_a_unit_that_work_stand_still_and_are_gone(tmp_path: Path) -> None:
    group = tmp_path / "cgroup.procs"
    unit = Unit((str(tmp_path / "elsewhere"), str(group)))
    assert unit.state() is None, "never seen"
    with subprocess.Popen(["sleep", "60"]) as process:
        group.write_text(f"{process.pid}\n")
        assert unit.processes() == [process.pid]
        assert unit.state() is None
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert isinstance(unit.state(), Stopped)
        process.kill()
    group.write_text("")
    assert isinstance(unit.state(), Gone)
    group.unlink()
    assert isinstance(unit.state(), Gone)
