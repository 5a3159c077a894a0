"""Answers to HTTPS requests made on a node -> values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fetched:
    """The answer to one HTTPS GET made on a node (node/look.py)."""

    status: int | None
    body: str
    date: str
    certificate: str | None
    error_kind: str
    error: str
    seconds: float

    @property
    def reason(self) -> str:
        """Why this is not a 200, in a few words; empty if it is one."""
        if self.error_kind:
            return f"{self.error_kind}: {self.error}"
        return "" if self.status == 200 else f"HTTP {self.status}"


def parse_fetched(answer: Mapping[str, object]) -> Fetched:
    """One answer of node/look.py's fetch."""
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    status = answer.get("status")
    certificate = answer.get("certificate")
    seconds = answer.get("seconds")
    return Fetched(
        status=status if isinstance(status, int) else None,
        body=str(answer.get("body", "")),
        date=str(answer.get("date", "")),
        certificate=certificate if isinstance(certificate, str) else None,
        error_kind=str(error.get("kind", "")),
        error=str(error.get("message", "")),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )
