"""How every verb prints: results to stdout, progress to stderr, colour only on a terminal."""

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


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


def page(what: "RenderableType") -> None:
    """Print prose on a terminal, in lines of a length that can be read."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    console.print(what, width=min(console.width, 100))


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
