"""Who else on a node has the VIP in its configuration: raw text -> values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubeha.model import IPAddress
from kubeha.remote import Command, Completed

_MANIFESTS = ("/etc/kubernetes/manifests", "/var/lib/rancher/k3s/server/manifests")
_NETWORK = (
    "/etc/network",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/sysconfig/network-scripts",
)
# Where each manager of floating addresses keeps them.
_MANAGERS = {
    "/var/lib/pacemaker/cib": "Pacemaker",
    "/etc/frr": "FRR",
    "/etc/ucarp": "ucarp",
    "/etc/conntrackd": "conntrackd",
}
_PLACES = (*_MANIFESTS, *_NETWORK, *_MANAGERS)
KUBE_VIP = "kube-vip"
_ANY = r"[0-9A-Fa-f.:]+"
# Lines that give this machine an address; others name a gateway, a name server, a neighbour.
_ADDRESS_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"^address\s+{_ANY}(/|\s|$)",  # interfaces(5)
        rf"\bip\s+(-\S+\s+)*a(ddr(ess)?)?\s+add\s+{_ANY}(/|\s|$)",  # interfaces(5): up ip ...
        rf"^Address\s*=\s*{_ANY}/",  # systemd.network(5)
        rf"^(-\s*|addresses\s*:.*)[\"']?{_ANY}/",  # netplan(5)
        rf"^address[0-9]+\s*=\s*{_ANY}/",  # nm-settings-keyfile(5)
        rf"^IPADDR[0-9]*\s*=\s*[\"']?{_ANY}",  # ifcfg
    )
)
COMMANDS = {"kube_vip": Command(("grep", "-rlsIF", "--", "kube-vip", *_MANIFESTS))}


def question(vip: IPAddress) -> dict[str, Command]:
    """Every line of those places with the VIP in it; nothing else of these files is read."""
    return {"vip_lines": Command(("grep", "-rsIwF", "--", str(vip), *_PLACES))}


@dataclass(frozen=True)
class Claim:
    """A line with the VIP. `manager`: who would put the address on an interface; empty: the
    system's own network configuration, as a fixed address."""

    path: str
    line: str
    manager: str


def parse(commands: Mapping[str, Completed]) -> tuple[Claim, ...]:
    """Every line that would put the VIP on an interface."""
    managed = commands.get("kube_vip")
    lines = commands.get("vip_lines")
    files = frozenset((managed.stdout if managed else "").splitlines())
    return tuple(_claims((lines.stdout if lines else "").splitlines(), files))


def _claims(lines: list[str], kube_vip: frozenset[str]) -> Iterator[Claim]:
    for text in lines:
        path, _, line = text.partition(":")
        line = line.strip()
        if line.startswith(("#", ";", "!", "//")):
            continue
        if path in kube_vip:
            yield Claim(path, line, KUBE_VIP)
        elif path.startswith(_NETWORK):
            if any(form.search(line) for form in _ADDRESS_FORMS):
                yield Claim(path, line, "")
        elif path.startswith("/etc/frr"):
            if re.search(r"\bvrrp\b", line):
                yield Claim(path, line, "FRR")
            elif line.startswith(("ip address", "ipv6 address")):
                yield Claim(path, line, "")
        else:
            yield from (
                Claim(path, line, name)
                for place, name in _MANAGERS.items()
                if path.startswith(place)
            )
