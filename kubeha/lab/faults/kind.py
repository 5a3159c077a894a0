"""What a fault is: of machines, or of the segment that they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kubeha.lab.faults.settings import Setting, Settings
from kubeha.lab.lab import Lab
from kubeha.lab.machine import Machine


@dataclass(frozen=True)
class MachineFault:
    """What it does in one sentence, and the two functions that do and undo it on one machine.

    Both may be repeated. `inject` returns when it had struck if that was before its end, in seconds
    since 1970. `of_the_network`: it has to be injected again when the machine boots, with a fresh
    network. `least`: how many machines have to be named, for what is between them.
    """

    summary: str
    inject: Callable[[Lab, Machine, Settings], float | None]
    heal: Callable[[Lab, Machine], None]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    of_the_network: bool = False
    least: int = 1


@dataclass(frozen=True)
class SegmentFault:
    """A fault that concerns no machine more than another: it is injected without naming any."""

    summary: str
    inject: Callable[[Lab, Settings], None]
    heal: Callable[[Lab], None]
    settings: Mapping[str, Setting] = field(default_factory=dict)


Fault = MachineFault | SegmentFault


def nothing(_: Lab, __: Machine, ___: Settings | None = None) -> None:
    """For what the bridge does by itself, from the record of faults."""
