"""Other clusters than three control plane nodes with IPv4: machines of their own, and IPv6."""

import json
from collections.abc import Iterator

import pytest
from conftest import labs
from running_lab import RunningLab, wait_for

HEAD = "cluster: other\nssh: {config: ssh_config}\n"
NODES = ("m1", "m2", "m3")


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path) -> Iterator[RunningLab]:
    yield from labs(request, tmp_path, "--kubernetes", "none")


def holders(lab: RunningLab, vip: str) -> list[str]:
    """Whose interface has the VIP, as its kernel says."""
    return [name for name in NODES if vip in addresses(lab, name)]


def addresses(lab: RunningLab, name: str) -> set[str]:
    machine = lab.machine(name)
    if machine.leader() is None:
        return set()
    seen = machine.execute(["ip", "-j", "address", "show", "dev", "eth0"], check=False).stdout
    return {one.get("local", "") for link in json.loads(seen or "[]") for one in link["addr_info"]}


def test_load_balancers_on_machines_of_their_own(lab: RunningLab) -> None:
    (lab.place / "kubeha.yaml").write_text(
        HEAD + "endpoint: {vip: 198.51.100.10, port: 6443}\n"
        "control_plane: [{name: m3, address: 198.51.100.13}]\n"
        "load_balancers:\n"
        "  - {name: m1, address: 198.51.100.11}\n"
        "  - {name: m2, address: 198.51.100.12}\n"
    )
    lab.kubeha("apply", "--yes", "--no-diff", check=True)
    assert holders(lab, "198.51.100.10") == ["m1"]
    missing = lab.machine("m3").execute(["sh", "-c", "command -v haproxy"], check=False)
    assert missing.returncode != 0
    lab.fault("power-off", "m1")
    wait_for("m2 has it", lambda: holders(lab, "198.51.100.10") == ["m2"], timeout=10)


def test_an_endpoint_with_ipv6(lab: RunningLab) -> None:
    nodes = "".join(f"  - {{name: m{i}, address: '2001:db8::1{i}'}}\n" for i in (1, 2, 3))
    (lab.place / "kubeha.yaml").write_text(
        HEAD + f"endpoint: {{vip: '2001:db8::10'}}\ncontrol_plane:\n{nodes}"
    )
    done = lab.kubeha("apply", "--yes", "--no-diff", check=True)
    assert "m1 (primary: takes the VIP)" in done.stdout
    assert holders(lab, "2001:db8::10") == ["m1"]
    assert "No changes." in lab.kubeha("apply", "--yes", check=True).stdout
    lab.fault("power-off", "m1")
    wait_for("m2 has it", lambda: holders(lab, "2001:db8::10") == ["m2"], timeout=10)
