"""The whole way from bytes to a Cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeha.config import rules
from kubeha.config.document import Document, Unreadable, read_document
from kubeha.config.problem import Problem
from kubeha.config.validation import validate
from kubeha.errors import ConfigError
from kubeha.model import Cluster

MOST_LINES = 100
HINT = "every key is described in docs/configuration.md and by: kubeha schema"


@dataclass(frozen=True)
class Loaded:
    """A cluster file that can be used, with what its operator should know about it."""

    cluster: Cluster
    warnings: tuple[str, ...]


def parse(data: bytes, name: str) -> Loaded:
    """The cluster in a file's bytes; `name` is how messages call the file.

    Raises ConfigError with every problem, each as `file:line:column: key: message (hint)`.
    """
    try:
        document = read_document(data)
    except Unreadable as error:
        line = error.problem.text(name, error.position)
        raise ConfigError(f"{name} cannot be read", problems=(line,)) from None
    cluster, found = judge(document.tree)
    found = _once(document.problems + found)
    if cluster is None or found:
        raise ConfigError(_count(name, found), problems=_lines(name, document, found), hint=HINT)
    return Loaded(cluster, _lines(name, document, rules.warnings(document.tree)))


def judge(tree: Mapping[str, Any]) -> tuple[Cluster | None, list[Problem]]:
    """The Cluster in a tree of plain values, and all that is wrong with it."""
    cluster, found = validate(tree)
    return cluster, _once(found + rules.problems(tree))


def _once(found: list[Problem]) -> list[Problem]:
    """One problem per key: what is said first about a key explains what would follow."""
    first: dict[object, Problem] = {}
    for problem in found:
        first.setdefault(problem.path, problem)
    return list(first.values())


def _lines(name: str, document: Document, found: list[Problem]) -> tuple[str, ...]:
    """The problems as text, in the order of the file."""
    ordered = sorted(found, key=lambda problem: document.position(problem.path))
    lines = [
        problem.text(name, document.position(problem.path)) for problem in ordered[:MOST_LINES]
    ]
    rest = len(ordered) - len(lines)
    return (*lines, f"and {rest} more") if rest else tuple(lines)


def _count(name: str, found: list[Problem]) -> str:
    return f"{name}: {len(found)} problem{'s' if len(found) != 1 else ''}"
