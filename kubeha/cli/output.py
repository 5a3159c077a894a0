"""How every verb prints: results to stdout, progress to stderr, colour only on a terminal."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from kubeha.checks.finding import Finding
    from kubeha.model import Ignore

# Lines longer than this are hard to read, however wide the terminal is.
LONGEST = 110


def stdout() -> "Console":
    """Where results go. Never wraps when it is not a terminal: scripts read lines."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout, highlight=False, soft_wrap=True, width=None if terminal else 1000
    )


def stderr() -> "Console":
    """Where progress goes."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def width(stream: TextIO | None = None) -> int | None:
    """Columns to fold text at; None where it is not a terminal (standard output, or `stream`)."""
    from rich.console import Console

    stream = stream or sys.stdout
    return min(Console(file=stream).width, LONGEST) if stream.isatty() else None


def findings(found: "Sequence[Finding]", ignores: "Sequence[Ignore]") -> None:
    """What speaks against an apply, to standard error; and what `--ignore` missed."""
    from kubeha.blocks import findings_text

    if found:
        stderr().print(findings_text(found, width(sys.stderr)))
    told_idle(found, ignores)


def told_idle(found: "Sequence[Finding]", ignores: "Sequence[Ignore]") -> None:
    """One line to standard error on what was to be ignored and is not there."""
    from kubeha.checks.ignoring import idle

    if missed := idle(found, ignores):
        codes = ", ".join(each.words for each in missed)
        print(f"note: not found, so not ignored: {codes}", file=sys.stderr)


def page(what: "RenderableType") -> None:
    """Print prose on a terminal, in lines of a length that can be read."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    console.print(what, width=min(console.width, LONGEST))


def show(what: "RenderableType") -> None:
    """Print a result for people."""
    stdout().print(what)


def show_json(data: Any) -> None:
    """Print a result for programs."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def progress(node: str, text: str) -> None:
    """One line of what happens on a node now."""
    from rich.markup import escape

    if text.startswith("  "):
        stderr().print(f"[dim]{escape(f'{node:>8} | {text.strip()}')}[/dim]")
    else:
        stderr().print(f"[bold]{escape(f'{node:>8}')}[/bold]   {escape(text)}")
