"""`kubeha explain`: the page of a finding, or the list of all."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kubeha.checks.finding import Kind


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE...", help="Such as KH301; without one, all are listed."),
    ] = None,
    output: str = options.Output,
) -> None:
    """Say what a finding means, how it comes about and how to mend it."""
    from kubeha.checks.finding import catalogue
    from kubeha.cli import output as out

    as_json = options.output(output)
    kinds = [options.known(code) for code in codes or ()]
    if as_json:
        shown = [_json(kind, page=True) for kind in kinds] or [_json(k) for k in catalogue()]
        out.show_json({"version": 1, "findings": shown})
    elif kinds:
        _print_pages(kinds)
    else:
        out.stdout().print(_listing())


def _json(kind: "Kind", *, page: bool = False) -> dict[str, Any]:
    """A kind as data; `page`: with its explanation, in Markdown."""
    from kubeha import pages

    data = {
        "code": kind.code,
        "severity": kind.severity.value,
        "group": kind.group,
        "title": kind.title,
    }
    return {**data, "explanation": pages.page(kind.code)} if page else data


def _print_pages(kinds: "list[Kind]") -> None:
    """On a terminal as a reader wants it, elsewhere as it is written."""
    from kubeha import pages
    from kubeha.cli import output as out

    texts = [pages.page(kind.code) for kind in kinds]
    if not sys.stdout.isatty():
        print("\n".join(texts), end="")
        return
    from rich.markdown import Markdown

    for text in texts:
        out.page(Markdown(text, code_theme="ansi_dark"))


def _listing() -> "RenderableType":
    from itertools import groupby

    from kubeha.blocks import COLOURS
    from kubeha.checks.finding import catalogue

    lines: list[str] = []
    for group, kinds in groupby(catalogue(), key=lambda kind: kind.group):
        lines += ["", f"[bold]{group}[/bold]"] if lines else [f"[bold]{group}[/bold]"]
        for kind in kinds:
            colour = COLOURS[kind.severity]
            lines.append(f"{kind.code}  [{colour}]{kind.severity.value:7}[/{colour}]  {kind.title}")
    lines.append("\nOne of them: kubeha explain CODE")
    return "\n".join(lines)
