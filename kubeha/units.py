"""Durations as people write them, a number and a unit: `300ms`, `4h`. There is no other way."""

import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
NOTATION = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?(ms|s|m|h)$"
_PARTS = re.compile(r"(?P<number>[0-9.]+)(?P<unit>ms|s|m|h)")


def parse_duration(text: object) -> float:
    """Seconds of a duration such as `300ms`, `0.5s`, `5m`, `4h`; whole milliseconds.

    Raises ValueError for anything else, bare numbers included: a number without its unit is read
    as seconds by one person and as milliseconds by the next.
    """
    if not isinstance(text, str) or not re.fullmatch(NOTATION, text):
        raise ValueError("must be a number with its unit: ms, s, m or h, such as 300ms or 4h")
    parts = _PARTS.fullmatch(text)
    assert parts is not None, "NOTATION is the stricter of the two patterns"
    exact = float(parts["number"]) * SECONDS[parts["unit"]]
    seconds = round(exact, 3)
    if abs(exact - seconds) > 1e-9:
        raise ValueError("must be whole milliseconds")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest notation that `parse_duration` reads back: 0.3 is `300ms`, 14400 is `4h`."""
    milliseconds = round(seconds * 1000)
    for unit in ("h", "m", "s"):
        length = round(SECONDS[unit] * 1000)
        if milliseconds and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"
