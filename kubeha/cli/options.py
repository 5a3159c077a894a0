"""Options that several verbs share, and what they stand for."""

import typer

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
