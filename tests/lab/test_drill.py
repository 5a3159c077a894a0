"""Drills on real machines: what they print, that they heal, and that nothing stays behind.

Times are the drills' own business: a limit of a minute is given, so that a busy box fails nothing.
"""

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from endpoint import NODES, Endpoint
from running_lab import KUBEHA, RunningLab, wait_for

from kubeha.budget import timed
from kubeha.drill import Drill, NotHealthy, Victims
from kubeha.drills import blows
from kubeha.drills.catalogue import FAULTS
from kubeha.errors import HostError
from kubeha.lab import power
from kubeha.lab.machine import Machine
from kubeha.model import Node
from kubeha.striking import Striker

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
    return as_told(endpoint, "--lab", "--name", endpoint.lab.name, *words, record=record)


def as_told(endpoint: Endpoint, *words: str, record: Path) -> dict:
    """The result of a drill; without `--lab` as on a user's own machines."""
    command = ["drill", "--record", str(record), *PATIENT, *words]
    done = endpoint.lab.kubeha(*command, timeout=900)
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


def test_a_cable_pulled_over_ssh_is_plugged_in_by_the_node_itself(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """What the kernel forgets of an interface that goes down is there again."""
    before = {name: wiring(endpoint, name) for name in NODES}
    struck = endpoint.holder()
    result = as_told(endpoint, "link-down", "--yes-really", record=tmp_path / "drill.jsonl")
    (trial,) = result["trials"]
    assert (trial["node"], trial["moves"]) == (struck, 1), trial["reasons"]
    assert "afterwards" not in str(trial["reasons"]) and trial["healed"] is not None
    assert {name: wiring(endpoint, name) for name in NODES} == before
    assert before[struck]["addresses"] and before[struck]["routes"]


def wiring(endpoint: Endpoint, name: str) -> dict[str, list[str]]:
    """Static addresses of a node without the VIP, and its routes."""
    machine = endpoint.lab.machine(name)
    shown = machine.execute(["ip", "-o", "address", "show", "dev", "eth0", "scope", "global"])
    words = [line.split()[:4] for line in shown.stdout.splitlines()]
    routes = [
        line.strip()
        for family in ("-4", "-6")
        for line in machine.execute(["ip", family, "route", "show"]).stdout.splitlines()
    ]
    vip = f"{endpoint.lab.vip}/"
    return {
        "addresses": sorted(" ".join(each) for each in words if not each[3].startswith(vip)),
        "routes": sorted(routes),
    }


def test_no_container_is_crashed(endpoint: Endpoint, tmp_path: Path) -> None:
    """Its kernel is this box's."""
    result = as_told(endpoint, "power-off", "--yes-really", record=tmp_path / "drill.jsonl")
    (trial,) = result["trials"]
    assert trial["verdict"] == "unknown" and trial["requests"] == 0
    assert "its kernel is not its own" in trial["reasons"][0]


def test_a_machine_crashed_over_ssh_comes_back(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab plays the kernel: what is written for SysRq cuts the power, then it boots."""
    monkeypatch.setattr(blows, "SYSRQ", "/var/lib/sysrq-trigger")
    struck, cluster = endpoint.holder(), endpoint.cluster
    drill = Drill(cluster, Striker(cluster, None), cluster.clients)
    fault = timed(FAULTS["power-off"], cluster)
    with crashing(endpoint, endpoint.lab.machine(struck)):
        trial = asyncio.run(drill.trial(fault, 1, None, 60.0))
    assert (trial["node"], trial["moves"]) == (struck, 1), trial["reasons"]
    # The power is cut a little later than the letter is written: that is judged too severely.
    assert "afterwards" not in str(trial["reasons"]) and trial["healed"] is not None


def test_nothing_is_broken_where_the_endpoint_is_not_healthy(endpoint: Endpoint) -> None:
    cluster = endpoint.cluster
    drill = Drill(cluster, Striker(cluster, None), cluster.clients, recovery=2.0)
    backup = endpoint.lab.machine(next(name for name in NODES if name != endpoint.holder()))
    backup.execute(["systemctl", "stop", "keepalived"])
    try:
        with pytest.raises(NotHealthy, match=rf"nothing was broken.*{backup.name}.*KH403"):
            asyncio.run(drill.trial(timed(FAULTS["stop-haproxy"], cluster), 1, None, 60.0))
        holder = endpoint.lab.machine(endpoint.holder())
        active = holder.execute(["systemctl", "is-active", "haproxy"], check=False)
        assert active.stdout.strip() == "active"
    finally:
        backup.execute(["systemctl", "start", "keepalived"])


@contextmanager
def crashing(endpoint: Endpoint, machine: Machine) -> Iterator[None]:
    """A machine that takes itself for one with a kernel of its own, and can be crashed, once."""
    trigger = machine.root / blows.SYSRQ.lstrip("/")
    detect = machine.root / "usr/local/sbin/systemd-detect-virt"
    detect.write_text("#!/bin/sh\necho none\nexit 1\n")
    detect.chmod(0o755)
    trigger.write_text("")
    over = threading.Event()
    kernel = threading.Thread(target=_crash, args=(endpoint, machine, trigger, over))
    kernel.start()
    try:
        yield
        assert trigger.read_text() == "b"
    finally:
        over.set()
        kernel.join()
        detect.unlink()
        trigger.unlink()


def _crash(endpoint: Endpoint, machine: Machine, trigger: Path, over: threading.Event) -> None:
    """As soon as the letter is written, cut the power, and boot."""
    while not over.wait(0.002):
        if trigger.read_text():
            power.off(endpoint.lab.lab, machine)
            power.on(endpoint.lab.lab, machine)
            machine.wait_until_up()
            return


@pytest.mark.parametrize("fault", ["stop-haproxy", "block-vrrp"])
def test_a_drill_that_is_killed_in_the_middle_heals_by_itself(
    endpoint: Endpoint, fault: str, tmp_path: Path
) -> None:
    running = _begun(endpoint, fault, tmp_path)
    running.kill()
    running.wait()
    wait_for("the node has healed itself", lambda: not _armed(endpoint), timeout=90)
    endpoint.wait_until_healthy()


def test_the_same_command_goes_on_where_a_killed_drill_ended(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """The next trial waits until the timer of the killed one has healed."""
    record = tmp_path / "drill.jsonl"
    command = ("stop-keepalived", "--trials", "2", "--resume")
    running = _started(endpoint, "--record", str(record), *PATIENT, *command)
    wait_for("a trial is noted", lambda: _trials(record) == 1, timeout=180)
    wait_for("the second one has struck", lambda: _armed(endpoint), timeout=180, every=0.05)
    running.kill()
    running.wait()
    result = as_told(endpoint, *command, record=record)
    assert [each["number"] for each in result["trials"]] == [1, 2]
    assert _trials(record) == 2
    # Killed after its timer began, but before it struck, there was nothing to wait for.
    wait_for("its timer has run out", lambda: not _armed(endpoint), timeout=90)


def _trials(record: Path) -> int:
    """How many trials are in a record, complete."""
    text = record.read_text() if record.exists() else ""
    return max(0, text.count("\n") - 1)


def test_a_drill_that_is_interrupted_heals_before_it_ends(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    running = _begun(endpoint, "stop-haproxy", tmp_path)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert _armed(endpoint) == []
    endpoint.wait_until_healthy()


def test_one_drill_neither_ends_nor_heals_another_one(endpoint: Endpoint) -> None:
    """Not at once, and not when it heals after the timer has healed for it."""
    node = _node(endpoint, endpoint.holder())
    peer = next(each for each in endpoint.cluster.control_plane if each.name != node.name)
    victims = Victims((node, peer), "eth0")
    first, second = (Striker(endpoint.cluster, None) for _ in range(2))

    async def at_once() -> None:
        await first.strike(FAULTS["block-vrrp"], victims)
        with pytest.raises(HostError, match="another drill is under way"):
            await second.strike(FAULTS["block-vrrp"], victims)
        await second.heal()

    async def too_late() -> None:
        await second.strike(FAULTS["block-vrrp"], victims)
        await first.heal()

    asyncio.run(at_once())
    assert _armed(endpoint) == [node.name] and _blocked(endpoint, node)
    # As docs/drills.md has it.
    endpoint.lab.ssh(node.name, "systemctl start --all 'kubeha-drill-*.service'")
    wait_for("it is healed", lambda: not _blocked(endpoint, node), timeout=20)
    endpoint.lab.ssh(node.name, "systemctl stop 'kubeha-drill-*.timer'")
    asyncio.run(too_late())
    assert _armed(endpoint) == [node.name] and _blocked(endpoint, node)
    asyncio.run(second.heal())
    assert _armed(endpoint) == [] and not _blocked(endpoint, node)


def _node(endpoint: Endpoint, name: str) -> Node:
    return next(each for each in endpoint.cluster.control_plane if each.name == name)


def _blocked(endpoint: Endpoint, node: Node) -> bool:
    tables = endpoint.lab.machine(node.name).execute(["nft", "list", "tables"]).stdout
    return "kubeha_drill" in tables


def _begun(endpoint: Endpoint, fault: str, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A drill over SSH that has just struck."""
    running = _started(endpoint, fault, "--record", str(tmp_path / "drill.jsonl"))
    wait_for("the fault has struck", lambda: _armed(endpoint), timeout=120, every=0.05)
    time.sleep(0.5)
    return running


def _started(endpoint: Endpoint, *words: str) -> subprocess.Popen[bytes]:
    command = [str(KUBEHA), "-f", str(endpoint.lab.place / "kubeha.yaml"), "drill", *words]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # As at a terminal, also where the tests run in a shell's background, which ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _armed(endpoint: Endpoint) -> list[str]:
    """Nodes on which a timer runs that heals."""
    shown = ["systemctl", "list-units", "--plain", "--no-legend", "kubeha-drill-*.timer"]
    return [name for name in NODES if endpoint.lab.machine(name).execute(shown).stdout.strip()]


def test_what_may_hurt_is_not_done_without_saying_so(endpoint: Endpoint) -> None:
    done = endpoint.lab.kubeha("drill", "hang-haproxy")
    assert done.returncode == 2 and "--yes-really" in done.stderr
    done = endpoint.lab.kubeha("drill", "freeze")
    assert done.returncode == 2 and "only a lab can do that" in done.stderr
