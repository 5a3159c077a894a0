"""The lab's faults for `kubeha drill`: what only a lab can do, and what it does faster."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kubeha.drills.blows import BY_SSH
from kubeha.errors import LabError

if TYPE_CHECKING:
    from kubeha.drill import Blow, Victims
    from kubeha.drills.catalogue import Fault
    from kubeha.lab.lab import Lab
    from kubeha.striking import Striker

# What a lab does better than SSH, from outside; all else is done as on a user's machines.
OUTSIDE = ("power-off", "link-down")
# Faults that the lab knows by another name; settings that a drill gives them.
NAMES = {
    "host-vanishes": "power-off",
    "power-cycle-all": "power-off",
    "fail-all-readyz": "fail-readyz",
    "rogue-vrrp-unicast": "rogue-vrrp",
}
_ROGUE = {"priority": "255", "interval": "0.1"}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rogue-vrrp": _ROGUE,
    "rogue-vrrp-unicast": {**_ROGUE, "to": "unicast"},
}


class LabInjector:
    """Breaks the lab's machines from outside; what the lab does not know, over SSH."""

    def __init__(self, lab: "Lab", striker: "Striker") -> None:
        self._lab = lab
        self._striker = striker
        self._struck: str | None = None

    @staticmethod
    def knows(fault: str) -> bool:
        from kubeha.lab.faults import FAULTS

        return NAMES.get(fault, fault) in FAULTS

    async def strike(self, fault: "Fault", victims: "Victims") -> "Blow":
        from kubeha.drill import Blow

        if fault.name in BY_SSH and fault.name not in OUTSIDE or not self.knows(fault.name):
            return await self._striker.strike(fault, victims)
        self._struck = NAMES.get(fault.name, fault.name)
        begun = time.time()
        fell = await asyncio.to_thread(self._inject, fault.name, victims)
        # Several machines are struck one after the other.
        return Blow(begun if len(victims.nodes) > 1 else fell, fell)

    def _inject(self, name: str, victims: "Victims") -> float:
        from kubeha.lab import faults

        machines = [self._lab.machine(node.name) for node in victims.nodes]
        known = NAMES.get(name, name)
        faults.inject(self._lab, known, machines, SETTINGS.get(name, {}))
        return max(each.since for each in faults.active(self._lab) if each.fault == known)

    async def heal(self) -> float:
        if self._struck is None:
            return await self._striker.heal()
        begun = await asyncio.to_thread(self._heal, self._struck)
        self._struck = None
        return begun

    def _heal(self, struck: str) -> float:
        from kubeha.lab import faults, lifecycle

        begun = time.time()
        for each in faults.heal(self._lab, only=struck):
            for name in each.machines:
                machine = self._lab.machine(name)
                if machine.leader() is None:
                    lifecycle.wait_until_up(self._lab, machine, _quiet)
        return begun


def _quiet(_: str) -> None:
    """The drill tells what it does itself."""


def refuse_broken(lab: "Lab") -> None:
    """Raises LabError if something is broken already: a drill would measure that, too."""
    from kubeha.lab import faults

    if broken := faults.active(lab):
        raise LabError(
            f"the lab is broken already: {', '.join(map(str, broken))}",
            hint=f"kubeha lab heal --name {lab.name}",
        )
