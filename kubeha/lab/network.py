"""The lab's network: a bridge in a namespace of its own, a namespace per machine, veth between.

Because the bridge is in a namespace, this box's own firewall, forwarding and Docker do not touch
the lab, and nothing of the lab reaches a real network. The operator is at the bridge itself.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from kubeha.lab.lab import BRIDGE, GATEWAY, GATEWAY6, OPERATOR, OPERATOR6, OPERATOR_NUMBER, Lab
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

NETNS = Path("/run/netns")

VRRP_ALONE = "meta l4proto 112"

# Partitions are cut in the bridge, so machines of one group go on seeing each other, and what is
# lost is lost before the machine's own kernel can see it. See nft(8), BRIDGE ADDRESS FAMILY; input
# and output are the bridge's own (the operator's) traffic, postrouting is all that leaves a port.
_RULES = """\
add table bridge kubeha
delete table bridge kubeha
table bridge kubeha {{
  chain forward {{ type filter hook forward priority 0; {forward} }}
  chain input {{ type filter hook input priority 0; {input} }}
  chain output {{ type filter hook output priority 0; {output} }}
  chain postrouting {{ type filter hook postrouting priority 0; {loss} }}
}}
"""


@dataclass(frozen=True)
class Cut:
    """Two sets of ports between which nothing passes, in either direction.

    A port may be in both. `only`: the packets that are meant, in the words of nft(8).
    """

    some: Collection[str]
    others: Collection[str]
    only: str = ""


def create_lan(lab: Lab) -> None:
    """The namespace with the bridge and the operator's addresses."""
    run(["ip", "netns", "add", lab.lan])
    batch(
        lab.lan,
        "link set lo up",
        # No spanning tree and no forwarding delay: a link that is up carries traffic at once.
        # With an address of its own: else it takes one from its ports, another one with each port.
        f"link add {BRIDGE} address {made_up_mac(lab.id, OPERATOR_NUMBER)} type bridge"
        " stp_state 0 forward_delay 0 mcast_snooping 0",
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
    plug(lab, machine.namespace, port=machine.name, mac=hardware_address(machine))
    batch(
        machine.namespace,
        "link set lo up",
        f"addr add {machine.address}/24 dev eth0",
        f"addr add {machine.address6}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {GATEWAY} dev eth0",
        f"route add ::/0 via {GATEWAY6} dev eth0",
    )


def plug(lab: Lab, namespace: str, *, port: str, mac: str, interface: str = "eth0") -> None:
    """Give a namespace an interface (down, without address) whose cable is in the lab's bridge."""
    batch(
        lab.lan,
        f"link add {port} type veth peer name {interface} address {mac} netns {namespace}",
        f"link set {port} master {BRIDGE}",
        f"link set {port} up",
    )


def unplug(lab: Lab, port: str) -> None:
    """Remove a cable with both of its ends; it may be gone already."""
    run(["ip", "-n", lab.lan, "link", "delete", port], check=False)


def disconnect(lab: Lab, machine: Machine) -> None:
    """Remove a machine's namespace and veth, as far as they exist."""
    # The link by name first: a namespace lives on while any process is in it, and with it eth0.
    unplug(lab, machine.name)
    remove_namespace(machine.namespace)


def remove_namespace(name: str) -> None:
    """Remove a network namespace of ours; it may be gone already."""
    if (NETNS / name).exists():
        run(["ip", "netns", "delete", name])


def set_link(lab: Lab, machine: Machine, *, up: bool) -> None:
    """Plug the machine's cable in or out, at the bridge: eth0 loses its carrier."""
    run(["ip", "-n", lab.lan, "link", "set", machine.name, "up" if up else "down"])


def set_rules(
    lab: Lab,
    partitions: Iterable[Collection[str]],
    losses: Mapping[str, int] = MappingProxyType({}),
    cuts: Iterable[Cut] = (),
) -> None:
    """What the bridge drops, and nothing else from now on.

    Each group of `partitions` is cut off from everything outside it; `losses`: machine -> percent
    of all that is sent to it.
    """
    nft(lab.lan, bridge_rules(partitions, losses, cuts))


def bridge_rules(
    partitions: Iterable[Collection[str]], losses: Mapping[str, int], cuts: Iterable[Cut] = ()
) -> str:
    """The nft script which makes the bridge drop this alone, in one transaction."""
    forward, inward, outward = [], [], []
    for cut in cuts:
        some, others = _ports(cut.some), _ports(cut.others)
        forward.append(f"iifname {some} oifname {others} {cut.only} drop;")
        forward.append(f"iifname {others} oifname {some} {cut.only} drop;")
    for group in partitions:
        ports = _ports(group)
        forward.append(f"iifname {ports} oifname != {ports} drop;")
        forward.append(f"iifname != {ports} oifname {ports} drop;")
        inward.append(f"iifname {ports} drop;")
        outward.append(f"oifname {ports} drop;")
    # nft compares such a number with 0 to 99 only, so all is lost by two rules.
    lost = (
        f'oifname "{name}" numgen random mod 100 < {min(percent, 99)} drop;'
        + (f' oifname "{name}" drop;' if percent > 99 else "")
        for name, percent in sorted(losses.items())
    )
    return _RULES.format(
        forward=" ".join(forward),
        input=" ".join(inward),
        output=" ".join(outward),
        loss=" ".join(lost),
    )


def _ports(names: Collection[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in sorted(names)) + " }"


def hardware_address(machine: Machine) -> str:
    """A machine keeps its MAC address over boots."""
    return made_up_mac(machine.lab_id, int(machine.address.rsplit(".", 1)[1]))


def made_up_mac(lab_id: str, number: int, kind: int = 0) -> str:
    """A MAC address that is one's own; locally administered (IEEE 802, bit 1)."""
    return f"02:00:{kind:02x}:{lab_id[:2]}:{lab_id[2:4]}:{number:02x}"


def batch(namespace: str, *commands: str) -> None:
    """Several ip(8) commands in a namespace, stopping at the first that fails."""
    run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands) + "\n")


def nft(namespace: str, script: str) -> None:
    """Run an nft(8) script in a namespace, as one transaction."""
    run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], input=script)
