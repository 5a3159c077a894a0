"""Options that several verbs share, and what they stand for."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kubeha.checks.finding import Kind
    from kubeha.model import Ignore as Ignored

Output = typer.Option("text", "-o", "--output", metavar="text|json", help="How to print.")
AskBecomePass = typer.Option(
    False, "-K", "--ask-become-pass", help="Ask for the password that sudo wants on the nodes."
)
Deadline = typer.Option(
    "10m",
    "--deadline",
    metavar="DURATION",
    help="How long established connections may live on through the former holder of the VIP; what"
    " is left then is closed.",
)
NoWait = typer.Option(
    False, "--no-wait", help="Return as soon as the VIP has moved; the nodes do the rest."
)
Ignore = typer.Option(
    [],
    "--ignore",
    metavar="CODE[@NODE]=REASON",
    help="A finding that shall not count, and why; may be repeated.",
)


def output(value: str) -> bool:
    """True for JSON. Raises UsageError for anything but text and json."""
    from kubeha.errors import UsageError

    if value not in ("text", "json"):
        raise UsageError(f"-o {value}: there is no such output", hint="use -o text or -o json")
    return value == "json"


LONGEST_DEADLINE = 24 * 3600.0


def deadline(value: str) -> float:
    """Seconds. Raises UsageError for what is no duration, or no sensible one."""
    from kubeha.errors import UsageError
    from kubeha.units import parse_duration

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise UsageError(f"--deadline {value}: {error}", hint="such as: --deadline 10m") from None
    if not 1.0 <= seconds <= LONGEST_DEADLINE:
        raise UsageError(f"--deadline {value}: must be from 1s to 24h")
    return seconds


def become_password(ask: bool) -> str | None:
    """Asked once, on the terminal; never on a command line or in a log."""
    if not ask:
        return None
    return str(typer.prompt("sudo password on the nodes", hide_input=True, err=True))


def known(code: str) -> "Kind":
    """The kind of finding that a code stands for. Raises UsageError if there is none."""
    from kubeha.checks.finding import kind_of, similar
    from kubeha.errors import UsageError

    kind = kind_of(code)
    if kind is None:
        close = similar(code)
        hint = f"did you mean {close}? " if close else ""
        raise UsageError(f"{code}: there is no such finding", hint=f"{hint}all: kubeha explain")
    return kind


def ignores(values: Iterable[str]) -> "tuple[Ignored, ...]":
    """What `--ignore` says. Raises UsageError for unknown codes and for those without a reason."""
    return tuple(map(_ignore, values))


def _ignore(text: str) -> "Ignored":
    from pydantic import ValidationError

    from kubeha.checks.ignoring import NEVER
    from kubeha.errors import UsageError
    from kubeha.model import Ignore as Ignored

    what, _, reason = text.partition("=")
    code, at, node = what.partition("@")
    kind = known(code)
    if kind.code in NEVER:
        raise UsageError(f"{kind.code} cannot be ignored", hint=NEVER[kind.code])
    if not reason.strip() or (at and not node):
        raise UsageError(
            f"--ignore {text}: a reason is wanted, and a node after @",
            hint=f'such as: --ignore {what.rstrip("@")}="the new network card comes on Monday"',
        )
    try:
        return Ignored(code=kind.code, node=node or None, reason=reason.strip())
    except ValidationError as error:
        complaint = error.errors()[0]["ctx"]["error"]
        raise UsageError(f"--ignore {what}: the reason {complaint}") from None
