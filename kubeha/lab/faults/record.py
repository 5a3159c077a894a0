"""Which faults are in force: the lab's faults.json, read by whoever has to know."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubeha.lab.lab import Lab


@dataclass(frozen=True)
class Active:
    """A fault that was injected and not healed. Faults of the segment name no machine.

    `since`: when it had struck (the last machine, if there are several), in seconds since 1970.
    `healing`: its healing began and did not end well; it is to be tried again.
    """

    fault: str
    machines: tuple[str, ...]
    since: float = field(default_factory=time.time)
    settings: Mapping[str, str] = field(default_factory=dict)
    healing: bool = False

    def as_json(self) -> dict[str, Any]:
        data = {"fault": self.fault, "machines": list(self.machines), "since": self.since}
        if self.settings:
            data["settings"] = dict(self.settings)
        return {**data, "healing": True} if self.healing else data

    def __str__(self) -> str:
        """As it was asked for on the command line."""
        settings = (f"{key}={value}" for key, value in self.settings.items())
        return " ".join([self.fault, *self.machines, *settings])


def active(lab: Lab) -> tuple[Active, ...]:
    """The faults that are in force, oldest first; also those whose healing was interrupted."""
    try:
        data = json.loads((lab.directory / "faults.json").read_text())
    except FileNotFoundError:
        return ()
    return tuple(
        Active(
            each["fault"],
            tuple(each["machines"]),
            each["since"],
            each.get("settings", {}),
            each.get("healing", False),
        )
        for each in data
    )


def in_force(lab: Lab, fault: str) -> tuple[Active, ...]:
    """Those of one fault, without what is being healed."""
    return tuple(each for each in active(lab) if each.fault == fault and not each.healing)


def save(lab: Lab, faults: Sequence[Active]) -> None:
    """Replace the record, at once."""
    unfinished = lab.directory / ".faults.json"
    unfinished.write_text(json.dumps([each.as_json() for each in faults], indent=2) + "\n")
    unfinished.rename(lab.directory / "faults.json")
