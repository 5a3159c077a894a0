"""Drills on real machines: what they print, that they heal, and that nothing stays behind.

Times are the drills' own business: a limit of a minute is given, so that a busy box fails nothing.
"""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from endpoint import NODES, Endpoint
from running_lab import KUBEHA, RunningLab, wait_for

PATIENT = ("--budget", "60", "-o", "json")


@pytest.fixture(scope="module")
def applied(cluster: RunningLab) -> Endpoint:
    """The shared control plane with the endpoint on it."""
    endpoint = Endpoint(cluster)
    endpoint.lab.heal()
    endpoint.apply()
    return endpoint


@pytest.fixture
def endpoint(applied: Endpoint) -> Endpoint:
    """Healthy before each test; afterwards nothing of a drill is left on any node."""
    applied.wait_until_healthy()
    yield applied
    assert {name: traces(applied, name) for name in NODES} == dict.fromkeys(NODES, "")


def traces(endpoint: Endpoint, name: str) -> str:
    """What a drill may have put on a node: units, tables, files."""
    line = (
        "systemctl list-units --all --no-legend 'kubeha-drill*';"
        " nft list tables | grep kubeha_drill; ls /run | grep kubeha-drill; :"
    )
    return endpoint.lab.machine(name).execute(["sh", "-c", line]).stdout.strip()


def drilled(endpoint: Endpoint, *words: str, record: Path) -> dict:
    """The result of a drill of the lab."""
    place = endpoint.lab
    command = ["drill", "--lab", "--name", place.name, "--record", str(record), *PATIENT, *words]
    done = place.kubeha(*command, timeout=900)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    print(done.stderr)
    assert done.returncode == {"pass": 0, "fail": 1, "unknown": 3}[worst(result)]
    return result


def worst(result: dict) -> str:
    verdicts = {each["verdict"] for each in result["faults"]}
    return next(each for each in ("fail", "unknown", "pass") if each in verdicts)


def test_the_holder_loses_its_power(endpoint: Endpoint, tmp_path: Path) -> None:
    """Twice, and then once more with the record of the two: they are not done again."""
    record = tmp_path / "drill.jsonl"
    drilled(endpoint, "power-off", "--trials", "1", record=record)
    result = drilled(endpoint, "power-off", "--trials", "2", "--resume", record=record)
    (row,) = result["faults"]
    assert [each["number"] for each in result["trials"]] == [1, 2]
    assert row["trials"] == 2 and row["moves"] == [1, 1]
    assert row["silence"]["max"] > 0 and row["new_holder"]["max"] > 0
    for trial in result["trials"]:
        holders = [each["node"] for each in trial["holders"]]
        assert holders[0] == trial["node"] and len(set(holders)) == 2
    assert {"cluster", "endpoint", "nodes", "settings", "budget"} <= set(result)
    assert all(each["keepalived"] for each in result["nodes"].values())


@pytest.mark.parametrize("fault", ["stop-keepalived", "kill-haproxy", "hang-haproxy", "block-vrrp"])
def test_faults_over_ssh_move_the_vip_and_heal(
    endpoint: Endpoint, fault: str, tmp_path: Path
) -> None:
    result = drilled(endpoint, fault, record=tmp_path / "drill.jsonl")
    (trial,) = result["trials"]
    assert trial["requests"] > 0 and trial["connections"] > 0 and trial["healed"] is not None
    assert trial["moves"] == (1 if fault != "block-vrrp" else 0)
    assert not [reason for reason in trial["reasons"] if "afterwards" in reason]


def test_a_planned_move_breaks_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    result = drilled(endpoint, "drain", record=tmp_path / "drill.jsonl")
    (trial,) = result["trials"]
    assert (trial["failed"], trial["broken"], trial["moves"]) == (0, 0, 1)


@pytest.mark.parametrize("fault", ["stop-haproxy", "block-vrrp"])
def test_a_drill_that_is_killed_in_the_middle_heals_by_itself(
    endpoint: Endpoint, fault: str, tmp_path: Path
) -> None:
    running = _begun(endpoint, fault, tmp_path)
    running.kill()
    running.wait()
    wait_for("the node has healed itself", lambda: not _armed(endpoint), timeout=90)
    endpoint.wait_until_healthy()


def test_a_drill_that_is_interrupted_heals_before_it_ends(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    running = _begun(endpoint, "stop-haproxy", tmp_path)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert _armed(endpoint) == []
    endpoint.wait_until_healthy()


def _begun(endpoint: Endpoint, fault: str, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A drill over SSH that has just struck."""
    file = str(endpoint.lab.place / "kubeha.yaml")
    record = str(tmp_path / "drill.jsonl")
    command = [str(KUBEHA), "-f", file, "drill", fault, "--record", record]
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_for("the fault has struck", lambda: _armed(endpoint), timeout=120, every=0.05)
    time.sleep(0.5)
    return running


def _armed(endpoint: Endpoint) -> list[str]:
    """Nodes on which the timer runs that heals."""
    active = ["systemctl", "is-active", "--quiet", "kubeha-drill.timer"]
    return [
        name
        for name in NODES
        if endpoint.lab.machine(name).execute(active, check=False).returncode == 0
    ]


def test_what_may_hurt_is_not_done_without_saying_so(endpoint: Endpoint) -> None:
    done = endpoint.lab.kubeha("drill", "hang-haproxy")
    assert done.returncode == 2 and "--yes-really" in done.stderr
    done = endpoint.lab.kubeha("drill", "freeze")
    assert done.returncode == 2 and "only a lab can do that" in done.stderr
