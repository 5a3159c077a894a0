"""Machines cut off from their gateway, VRRP that does not pass, and strangers who do mischief."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wiretap
from running_lab import RunningLab, wait_for

from kubeha.lab import rogue_vrrp
from kubeha.lab.lab import GATEWAY, GATEWAY6

ROGUE, FLOOD = "198.51.100.92", "198.51.100.93"


@pytest.fixture(autouse=True)
def healed(machines: RunningLab) -> Iterator[None]:
    """Whatever a test has broken is whole again afterwards."""
    yield
    machines.heal()


def pings(lab: RunningLab, machine: str, *addresses: str) -> list[bool]:
    return [wiretap.ping(lab, machine, address) == 1 for address in addresses]


def test_every_machine_has_the_gateway_and_it_leads_nowhere(machines: RunningLab) -> None:
    for name in ("m1", "c1"):
        assert pings(machines, name, GATEWAY, GATEWAY6) == [True, True]
        for family, way in (("-4", GATEWAY), ("-6", GATEWAY6)):
            routes = machines.machine(name).execute(["ip", family, "route", "show", "default"])
            assert routes.stdout.startswith(f"default via {way} dev eth0")
        for nowhere in ("192.0.2.1", "2001:db8:1::1"):
            said = machines.machine(name).execute(["ping", "-c1", "-W5", nowhere], check=False)
            assert "nreachable" in said.stdout, "nobody has to wait for what is not there"


def test_isolated_is_cut_off_from_gateway_and_nodes_but_not_from_clients(
    machines: RunningLab,
) -> None:
    m2 = machines.machine("m2")
    machines.fault("isolate", "m1")
    assert pings(machines, "m1", GATEWAY, GATEWAY6, m2.address, m2.address6) == [False] * 4
    assert pings(machines, "m2", GATEWAY, machines.machine("m3").address) == [True, True]
    assert machines.answers("m1", seen_from="c1")
    assert machines.ssh("m1", "hostname").strip() == "m1"
    machines.heal()
    everybody = (GATEWAY, GATEWAY6, m2.address, m2.address6)
    # A neighbour that did not answer is asked for again only after a second.
    wait_for("m1 reaches all again", lambda: all(pings(machines, "m1", *everybody)), timeout=20)


def heard(lab: RunningLab, speaker: str, listener: str, vip: str, to: str = "") -> bool:
    """Whether VRRP from one machine (by multicast, or to an address) is on the other's cable."""
    source = lab.machine(speaker).address
    if ":" in vip:
        shown = lab.machine(speaker).execute(["ip", "-6", "-o", "addr", "show", "scope", "link"])
        source = shown.stdout.split("inet6 ")[1].split("/")[0]
    program = Path(rogue_vrrp.__file__).read_text()
    words = ["2", "0.1", "3", "10", "100", source, vip, *([to] if to else [])]
    with ThreadPoolExecutor() as pool:
        speaking = pool.submit(lab.machine(speaker).execute, ["python3", "-c", program, *words])
        seen = wiretap.adverts(lab, listener, 1.0)
        speaking.result()
    return source in {advert.source for advert in seen}


@pytest.mark.parametrize(
    ("vip", "unicast"),
    [("198.51.100.99", False), ("198.51.100.99", True), ("2001:db8::99", False)],
    ids=["multicast", "unicast", "ipv6"],
)
def test_vrrp_is_blocked_between_two_machines_and_nothing_else(
    machines: RunningLab, vip: str, unicast: bool
) -> None:
    addresses = {each.name: each.address for each in machines.machines}
    machines.fault("block-vrrp", "m1", "m2")
    for speaker, listener, passes in (("m1", "m2", False), ("m2", "m1", False), ("m1", "m3", True)):
        to = addresses[listener] if unicast else ""
        assert heard(machines, speaker, listener, vip, to) is passes
    assert pings(machines, "m1", addresses["m2"]) == [True]
    machines.heal("m1")
    assert heard(machines, "m1", "m2", vip, addresses["m2"] if unicast else "")


@pytest.mark.parametrize("vip", ["198.51.100.99", "2001:db8::99"])
def test_a_rogue_speaks_to_every_node_by_unicast(machines: RunningLab, vip: str) -> None:
    machines.fault("rogue-vrrp", "to=unicast", "priority=255", "interval=0.1", f"vip={vip}")
    source = ROGUE if "." in vip else "fe80::92"
    for name in ("m1", "m3"):
        seen = {(each.source, each.priority) for each in wiretap.adverts(machines, name, 0.5)}
        assert seen == {(source, 255)}
    assert wiretap.adverts(machines, "c1", 0.5) == []


def test_a_flood_of_idle_connections_lasts_until_it_is_healed(machines: RunningLab) -> None:
    m1 = machines.machine("m1")
    machines.fault("idle-flood", "connections=5", f"vip={m1.address}", "port=22")

    def established() -> int:
        shown = m1.execute(["ss", "-Htn", "state", "established", "dst", FLOOD])
        return len(shown.stdout.splitlines())

    wait_for("five are open", lambda: established() == 5, timeout=10)
    # One that the machine ends is opened again.
    m1.execute(["sh", "-c", f"ss -K dst {FLOOD} || pkill -f 'sshd: .*net'"], check=False)
    wait_for("five are open again", lambda: established() == 5, timeout=10)
    machines.heal()
    wait_for("none is open", lambda: established() == 0, timeout=10)
