"""The lab's network: a bridge in a namespace of its own, a namespace per machine, veth between.

Because the bridge is in a namespace, this box's own firewall, forwarding and Docker do not touch
the lab, and nothing of the lab reaches a real network. The operator is at the bridge itself.
"""

from collections.abc import Iterable
from pathlib import Path

from kubeha.lab.lab import BRIDGE, OPERATOR, OPERATOR6, Lab
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

NETNS = Path("/run/netns")

# Partitions are cut in the bridge, so machines of one group go on seeing each other. See nft(8),
# BRIDGE ADDRESS FAMILY; input and output are the bridge's own (the operator's) traffic.
_PARTITION = """\
add table bridge kubeha
delete table bridge kubeha
table bridge kubeha {{
  chain forward {{ type filter hook forward priority 0; {forward} }}
  chain input {{ type filter hook input priority 0; {input} }}
  chain output {{ type filter hook output priority 0; {output} }}
}}
"""


def create_lan(lab: Lab) -> None:
    """The namespace with the bridge and the operator's addresses."""
    run(["ip", "netns", "add", lab.lan])
    _batch(
        lab.lan,
        "link set lo up",
        # No spanning tree and no forwarding delay: a link that is up carries traffic at once.
        f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {BRIDGE} up",
        f"addr add {OPERATOR}/24 dev {BRIDGE}",
        f"addr add {OPERATOR6}/64 dev {BRIDGE} nodad",
    )


def connect(lab: Lab, machine: Machine) -> None:
    """Give a machine a fresh namespace with eth0 in the lab's bridge.

    Fresh at every boot: a machine that was switched off has forgotten addresses, neighbours,
    sysctls and connections, which a namespace would keep.
    """
    disconnect(lab, machine)
    run(["ip", "netns", "add", machine.namespace])
    port, mac = machine.name, hardware_address(machine)
    _batch(
        lab.lan,
        f"link add {port} type veth peer name eth0 address {mac} netns {machine.namespace}",
        f"link set {port} master {BRIDGE}",
        f"link set {port} up",
    )
    _batch(
        machine.namespace,
        "link set lo up",
        f"addr add {machine.address}/24 dev eth0",
        f"addr add {machine.address6}/64 dev eth0 nodad",
        "link set eth0 up",
    )


def disconnect(lab: Lab, machine: Machine) -> None:
    """Remove a machine's namespace and veth, as far as they exist."""
    # The link by name first: a namespace lives on while any process is in it, and with it eth0.
    run(["ip", "-n", lab.lan, "link", "delete", machine.name], check=False)
    remove_namespace(machine.namespace)


def remove_namespace(name: str) -> None:
    """Remove a network namespace of ours; it may be gone already."""
    if (NETNS / name).exists():
        run(["ip", "netns", "delete", name])


def set_link(lab: Lab, machine: Machine, *, up: bool) -> None:
    """Plug the machine's cable in or out, at the bridge: eth0 loses its carrier."""
    run(["ip", "-n", lab.lan, "link", "set", machine.name, "up" if up else "down"])


def set_partitions(lab: Lab, groups: Iterable[Iterable[str]]) -> None:
    """Cut each group of machines off from everything outside it; replaces what was cut before."""
    run(["ip", "netns", "exec", lab.lan, "nft", "-f", "-"], input=partition_rules(groups))


def partition_rules(groups: Iterable[Iterable[str]]) -> str:
    """The nft script which makes these the only partitions, in one transaction."""
    forward, inward, outward = [], [], []
    for group in groups:
        ports = "{ " + ", ".join(f'"{name}"' for name in sorted(group)) + " }"
        forward.append(f"iifname {ports} oifname != {ports} drop;")
        forward.append(f"iifname != {ports} oifname {ports} drop;")
        inward.append(f"iifname {ports} drop;")
        outward.append(f"oifname {ports} drop;")
    return _PARTITION.format(
        forward=" ".join(forward), input=" ".join(inward), output=" ".join(outward)
    )


def hardware_address(machine: Machine) -> str:
    """A machine keeps its MAC address over boots; locally administered (IEEE 802, bit 1)."""
    number = int(machine.address.rsplit(".", 1)[1])
    return f"02:00:00:{machine.lab_id[:2]}:{machine.lab_id[2:4]}:{number:02x}"


def _batch(namespace: str, *commands: str) -> None:
    """Several ip(8) commands in a namespace, stopping at the first that fails."""
    run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands) + "\n")
