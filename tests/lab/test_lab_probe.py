"""Who has an address, asked on a real wire: one, several, nobody; ARP and NDP."""

import asyncio
from collections.abc import Iterator

import pytest
from running_lab import RunningLab

from kubeha.errors import HostError
from kubeha.host import connect
from kubeha.model import Cluster, Endpoint, Node, Ssh

ADDRESSES = ("198.51.100.77", "2001:db8::77")


def probe(lab: RunningLab, name: str, interface: str, address: str) -> tuple[str, ...]:
    node = Node.model_validate({"name": name, "address": lab.machine(name).address})
    endpoint = Endpoint.model_validate({"vip": lab.vip})
    ssh = Ssh(config=str(lab.place / "ssh_config"))
    cluster = Cluster(cluster="lab", endpoint=endpoint, control_plane=(node,), ssh=ssh)

    async def main() -> tuple[str, ...]:
        async with connect(cluster, node) as host:
            return await host.arp_probe(interface, address)

    return asyncio.run(main())


def mac(lab: RunningLab, name: str) -> str:
    return lab.machine(name).execute(["cat", "/sys/class/net/eth0/address"]).stdout.strip()


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, machines: RunningLab) -> Iterator[str]:
    """An address that nobody has yet, and nobody has afterwards."""
    yield request.param
    for machine in machines.machines:
        machine.execute(["ip", "address", "delete", request.param, "dev", "eth0"], check=False)


def give(lab: RunningLab, name: str, address: str) -> None:
    """Put the address on a machine, quietly: nothing is announced, and IPv6 does not look."""
    quiet = ["nodad"] if ":" in address else []
    lab.machine(name).execute(["ip", "address", "add", address, "dev", "eth0", *quiet])


def test_nobody_then_one_then_two(machines: RunningLab, address: str) -> None:
    assert probe(machines, "c1", "eth0", address) == ()
    give(machines, "m2", address)
    assert probe(machines, "c1", "eth0", address) == (mac(machines, "m2"),)
    give(machines, "m3", address)
    both = tuple(sorted((mac(machines, "m2"), mac(machines, "m3"))))
    assert probe(machines, "c1", "eth0", address) == both
    # A holder sees the other one, and not itself.
    assert probe(machines, "m3", "eth0", address) == (mac(machines, "m2"),)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_interface_that_is_not_there(machines: RunningLab, address: str) -> None:
    with pytest.raises(HostError, match="c1: eth7: ") as caught:
        probe(machines, "c1", "eth7", address)
    assert caught.value.kind == "probe"
