"""One thing that is wrong with a cluster file, and where."""

import json
from dataclasses import dataclass
from typing import NamedTuple

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """What is wrong at a key, and what to do; `path` is () for the file as a whole."""

    path: Path
    message: str
    hint: str = ""

    def text(self, file: str = "", position: Position | None = None) -> str:
        """`file:line:column: key: message (hint)`, as editors and people read it."""
        where = f"{file}:{position.line}:{position.column}: " if file and position else ""
        key = f"{dotted(self.path)}: " if self.path else ""
        return f"{where}{key}{self.message}" + (f" ({self.hint})" if self.hint else "")


def dotted(path: Path) -> str:
    """`control_plane[0].address`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def shown(value: object, longest: int = 40) -> str:
    """A value from the file as one short printable word, as YAML (in its JSON form) writes it."""
    text = json.dumps(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
