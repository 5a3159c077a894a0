"""The grammars of hand-written files: text -> statements with their places. Pure, never raises.

A file that is wrong gives problems, not exceptions: an operator's file is input like any other.
"""

from dataclasses import dataclass

# Editors of Windows put it at the beginning of a file. Tried: HAProxy 2.6 and 3.0, keepalived 2.2.7
# and 2.3.3 take it for a part of the first word, and so know neither that word nor its section.
BYTE_ORDER_MARK = "\ufeff"
MARKED = (
    "a byte order mark is in front of the first word; to take it out:"
    " sed -i '1s/^\\xef\\xbb\\xbf//' FILE"
)


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands: a file's name as the caller gave it, and a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """Something that cannot be read as it stands, in one sentence."""

    place: Place
    message: str
    # Nothing is wrong with the file: something of it was out of reach.
    unseen: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"
