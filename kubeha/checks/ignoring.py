"""Findings that somebody has decided to live with: told with the reason, but they do not count."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from kubeha.checks.finding import Finding
from kubeha.model import Ignore

AnyFinding = TypeVar("AnyFinding", bound=Finding)

# With these an apply could not be carried out, whatever anybody has decided.
NEVER = {
    "KH201": "what cannot be asked can be neither changed nor judged",
    "KH202": "without systemd nothing starts the services or watches them",
    "KH203": "packages, paths and units are those of the Debian family",
    "KH204": "there is nothing to configure without the programs",
    "KH205": "to replace that file, and keep a copy of it: kubeha apply --adopt",
    "KH207": "no file could be written",
    "KH210": "what is not known cannot be planned with",
    "KH211": "a masked service cannot be started",
    "KH402": "with two holders there is no order in which a node could be changed",
}


def ignoring(findings: Iterable[AnyFinding], ignores: Sequence[Ignore]) -> tuple[AnyFinding, ...]:
    """The findings, with a reason in those that are ignored; the first that fits gives it."""
    return tuple(
        replace(found, ignored=next((each.reason for each in ignores if fits(each, found)), None))
        for found in findings
    )


def fits(ignore: Ignore, found: Finding) -> bool:
    """Is this finding meant? Without a node: on any node, and on the cluster."""
    return ignore.code == found.code and ignore.node in (None, found.node)


def idle(findings: Sequence[Finding], ignores: Iterable[Ignore]) -> tuple[Ignore, ...]:
    """What was to be ignored and is not there."""
    return tuple(each for each in ignores if not any(fits(each, found) for found in findings))
