"""The record of a drill: a line that says what it is of, then a line a trial, as each one ends.

A drill of hours is interrupted now and then: it goes on where its record ends. A last line that was
cut off in the middle counts for nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeha.drills.result import Trial


@dataclass(frozen=True)
class Record:
    """What is in the file: `head` as in the result, the trials in their order.

    `size`: how much of the text was understood; what comes after it is to be overwritten.
    """

    head: Mapping[str, Any]
    trials: tuple[Trial, ...]
    size: int

    def differs(self, head: Mapping[str, Any]) -> str | None:
        """Why trials of this record and new ones cannot stand in one result."""
        for key in ("cluster", "endpoint", "settings", "clients"):
            if self.head.get(key) != head.get(key):
                return f"{key}: {self.head.get(key)} in the record, {head.get(key)} now"
        if _limits(self.head) != _limits(head):
            return "budget: other silences are allowed in the record than now"
        return None


def _limits(head: Mapping[str, Any]) -> dict[str, float | None]:
    return {each["fault"]: each["worst"] for each in head.get("budget", ())}


def first_line(head: Mapping[str, Any]) -> str:
    return _line({"drill": head})


def line(trial: Trial) -> str:
    return _line({"trial": trial})


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def read(text: str) -> Record:
    """Raises ValueError for what is no record of a drill."""
    lines = list(_whole_lines(text))
    if not lines or "drill" not in lines[0]:
        raise ValueError("not the record of a drill")
    trials = tuple(each["trial"] for each in lines[1:] if "trial" in each)
    return Record(lines[0]["drill"], trials, len(text) - len(text.rpartition("\n")[2]))


def _whole_lines(text: str) -> Iterator[Mapping[str, Any]]:
    for each in text.split("\n")[:-1]:
        value = json.loads(each)
        if isinstance(value, dict):
            yield value


def missing(names: Sequence[str], trials: int, done: Sequence[Trial]) -> list[tuple[str, int]]:
    """What is left to do: (fault, number), one of each fault after the other.

    In rounds, so that an interrupted drill has some of everything.
    """
    there = {(each["fault"], each["number"]) for each in done}
    return [
        (name, number)
        for number in range(1, trials + 1)
        for name in names
        if (name, number) not in there
    ]
