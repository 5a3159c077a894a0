"""What is on a lab's wire, seen from a machine with sockets of our own and its kernel's tables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from running_lab import RunningLab

# Whole frames, so before any firewall: what the cable carries.
_CABLE = """
import json, socket, struct, sys, time
deadline = time.monotonic() + float(sys.argv[1])
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.bind(("eth0", 0))
while (left := deadline - time.monotonic()) > 0:
    tap.settimeout(left)
    try:
        frame, where = tap.recvfrom(2048)
    except TimeoutError:
        break
    kind, packet = struct.unpack("!H", frame[12:14])[0], frame[14:]
    if where[2] == socket.PACKET_OUTGOING:
        continue
    if kind == 0x800 and packet[9] == 112:
        size, source = packet[0] % 16 * 4, socket.inet_ntoa(packet[12:16])
        vrrp, family, width = packet[size:], socket.AF_INET, 4
    elif kind == 0x86DD and packet[6] == 112:
        source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
        vrrp, family, width = packet[40:], socket.AF_INET6, 16
    else:
        continue
    start = 8
    vips = [socket.inet_ntop(family, vrrp[start + width * n:][:width]) for n in range(vrrp[3])]
    seen = {"mac": ":".join(f"{byte:02x}" for byte in frame[6:12]), "source": source}
    seen |= {"version": vrrp[0] >> 4, "vrid": vrrp[1], "priority": vrrp[2], "vips": vips}
    print(json.dumps(seen), flush=True)
"""

# A socket of the protocol itself, behind the firewall: what a program of the machine gets.
_PROTOCOL = """
import json, socket, struct, sys, time
deadline = time.monotonic() + float(sys.argv[1])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
group = socket.inet_aton("224.0.0.18") + socket.inet_aton(sys.argv[2])
raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
while (left := deadline - time.monotonic()) > 0:
    raw.settimeout(left)
    try:
        print(json.dumps(raw.recvfrom(2048)[1][0]), flush=True)
    except TimeoutError:
        break
"""


@dataclass(frozen=True)
class Advert:
    """A VRRP advertisement as it was on the cable."""

    mac: str
    source: str
    version: int
    vrid: int
    priority: int
    vips: tuple[str, ...]


def adverts(lab: RunningLab, machine: str, seconds: float = 2.5) -> list[Advert]:
    """Every advertisement that reaches the machine's network card."""
    lines = _python(lab, machine, _CABLE, [str(seconds)])
    return [Advert(**{**each, "vips": tuple(each["vips"])}) for each in map(json.loads, lines)]


def vrrp_sources(lab: RunningLab, machine: str, seconds: float = 2.5) -> set[str]:
    """Whose VRRP packets get through the machine's firewall."""
    address = lab.machine(machine).address
    return set(map(json.loads, _python(lab, machine, _PROTOCOL, [str(seconds), address])))


def mac_of(lab: RunningLab, machine: str, address: str) -> str:
    """The MAC address that a machine's kernel finds for an address now; '' if nobody answers."""
    inside = lab.machine(machine)
    inside.execute(["ip", "neigh", "flush", "to", address, "dev", "eth0"], check=False)
    ping(lab, machine, address)
    shown = inside.execute(["ip", "-j", "neigh", "show", "to", address, "dev", "eth0"]).stdout
    return "".join(each.get("lladdr", "") for each in json.loads(shown or "[]"))


def ping(lab: RunningLab, machine: str, address: str, *options: str, count: int = 1) -> int:
    """How many of so many pings are answered, each within a second."""
    command = ["ping", "-c", str(count), "-i", "0.02", "-W", "1", *options, address]
    said = lab.machine(machine).execute(command, check=False).stdout
    return said.count(" bytes from ")


def card(lab: RunningLab, machine: str, interface: str = "eth0") -> str:
    """The MAC address of a machine's own network card."""
    place = f"/sys/class/net/{interface}/address"
    return lab.machine(machine).execute(["cat", place]).stdout.strip()


def _python(lab: RunningLab, machine: str, program: str, words: Sequence[str]) -> list[str]:
    done = lab.machine(machine).execute(["python3", "-c", program, *words])
    return done.stdout.splitlines()
