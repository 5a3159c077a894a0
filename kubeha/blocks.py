"""Findings -> blocks of text for people: what to look at first comes first, the same is told once.

Colour is markup here, as in `report`; a width folds lines where the terminal ends, without one
each thing stays on its line, for whoever reads with grep.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.markup import escape

from kubeha.checks.finding import Finding, Severity

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
# `KH301 ` and the longest word beside it, `warning `.
INDENT, GUTTER = 6, 8
# Stands for the node in what is told once for several.
EACH = "NODE"
MOST_EVIDENCE = 4


@dataclass
class Block:
    """One finding, or the same finding on several nodes."""

    first: Finding
    findings: list[Finding] = field(default_factory=list)

    @property
    def nodes(self) -> list[str]:
        return list(dict.fromkeys(found.node for found in self.findings if found.node))

    def said(self, attribute: str) -> str:
        """What all of them say, with NODE where they differ in the name alone."""
        texts = {getattr(found, attribute) for found in self.findings}
        own = str(getattr(self.first, attribute))
        return own if len(texts) == 1 else _without_node(own, self.first.node)

    def evidence(self) -> list[str]:
        """What was seen; with the node where it is not the same everywhere."""
        seen = {found.evidence for found in self.findings}
        if len(seen) == 1:
            return [self.first.evidence] if self.first.evidence else []
        return [f"{found.node}: {found.evidence}" for found in self.findings if found.evidence]


def blocks(findings: Iterable[Finding]) -> list[Block]:
    """Errors, warnings, infos, and last what is ignored; in each by code, then as found.

    Findings are the same when they say the same, word for word or but for the names of their nodes.
    """
    found: list[Block] = []
    known: dict[tuple[object, ...], Block] = {}
    for finding in sorted(findings, key=_rank):
        alike = _alike(finding)
        block = next((known[key] for key in alike if key in known), None)
        if block is None:
            found.append(block := Block(finding))
        block.findings.append(finding)
        known.update((key, block) for key in alike if key not in known)
    return found


def _rank(finding: Finding) -> tuple[bool, int, str]:
    severity = list(Severity).index(finding.severity)
    return finding.ignored is not None, severity, finding.code


def _alike(finding: Finding) -> list[tuple[object, ...]]:
    """What findings that are told as one have in common: any of these."""
    said = (finding.message, finding.fix)
    # One that is about the whole cluster is never one of several.
    group = (*_rank(finding), finding.ignored, bool(finding.node))
    return [(*group, *said), (*group, *(_without_node(text, finding.node) for text in said))]


def _without_node(text: str, node: str) -> str:
    return re.sub(rf"(?<![\w.-]){re.escape(node)}(?![\w-]|\.\w)", EACH, text) if node else text


def findings_text(findings: Iterable[Finding], width: int | None = None) -> str:
    """A block for each finding: code, severity, nodes and what; then what was seen, what to do.

    `width`: columns of the terminal, None where nothing is to be folded.
    """
    return "\n".join(line for block in blocks(findings) for line in _lines(block, width))


def _lines(block: Block, width: int | None) -> Iterator[str]:
    head, where = block.first, ", ".join(block.nodes)
    dim = head.ignored is not None
    word = "ignored" if dim else head.severity.value
    what = _folded(f"{where}: " * bool(where) + block.said("message"), width)
    style = "dim" if dim else COLOURS[head.severity]
    lead = f"[{style}]{head.code} {word:<{GUTTER}}[/{style}]"
    yield lead + _styled(_bold(what[0], where), dim)
    yield from (_indented("", line, dim) for line in what[1:])
    for seen in block.evidence():
        yield from _told("seen", _shortened(_folded(seen, width), width), dim=True)
    if head.ignored is not None:
        yield from _told("because", _folded(head.ignored, width), dim=True)
    else:
        yield from _told("do", _folded(block.said("fix"), width), dim=False)


def _told(label: str, lines: Sequence[str], *, dim: bool) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield _indented("" if number else label, line, dim)


def _indented(label: str, line: str, dim: bool) -> str:
    return " " * INDENT + _styled(f"{label:<{GUTTER}}{escape(line)}", dim)


def _styled(text: str, dim: bool) -> str:
    return f"[dim]{text}[/dim]" if dim else text


def _bold(line: str, where: str) -> str:
    """The first line, its nodes in bold; a list of nodes that was folded stays plain."""
    if where and line.startswith(f"{where}: "):
        return f"[bold]{escape(where)}:[/bold]{escape(line.removeprefix(f'{where}:'))}"
    return escape(line)


def _folded(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    room = max(width - INDENT - GUTTER, 20)
    return textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]


def _shortened(lines: list[str], width: int | None) -> list[str]:
    """On a terminal, the beginning of what is long; the whole is in the JSON."""
    if width is None or len(lines) <= MOST_EVIDENCE:
        return lines
    return [*lines[: MOST_EVIDENCE - 1], f"{lines[MOST_EVIDENCE - 1]} ..."]


def findings_summary(findings: Iterable[Finding]) -> str:
    """'2 errors, 1 warning, 1 ignored', or 'no findings'."""
    counts = dict.fromkeys([*(severity.value for severity in Severity), "ignored"], 0)
    for finding in findings:
        counts["ignored" if finding.ignored is not None else finding.severity.value] += 1
    plural = (Severity.ERROR.value, Severity.WARNING.value)
    words = [
        f"{count} {word}{'s' if count > 1 and word in plural else ''}"
        for word, count in counts.items()
        if count
    ]
    return ", ".join(words) or "no findings"


def hint(findings: Iterable[Finding]) -> str:
    """Where to read more, with the code that comes first; empty without findings."""
    first = next(iter(blocks(findings)), None)
    return f"what one means: kubeha explain {first.first.code}" if first else ""
