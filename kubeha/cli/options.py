"""Options that several verbs share, and what they stand for."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kubeha.checks.finding import Kind

Output = typer.Option("text", "-o", "--output", metavar="text|json", help="How to print.")
AskBecomePass = typer.Option(
    False, "-K", "--ask-become-pass", help="Ask for the password that sudo wants on the nodes."
)


def output(value: str) -> bool:
    """True for JSON. Raises UsageError for anything but text and json."""
    from kubeha.errors import UsageError

    if value not in ("text", "json"):
        raise UsageError(f"-o {value}: there is no such output", hint="use -o text or -o json")
    return value == "json"


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
