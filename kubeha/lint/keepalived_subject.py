"""What the rules on keepalived.conf judge, and how they tell of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from kubeha.checks.finding import Kind, Severity
from kubeha.grammar import Place
from kubeha.grammar.keepalived import Parsed, Statement
from kubeha.grammar.secrets import masked
from kubeha.grammar.virtual_router import VirtualRouter, virtual_routers
from kubeha.lint import FileFinding, at

# As far as it is known: (2, 2, 7) or (2, 2).
Version = tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """One keepalived.conf as one machine takes it; `version`: keepalived's there, if known."""

    parsed: Parsed
    version: Version | None = None
    routers: tuple[VirtualRouter, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "routers", virtual_routers(self.parsed))

    @property
    def globals(self) -> Statement | None:
        """The global_defs block, the first if there are several."""
        found = self.parsed.all("global_defs")
        return found[0] if found else None

    @cached_property
    def scripts(self) -> tuple[Statement, ...]:
        """Every vrrp_script."""
        return self.parsed.all("vrrp_script")

    @property
    def global_place(self) -> str:
        """Where a global setting belongs, in words."""
        block = self.globals
        return f"global_defs (line {block.place.line})" if block else "a global_defs block"


def tell(
    kind: Kind,
    where: Statement,
    message: str,
    fix: str,
    *,
    severity: Severity | None = None,
) -> FileFinding:
    """A finding on a statement; its text is the evidence, without a password."""
    found = at(kind, where.place.file, where.place.line, message, fix, masked(where.text))
    return replace(found, severity=severity) if severity else found


def tell_at(kind: Kind, place: Place, message: str, fix: str, evidence: str = "") -> FileFinding:
    """A finding on a place where no statement is."""
    return at(kind, place.file, place.line, message, fix, evidence)


def setting(router: VirtualRouter, *keywords: str) -> Statement | None:
    """The instance's last such statement."""
    return router.statement.last(*keywords)


Found = Iterator[FileFinding]
