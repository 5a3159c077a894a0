"""systemd units of a node: what `systemctl show` prints -> values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """Properties of a systemd unit, as `systemctl show` prints them."""

    name: str
    load_state: str
    active_state: str
    sub_state: str
    unit_file_state: str
    main_pid: int
    invocation_id: str

    @property
    def active(self) -> bool:
        return self.active_state == "active"

    @property
    def enabled(self) -> bool:
        return self.unit_file_state == "enabled"

    @property
    def masked(self) -> bool:
        """By somebody, for good: not our business to undo."""
        return self.unit_file_state == "masked"

    @property
    def our_mask(self) -> bool:
        """Until the next boot, as an install that was interrupted leaves it."""
        return self.unit_file_state == "masked-runtime"


def parse_units(text: str) -> dict[str, Unit]:
    """`systemctl show UNIT... -p ...`: KEY=VALUE lines, a block for each unit."""
    units = (_unit(block) for block in text.split("\n\n"))
    return {unit.name: unit for unit in units if unit.name}


def _unit(block: str) -> Unit:
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    pid = values.get("MainPID", "0")
    return Unit(
        name=values.get("Id", ""),
        load_state=values.get("LoadState", ""),
        active_state=values.get("ActiveState", ""),
        sub_state=values.get("SubState", ""),
        unit_file_state=values.get("UnitFileState", ""),
        main_pid=int(pid) if pid.isdigit() else 0,
        invocation_id=values.get("InvocationID", ""),
    )
