"""Durations: one notation, both ways."""

import pytest

from kubeha.units import format_duration, parse_duration


@pytest.mark.parametrize(
    "text, seconds",
    [("300ms", 0.3), ("1s", 1.0), ("0.5s", 0.5), ("1.5m", 90.0), ("4h", 14400.0), ("0s", 0.0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "1 s", "s", "-1s", "1S", "1d", "1.5", "01s", "1s\n", 1, 0.3]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="a number with its unit: ms, s, m or h"):
        parse_duration(text)


def test_finer_than_a_millisecond():
    with pytest.raises(ValueError, match="must be whole milliseconds"):
        parse_duration("0.5ms")
