"""Each finding on the wire, on real machines: break, find exactly that, heal, find nothing more.

No endpoint is needed for most: the wire is looked at before anything is deployed.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import labs
from running_lab import RunningLab, wait_for

from kubeha.lab.machine import Machine

VIP = "198.51.100.10"
VIP6 = "2001:db8::10"
# Findings of a lab on which nothing was deployed; the tests are about what comes beside them.
Findings = dict[str, dict[str, Any]]


def look(lab: RunningLab, verb: str = "check", file: Path | None = None) -> Findings:
    """Code -> the first finding of that code."""
    where = ["-f", str(file)] if file else []
    done = lab.kubeha(*where, verb, "-o", "json")
    assert done.stdout, done.stderr
    found: Findings = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["code"], each)
    return found


def beside(
    lab: RunningLab, usual: Findings, verb: str = "check", file: Path | None = None
) -> set[str]:
    return set(look(lab, verb, file)) - set(usual)


@pytest.fixture(scope="module")
def at_first(machines: RunningLab) -> Findings:
    found = look(machines)
    assert not [code for code in found if code.startswith("KH3")], found
    return found


@pytest.fixture
def usual(machines: RunningLab, at_first: Findings) -> Iterator[Findings]:
    """What is found anyhow; after the test it is found again, and nothing else."""
    yield at_first
    machines.heal()
    assert set(look(machines)) == set(at_first)


@pytest.mark.provokes("KH301", "KH305", "KH306", "KH308", "KH309", "KH310", "KH313", "KH315")
@pytest.mark.parametrize(
    ("fault", "code", "severity", "node"),
    [
        ("vip-stolen", "KH301", "error", ""),
        ("rogue-vrrp interval=3", "KH305", "warning", ""),
        ("rogue-vrrp version=2", "KH305", "warning", ""),
        ("filter-vrrp m2", "KH306", "error", "m2"),
        ("mtu bytes=1400 m2", "KH308", "error", "m2"),
        ("mtu bytes=9000 m2", "KH308", "error", ""),
        ("mtu bytes=1496 m2", "KH309", "warning", ""),
        ("second-nic m2", "KH310", "error", "m2"),
        (f"rogue-vrrp vrid=99 vip={VIP}", "KH313", "error", ""),
        ("rogue-vrrp vrid=99", "KH315", "info", ""),
    ],
)
def test_a_fault_on_the_wire_is_found(
    machines: RunningLab, usual: Findings, fault: str, code: str, severity: str, node: str
) -> None:
    machines.fault(*fault.split())
    found = look(machines)
    assert set(found) - set(usual) == {code}, found
    assert found[code]["severity"] == severity
    assert node in ("", found[code]["node"])


@pytest.mark.provokes("KH311")
def test_a_nodes_address_is_found_twice(machines: RunningLab, usual: Findings) -> None:
    machines.fault("duplicate-address", "m2")
    found = look(machines)
    # SSH may have reached the stranger, who has no sshd.
    assert set(found) - set(usual) - {"KH201"} == {"KH311"}, found
    assert found["KH311"]["node"] == "m2"


@contextmanager
def table(machine: Machine, *rules: str) -> Iterator[None]:
    """An nft table with an input chain of these rules."""
    chain = "chain input { type filter hook input priority 0; " + "; ".join(rules) + "; }"
    machine.execute(["nft", f"table inet wiretest {{ {chain}; }}"])
    try:
        yield
    finally:
        machine.execute(["nft", "delete", "table", "inet", "wiretest"])


@pytest.mark.provokes("KH306")
def test_a_firewall_that_keeps_state_is_found_again_and_again(
    machines: RunningLab, usual: Findings
) -> None:
    """Had m2 sent through its own firewall, the second look would find what comes in an answer."""
    state = "ct state established,related accept"
    with table(machines.machine("m2"), state, "meta l4proto 112 drop"):
        for _ in range(2):
            found = look(machines)
            # The rule itself is told as well: with state, it drops only what comes first.
            assert set(found) - set(usual) - {"KH217"} == {"KH306"}, found
            assert found["KH306"]["node"] == "m2"


@pytest.mark.provokes("KH307")
def test_an_api_server_that_cannot_be_reached(machines: RunningLab, usual: Findings) -> None:
    with table(machines.machine("m2"), "ip saddr 198.51.100.11 tcp dport 6443 drop"):
        found = look(machines)
    assert "KH307" in set(found) - set(usual), found
    assert found["KH307"]["node"] == "m2"
    assert "cannot be reached from m1" in found["KH307"]["message"]


@pytest.mark.provokes("KH314")
def test_a_node_that_may_not_listen(machines: RunningLab, usual: Findings) -> None:
    """A hardened sshd: without CAP_NET_RAW root has no packet sockets."""
    hardened = "[Service]\nCapabilityBoundingSet=~CAP_NET_RAW\n"
    drop_in = "/run/systemd/system/ssh.service.d/hardened.conf"
    m2 = machines.machine("m2")
    m2.execute(["sh", "-c", f"mkdir -p $(dirname {drop_in}); printf '{hardened}' >{drop_in}"])
    restart = ["sh", "-c", "systemctl daemon-reload; systemctl restart ssh"]
    m2.execute(restart)
    try:
        found = look(machines)
    finally:
        m2.execute(["rm", drop_in])
        m2.execute(restart)
    assert set(found) - set(usual) == {"KH314"}, found
    assert found["KH314"]["node"] == "m2"


@pytest.mark.provokes("KH312")
def test_the_interface_of_another_subnet(
    machines: RunningLab, usual: Findings, tmp_path: Path
) -> None:
    file = other_file(machines, tmp_path, lambda text: text + "\nvrrp: {interface: eth9}\n")
    nodes = [machines.machine(name) for name in ("m1", "m2", "m3")]
    for node in nodes:
        node.execute(["ip", "link", "add", "eth9", "type", "veth", "peer", "name", "eth8"])
        node.execute(["ip", "address", "add", "203.0.113.1/24", "dev", "eth9"])
    try:
        assert beside(machines, usual, file=file) == {"KH312"}
    finally:
        for node in nodes:
            node.execute(["ip", "link", "delete", "eth9"])


def other_file(lab: RunningLab, directory: Path, change: Callable[[str], str]) -> Path:
    """The lab's cluster file, changed, in another place."""
    text = (lab.place / "kubeha.yaml").read_text()
    file = directory / "kubeha.yaml"
    file.write_text(change(text.replace("config: ssh_config", f"config: {lab.place}/ssh_config")))
    return file


