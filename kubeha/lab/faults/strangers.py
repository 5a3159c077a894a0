"""Faults that come from outside: hosts on the segment which take or announce what is not theirs."""

import sys

from kubeha.lab import idle_flood, network, rogue_vrrp, stranger
from kubeha.lab.faults.kind import MachineFault, SegmentFault
from kubeha.lab.faults.settings import (
    Setting,
    Settings,
    address,
    one_of,
    port,
    seconds,
    vip,
    vrid,
    whole,
)
from kubeha.lab.lab import BRIDGE, PREFIX, PREFIX6, Lab
from kubeha.lab.machine import Machine
from kubeha.lab.process import run
from kubeha.lab.stranger import Stranger

# Last bytes of the strangers' own addresses, between those of machines and clients.
THIEF, ROGUE, FLOOD = 91, 92, 93
_ROGUE_LINK_LOCAL = f"fe80::{ROGUE}"
_ROGUE_VIP = f"{PREFIX}.99"
# A program that everybody has forgotten ends by itself.
_LIFETIME = 3600  # seconds


def _steal_vip(lab: Lab, settings: Settings) -> None:
    stranger.bring(lab, _thief(lab), [*_own_addresses(THIEF), _with_prefix(settings["vip"])])


def _give_vip_back(lab: Lab) -> None:
    stranger.remove(lab, _thief(lab))


def _speak_vrrp(lab: Lab, settings: Settings) -> None:
    who = _rogue(lab)
    # Over IPv6, VRRP comes from a link-local address (RFC 9568, 5.1.2.1).
    source = _ROGUE_LINK_LOCAL if ":" in settings["vip"] else f"{PREFIX}.{ROGUE}"
    stranger.bring(lab, who, [*_own_addresses(ROGUE), f"{_ROGUE_LINK_LOCAL}/64"])
    words = [settings[key] for key in ("interval", "version", "vrid", "priority")]
    words += [source, settings["vip"], *_listeners(lab, settings)]
    stranger.execute(lab, who, _program(rogue_vrrp.__file__, *words))


def _listeners(lab: Lab, settings: Settings) -> list[str]:
    """Whom the rogue speaks to; nobody means the group."""
    if settings["to"] == "multicast":
        return []
    return [m.address6 if ":" in settings["vip"] else m.address for m in lab.control_plane]


def _silence(lab: Lab) -> None:
    stranger.remove(lab, _rogue(lab))


def _flood(lab: Lab, settings: Settings) -> None:
    who = _idler(lab)
    stranger.bring(lab, who, _own_addresses(FLOOD))
    words = [settings[key] for key in ("connections", "rate", "vip", "port")]
    stranger.execute(lab, who, _program(idle_flood.__file__, *words))


def _ebb(lab: Lab) -> None:
    stranger.remove(lab, _idler(lab))


def _duplicate(lab: Lab, machine: Machine, _: Settings) -> None:
    # The operator goes on reaching the machine itself, or nobody could look at what is wrong.
    mac = network.hardware_address(machine)
    addresses = (machine.address, machine.address6)
    network.batch(
        lab.lan,
        *(f"neigh replace {each} lladdr {mac} dev {BRIDGE} nud permanent" for each in addresses),
    )
    stranger.bring(lab, _double(lab, machine), [_with_prefix(each) for each in addresses])


def _single(lab: Lab, machine: Machine) -> None:
    stranger.remove(lab, _double(lab, machine))
    for each in (machine.address, machine.address6):
        forget = ["ip", "-n", lab.lan, "neigh", "delete", each, "dev", BRIDGE]
        run(forget, check=False)


def _thief(lab: Lab) -> Stranger:
    return Stranger(lab.id, "vip-stolen", THIEF)


def _rogue(lab: Lab) -> Stranger:
    return Stranger(lab.id, "rogue-vrrp", ROGUE)


def _idler(lab: Lab) -> Stranger:
    return Stranger(lab.id, "idle-flood", FLOOD)


def _double(lab: Lab, machine: Machine) -> Stranger:
    return Stranger(lab.id, f"like-{machine.name}", int(machine.address.rsplit(".", 1)[1]))


def _program(file: str, *words: str) -> list[str]:
    """The command that runs one of our programs by itself, for its lifetime at most."""
    return [sys.executable, "-I", "-S", file, str(_LIFETIME), *words]


def _own_addresses(number: int) -> list[str]:
    return [f"{PREFIX}.{number}/24", f"{PREFIX6}:{number}/64"]


def _with_prefix(text: str) -> str:
    return f"{text}/{64 if ':' in text else 24}"


FAULTS: dict[str, MachineFault | SegmentFault] = {
    "vip-stolen": SegmentFault(
        "a stranger has the VIP and answers ARP and NDP for it",
        _steal_vip,
        _give_vip_back,
        {"vip": Setting("the address that it takes", address, vip)},
    ),
    "rogue-vrrp": SegmentFault(
        "a stranger advertises a virtual router with our VRID",
        _speak_vrrp,
        _silence,
        {
            "vrid": Setting("virtual router ID, 1 to 255", whole(1, 255), vrid),
            "priority": Setting("priority, 0 to 255", whole(0, 255), "150"),
            "version": Setting("VRRP version, 2 or 3", whole(2, 3), "3"),
            "to": Setting(
                "multicast, or unicast to each node", one_of("multicast", "unicast"), "multicast"
            ),
            "interval": Setting("seconds between advertisements, 0.01 to 40.95", seconds, "1"),
            "vip": Setting("the address that it advertises", address, _ROGUE_VIP),
        },
    ),
    "idle-flood": SegmentFault(
        "a stranger takes connections to the endpoint and says nothing",
        _flood,
        _ebb,
        {
            "connections": Setting("how many, 1 to 10000", whole(1, 10000), "5000"),
            "rate": Setting("new ones a second, 1 to 2000", whole(1, 2000), "1000"),
            "vip": Setting("the address that they go to", address, vip),
            "port": Setting("and the port", whole(1, 65535), port),
        },
    ),
    "duplicate-address": MachineFault(
        "a stranger has the machine's own address, too", _duplicate, _single
    ),
}
