"""Findings on hand-written haproxy.cfg and keepalived.conf. Pure: text in, findings out.

`haproxy*` and `keepalived*` judge one file, `pair` the two files of one node, `fleet` the files of
several nodes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from kubeha.checks.finding import Finding, Kind

T = TypeVar("T")


@dataclass(frozen=True)
class FileFinding(Finding):
    """A finding with the place that it is about. `line` counts from 1; 0 is the file as a whole."""

    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`FILE:LINE`, or `FILE` when it is about the whole."""
        return f"{self.file}:{self.line}" if self.line else self.file


def at(
    kind: Kind, file: str, line: int, message: str, fix: str, evidence: str = "", node: str = ""
) -> FileFinding:
    """A finding of this kind in a file; `evidence` is the line that shows it."""
    return FileFinding(
        kind.code, kind.severity, node, message, fix, evidence.strip(), file=file, line=line
    )


def once_a_line(
    rule: Callable[[T], Iterator[FileFinding]],
) -> Callable[[T], Iterator[FileFinding]]:
    """The rule, with the first of its findings on each line: several servers inherit from one."""

    @wraps(rule)
    def first_of_each(judged: T) -> Iterator[FileFinding]:
        told = set()
        for found in rule(judged):
            if found.line not in told:
                told.add(found.line)
                yield found

    return first_of_each


def as_json(finding: FileFinding) -> dict[str, Any]:
    """The findings' shape (docs/status-json.md) with `file` and `line`."""
    return {**finding.as_json(), "file": finding.file, "line": finding.line}