@pytest.mark.provokes("KH305")
def test_with_multicast_a_taken_vrid_is_an_error(
    machines: RunningLab, usual: Findings, tmp_path: Path
) -> None:
    file = other_file(machines, tmp_path, lambda text: text + "\nvrrp: {mode: multicast}\n")
    machines.fault("rogue-vrrp")
    found = look(machines, file=file)
    assert set(found) - set(usual) == {"KH305"}
    assert found["KH305"]["severity"] == "error"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (f"vip-stolen vip={VIP6}", "KH301"),
        ("filter-vrrp m2", "KH306"),
        ("mtu bytes=1400 m2", "KH308"),
        ("rogue-vrrp vrid=16 vip=2001:db8::99", "KH305"),
    ],
)
def test_the_same_with_ipv6(
    machines: RunningLab, usual: Findings, tmp_path: Path, fault: str, code: str
) -> None:
    six = partial(re.sub, r"198\.51\.100\.(\d+)", r"'2001:db8::\1'")
    file = other_file(machines, tmp_path, six)
    assert beside(machines, usual, file=file) == set()
    machines.fault(*fault.split())
    assert beside(machines, usual, file=file) == {code}


@pytest.fixture(scope="module")
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningLab]:
    """An endpoint at work ahead of any API server."""
    for lab in labs(request, tmp_path_factory.mktemp("endpoint"), "--kubernetes", "none"):
        lab.kubeha("apply", "--yes", "--no-diff", check=True, timeout=600)
        yield lab


@pytest.mark.parametrize(
    ("fault", "code", "severity"),
    [
        ("vip-stolen", "KH301", "error"),
        ("rogue-vrrp interval=3", "KH305", "warning"),
        ("mtu bytes=1496 m3", "KH309", "warning"),
    ],
)
def test_verify_finds_it_on_a_running_endpoint(
    endpoint: RunningLab, fault: str, code: str, severity: str
) -> None:
    usual = set(look(endpoint, "verify"))
    assert not [each for each in usual if each.startswith("KH3")]
    endpoint.fault(*fault.split())
    try:
        found = look(endpoint, "verify")
        assert set(found) - usual == {code}, found
        assert found[code]["severity"] == severity
    finally:
        endpoint.heal()
    wait_for(
        "verify finds nothing more", lambda: set(look(endpoint, "verify")) == usual, timeout=60
    )


@pytest.mark.provokes("KH306", "KH425")
def test_verify_names_the_filter_behind_a_guard_that_stands_aside(endpoint: RunningLab) -> None:
    """A backup that hears nothing takes the VIP as well, and its guard gives it up again."""
    usual = set(look(endpoint, "verify"))
    endpoint.fault("filter-vrrp", "m3")
    try:
        wait_for(
            "the guard stands aside",
            lambda: "KH425" in look(endpoint, "verify"),
            timeout=60,
        )
        found = look(endpoint, "verify")
        assert (found["KH425"]["node"], found["KH306"]["node"]) == ("m3", "m3")
    finally:
        endpoint.heal()
    wait_for("nothing more is found", lambda: set(look(endpoint, "verify")) == usual, timeout=60)
