"""How each fault is done on a user's own machine, and how it is undone there. Pure.

Everything is an argument list or one of the few constant lines of shell below; what comes from the
cluster file is handed to them as arguments. A fault and its healing may be repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubeha.model import IPAddress

# How the names of our transient timers begin (each strike has its own), and our nftables table.
UNIT = "kubeha-drill-"
TABLE = "kubeha_drill"

SYSRQ = "/proc/sysrq-trigger"
HAPROXY, KEEPALIVED = "haproxy.service", "keepalived.service"
_APISERVER = "kube-apiserver"

# Done without asking: each is what any reboot, upgrade or firewall mistake does, and heals itself.
SAFE = (
    "stop-keepalived",
    "kill-keepalived",
    "kill-keepalived-parent",
    "kill-keepalived-child",
    "stop-haproxy",
    "kill-haproxy",
    "drain",
    "block-vrrp",
)
DANGEROUS = (
    "hang-haproxy",
    "hang-keepalived",
    "power-off",
    "link-down",
    "kill-apiserver",
    "hang-apiserver",
)
BY_SSH = (*SAFE, *DANGEROUS)


@dataclass(frozen=True)
class Target:
    """Where a fault strikes: the node's interface, the addresses of peers to block, the VIP."""

    interface: str = ""
    peers: "tuple[IPAddress, ...]" = ()
    vip: str = ""


@dataclass(frozen=True)
class Blow:
    """What node/strike.py is asked to do, and the command that undoes it (None: nothing to undo).

    The command ends well when there is nothing (left) to undo.
    """

    blows: tuple[dict[str, Any], ...]
    heal: tuple[str, ...] | None


def blow(fault: str, target: Target) -> Blow:
    """How to do it over SSH. KeyError for what only a lab can do."""
    return _MAKERS[fault](target)


def _sh(line: str, *arguments: str) -> tuple[str, ...]:
    """A constant line of shell; `arguments` are its $1, $2."""
    return ("/bin/sh", "-c", line, "kubeha", *arguments)


def _started(unit: str) -> tuple[str, ...]:
    return _sh('systemctl reset-failed "$1" 2>/dev/null; systemctl start "$1"', unit)


def _stop(unit: str) -> Blow:
    return Blow(({"run": ["systemctl", "stop", unit]},), _started(unit))


def _kill(unit: str, whom: str) -> Blow:
    return Blow(({"signal": "KILL", "unit": unit, "whom": whom},), _started(unit))


def _hang(unit: str, whom: str) -> Blow:
    # To all of the unit: a process that runs takes no harm. One that has ended is started.
    line = 'systemctl kill --signal=SIGCONT "$1" 2>/dev/null; systemctl start "$1"'
    return Blow(({"signal": "STOP", "unit": unit, "whom": whom},), _sh(line, unit))


def _block(target: Target) -> Blow:
    """Drop protocol 112 from and to the peers, in a table of our own."""
    family = "ip6" if any(each.version == 6 for each in target.peers) else "ip"
    peers = ", ".join(str(each) for each in target.peers)
    rules = {"input": "saddr", "output": "daddr"}
    chains = "".join(
        f"  chain {hook} {{ type filter hook {hook} priority -300;"
        f" {family} {side} {{ {peers} }} meta l4proto 112 drop; }}\n"
        for hook, side in rules.items()
    )
    return _table(f"table inet {TABLE} {{\n{chains}}}\n")


def _table(text: str) -> Blow:
    gone = "for f in inet arp; do nft delete table $f kubeha_drill 2>/dev/null; done; :"
    return Blow(({"run": ["nft", "-f", "-"], "input": text},), _sh(gone))


def _link_down(target: Target) -> Blow:
    """The kernel forgets the routes and the static IPv6 addresses of an interface that goes down:
    both are kept, but for the VIP, which keepalived sets. Addresses come back before routes.
    """
    keep = (
        "for f in 4 6; do ip -$f route save table main >/run/kubeha-drill.$f; done;"
        ' ip -6 -o address show dev "$1" scope global permanent'
        " | while read -r _ _ _ address _; do"
        ' [ "${address%/*}" = "$2" ] || echo "$address"; done >/run/kubeha-drill.addresses; :'
    )
    back = (
        'ip link set dev "$1" up;'
        " [ ! -f /run/kubeha-drill.addresses ] || while read -r address; do"
        ' ip -6 address add "$address" dev "$1" nodad 2>/dev/null;'
        " done </run/kubeha-drill.addresses; rm -f /run/kubeha-drill.addresses;"
        " for f in 4 6; do [ ! -s /run/kubeha-drill.$f ]"
        " || ip -$f route restore </run/kubeha-drill.$f 2>/dev/null;"
        " rm -f /run/kubeha-drill.$f; done; :"
    )
    down = ["ip", "link", "set", "dev", target.interface, "down"]
    kept = list(_sh(keep, target.interface, target.vip))
    return Blow(({"run": kept}, {"run": down}), _sh(back, target.interface))


def _drain(_: Target) -> Blow:
    """The move itself is that of `kubeha handover` (see `striking`): it leaves nothing to undo."""
    return Blow((), None)


def _apiserver(signal: str) -> Blow:
    """By the program's name: it is a static pod here, a unit of systemd there.

    Whoever runs it (the kubelet, systemd) starts a killed one again.
    """
    heal = _sh('pkill -CONT -x "$1" || :', _APISERVER) if signal == "STOP" else None
    return Blow(({"signal": signal, "program": _APISERVER},), heal)


_MAKERS: dict[str, Callable[[Target], Blow]] = {
    "stop-keepalived": lambda _: _stop(KEEPALIVED),
    "kill-keepalived": lambda _: _kill(KEEPALIVED, "all"),
    "kill-keepalived-parent": lambda _: _kill(KEEPALIVED, "main"),
    "kill-keepalived-child": lambda _: _kill(KEEPALIVED, "workers"),
    "hang-keepalived": lambda _: _hang(KEEPALIVED, "all"),
    "stop-haproxy": lambda _: _stop(HAPROXY),
    "kill-haproxy": lambda _: _kill(HAPROXY, "all"),
    "hang-haproxy": lambda _: _hang(HAPROXY, "workers"),
    "drain": _drain,
    "block-vrrp": _block,
    "link-down": _link_down,
    # Crash and boot: the kernel's own way, without a last packet of any program.
    "power-off": lambda _: Blow(({"sysrq": "b", "file": SYSRQ},), None),
    "kill-apiserver": lambda _: _apiserver("KILL"),
    "hang-apiserver": lambda _: _apiserver("STOP"),
}
