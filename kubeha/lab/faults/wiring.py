"""Faults of a machine's own network: what it hears, through how many cables, how well."""

from collections.abc import Iterator

from kubeha.errors import LabError
from kubeha.lab import gateway, network
from kubeha.lab.faults.kind import MachineFault, nothing
from kubeha.lab.faults.record import in_force
from kubeha.lab.faults.settings import Setting, Settings, whole
from kubeha.lab.lab import PREFIX, Lab
from kubeha.lab.machine import Machine

# A table beside all others: what a node's own firewall does is not touched.
_FILTER_TABLE = "inet lab_filter_vrrp"
_FILTER = f"""\
add table {_FILTER_TABLE}
delete table {_FILTER_TABLE}
table {_FILTER_TABLE} {{
  chain input {{ type filter hook input priority 0; meta l4proto 112 drop; }}
}}
"""
_NO_FILTER = f"add table {_FILTER_TABLE}\ndelete table {_FILTER_TABLE}\n"

# Second addresses of double-homed machines: above those of machines and clients.
_FIRST_SECOND = 201
_USUAL_MTU = 1500
_SECOND_KIND = 0x02


def _filter_vrrp(_: Lab, machine: Machine, __: Settings) -> None:
    network.nft(machine.namespace, _FILTER)


def _let_vrrp_in(_: Lab, machine: Machine) -> None:
    if _has_network(machine):
        network.nft(machine.namespace, _NO_FILTER)


def _second_nic(lab: Lab, machine: Machine, _: Settings) -> None:
    number = _FIRST_SECOND + lab.machines.index(machine)
    if number > 254:
        raise LabError("there are no addresses left for so many machines", node=machine.name)
    _pull_second_nic(lab, machine)
    mac = network.made_up_mac(lab.id, number, _SECOND_KIND)
    network.plug(lab, machine.namespace, port=_second_port(machine), mac=mac, interface="eth1")
    network.batch(machine.namespace, f"addr add {PREFIX}.{number}/24 dev eth1", "link set eth1 up")


def _pull_second_nic(lab: Lab, machine: Machine) -> None:
    network.unplug(lab, _second_port(machine))


def _second_port(machine: Machine) -> str:
    return f"{machine.name}-eth1"


def _set_mtu(_: Lab, machine: Machine, settings: Settings) -> None:
    network.batch(machine.namespace, f"link set eth0 mtu {settings['bytes']}")


def _usual_mtu(_: Lab, machine: Machine) -> None:
    if _has_network(machine):
        network.batch(machine.namespace, f"link set eth0 mtu {_USUAL_MTU}")


def cuts(lab: Lab) -> Iterator[network.Cut]:
    """What the record of faults says that the bridge does not pass on between ports."""
    for each in in_force(lab, "block-vrrp"):
        yield network.Cut(each.machines, each.machines, network.VRRP_ALONE)
    for each in in_force(lab, "isolate"):
        for name in each.machines:
            peers = {node.name for node in lab.control_plane} - {name}
            yield network.Cut({name}, {gateway.PORT, *peers})


def _has_network(machine: Machine) -> bool:
    """Not while the machine is off: at its next boot everything is as usual."""
    return (network.NETNS / machine.namespace).exists()


FAULTS = {
    "loss": MachineFault(
        "lose some of the packets that are sent to a machine",
        nothing,
        nothing,
        {"percent": Setting("percent of the packets, 1 to 100", whole(1, 100), "30")},
    ),
    "filter-vrrp": MachineFault(
        "a firewall on the machine drops the VRRP packets that come in",
        _filter_vrrp,
        _let_vrrp_in,
        of_the_network=True,
    ),
    "block-vrrp": MachineFault(
        "drop VRRP between the machines named, both ways, and nothing else",
        nothing,
        nothing,
        least=2,
    ),
    "isolate": MachineFault(
        "cut a machine off from the gateway and the other nodes, not from clients",
        nothing,
        nothing,
    ),
    "second-nic": MachineFault(
        "a second network card in the same segment, with its own address",
        _second_nic,
        _pull_second_nic,
        of_the_network=True,
    ),
    "mtu": MachineFault(
        "another MTU on the machine's network card than on all others",
        _set_mtu,
        _usual_mtu,
        {"bytes": Setting("the MTU, 1280 to 9000", whole(1280, 9000), "9000")},
        of_the_network=True,
    ),
}
