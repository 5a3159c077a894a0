"""Strangers on the lab's segment: hosts which are no machines of the lab and do no good.

A stranger is a network namespace in the bridge, with a kernel that answers ARP, NDP and pings for
its addresses, and at most one program.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeha.lab import cgroup, detached, network
from kubeha.lab.journal import Entry, Journal
from kubeha.lab.lab import Lab
from kubeha.lab.process import run

# The second byte that distinguishes a stranger's MAC address from those of machines.
_KIND = 0x66


@dataclass(frozen=True)
class Stranger:
    """`name` is that of its port in the bridge (at most 15 characters), `number` ends its MAC."""

    lab_id: str
    name: str
    number: int

    @property
    def namespace(self) -> str:
        return f"kubeha-{self.lab_id}-{self.name}"

    @property
    def mac(self) -> str:
        return network.made_up_mac(self.lab_id, self.number, _KIND)

    @property
    def unit(self) -> str:
        """Name of its program's unit where systemd runs this box."""
        return f"kubeha-{self.lab_id}-{self.name}.service"

    @property
    def group(self) -> Path:
        """Control group of its program."""
        top = cgroup.mount_point()
        if cgroup.systemd_runs_here():
            return top / "system.slice" / self.unit
        return top / f"kubeha-{self.lab_id}" / self.name


def bring(lab: Lab, stranger: Stranger, addresses: Sequence[str]) -> None:
    """Put a stranger with these addresses (with prefix length) on the segment, anew if it is there.

    It announces nothing by itself: whoever knows better already notices nothing.
    """
    remove(lab, stranger)
    _record(lab, Entry("namespace", stranger.namespace))
    run(["ip", "netns", "add", stranger.namespace])
    network.plug(lab, stranger.namespace, port=stranger.name, mac=stranger.mac)
    # No duplicate address detection, which would keep an IPv6 address that is taken from working.
    added = (f"addr add {each} dev eth0{' nodad' if ':' in each else ''}" for each in addresses)
    network.batch(stranger.namespace, "link set lo up", *added, "link set eth0 up")


def execute(lab: Lab, stranger: Stranger, command: Sequence[str]) -> None:
    """Start the stranger's program; its output goes to the lab's logs."""
    entries = [Entry("group", str(stranger.group))]
    if cgroup.systemd_runs_here():
        entries.append(Entry("unit", stranger.unit))
    _record(lab, *entries)
    inside = ["ip", "netns", "exec", stranger.namespace, *command]
    log = lab.logs.resolve() / f"{stranger.name}.log"
    detached.start(inside, unit=stranger.unit, group=stranger.group, log=log)


def remove(lab: Lab, stranger: Stranger) -> None:
    """Take a stranger away with its program; it may be gone already."""
    cgroup.kill(stranger.group)
    if not cgroup.systemd_runs_here():
        cgroup.remove(stranger.group)
    network.unplug(lab, stranger.name)
    network.remove_namespace(stranger.namespace)


def _record(lab: Lab, *entries: Entry) -> None:
    """Into the lab's journal before it is made, so that `lab down` takes it away in any case."""
    Journal((lab.directory / "journal").resolve()).record(*entries)
