"""Findings on one haproxy.cfg."""

from collections.abc import Callable, Iterator

from kubeha.lint import FileFinding, haproxy_checks, haproxy_connections, haproxy_process
from kubeha.lint.haproxy_subject import Subject

Rule = Callable[[Subject], Iterator[FileFinding]]
RULES: tuple[Rule, ...] = (
    *haproxy_process.RULES,
    *haproxy_connections.RULES,
    *haproxy_checks.RULES,
)


def judge(subject: Subject) -> tuple[FileFinding, ...]:
    """Every finding on the file, by line."""
    found = (each for rule in RULES for each in rule(subject))
    return tuple(sorted(found, key=lambda each: (each.line, each.code)))
