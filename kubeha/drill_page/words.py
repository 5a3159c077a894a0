"""Figures and verdicts in words."""

from collections.abc import Sequence

NOTHING = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def seconds(value: float | None) -> str:
    """A duration as people say it: 38 ms, 0.34 s, 12.3 s."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size < 0.0005:
        return f"0{_SPACE}s"
    if size < 0.0995:
        return f"{value * 1000:.0f}{_SPACE}ms".replace("-", _MINUS)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{digits}f}{_SPACE}s".replace("-", _MINUS)


def moment(value: float) -> str:
    """A time as it lies to the strike: +0.34 s, -2 s."""
    sign = "" if abs(value) < 0.0005 or value < 0 else "+"
    return sign + seconds(value)


def count(value: int) -> str:
    """12 345 with a narrow space at the thousands, which no language takes for a decimal mark."""
    return f"{value:,}".replace(",", _THIN)


def share(part: int, whole: int) -> str:
    return f"{count(part)} of {count(whole)}" if whole else NOTHING


def plural(number: int, one: str, many: str = "") -> str:
    return f"{count(number)}{_SPACE}{one if number == 1 else many or one + 's'}"


def span(values: Sequence[int]) -> str:
    """What all values are, or the least and the most of them."""
    if not values:
        return NOTHING
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least}\N{EN DASH}{most}"


def listing(names: Sequence[str]) -> str:
    """a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
