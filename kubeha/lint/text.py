"""Findings in files as a compiler would print them: `FILE:LINE: CODE severity: what`.

Colour is markup here; the command line decides whether a terminal shows it.
"""

from collections.abc import Iterable

from rich.markup import escape

from kubeha.blocks import COLOURS
from kubeha.lint import FileFinding

INDENT = "    "


def findings_text(findings: Iterable[FileFinding]) -> str:
    """File by file, by line; what several lines share is told once, with the other places."""
    groups: dict[tuple[str, ...], list[FileFinding]] = {}
    for found in findings:
        alike = (found.code, found.severity, found.message, found.fix, found.ignored or "")
        groups.setdefault(alike, []).append(found)
    return "\n".join(_lines(group) for group in groups.values())


def _lines(group: list[FileFinding]) -> str:
    head = group[0]
    word = "ignored" if head.ignored is not None else head.severity.value
    colour = "dim" if head.ignored is not None else COLOURS[head.severity]
    lines = [
        f"[bold]{escape(head.place)}:[/bold] [{colour}]{head.code} {word}:[/{colour}] "
        f"{escape(head.message)}"
    ]
    lines += [f"{INDENT}[dim]{escape(line)}[/dim]" for line in head.evidence.splitlines()]
    if head.ignored is not None:
        lines.append(f"{INDENT}[dim]because: {escape(head.ignored)}[/dim]")
    else:
        lines.append(f"{INDENT}do: {escape(head.fix)}")
    places = list(dict.fromkeys(each.place for each in group if each.place != head.place))
    if places:
        lines.append(f"{INDENT}[dim]also: {escape(', '.join(places))}[/dim]")
    return "\n".join(lines)
