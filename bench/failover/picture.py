"""Pictures of the trials, as SVG: a dot each, on a logarithmic scale of seconds. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from statistics import median

from bench.failover.results import Row, cell

WIDTH, LEFT, RIGHT = 960, 170, 290
TOP, LINE = 72, 46
LEAST, MOST = 0.01, 100.0
TICKS = ((0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s"), (100.0, "100 s"))

STYLE = """\
  svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; \
--own: #0969da; --other: #9a6700 }
  .paper { fill: #ffffff; fill: var(--paper) }
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; \
font-size: 14px; fill: #1f2328; fill: var(--ink) }
  .soft { font-size: 12px; fill: #59636e; fill: var(--soft) }
  .strong { font-weight: 600 }
  .middle { text-anchor: middle }
  .end { text-anchor: end }
  .grid { stroke: #d1d9e0; stroke: var(--line) }
  .own { fill: #0969da; fill: var(--own) }
  .other { fill: #9a6700; fill: var(--other) }
  .dot { opacity: .6 }
  .ring { fill: none; stroke-width: 1.5; opacity: .6 }
  .ring.own { stroke: #0969da; stroke: var(--own) }
  .ring.other { stroke: #9a6700; stroke: var(--other) }
  .mark { stroke: #1f2328; stroke: var(--ink); stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #30363d; \
--own: #4493f8; --other: #d29922 }
  }
"""


def draw(rows: Sequence[Row], event: str, titles: Mapping[str, str], heading: str) -> str:
    """The longest silence of every trial, a line per configuration that has any."""
    found = {name: cell(rows, name, event) for name in titles}
    lines = [(name, own) for name, own in found.items() if own]
    height = TOP + LINE * len(lines) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' aria-labelledby="title">',
        f'<title id="title">{escape(heading)}</title>',
        f"<style>\n{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="12"/>',
        f'<text class="strong" x="20" y="30">{escape(heading)}</text>',
        *_legend(),
        f'<text class="soft" x="{WIDTH - RIGHT + 30}" y="{TOP - 12}">requests failed</text>',
        f'<text class="soft" x="{WIDTH - RIGHT + 150}" y="{TOP - 12}">connections broken</text>',
        *_scale(height - 44),
    ]
    for number, (name, own) in enumerate(lines):
        parts += _line(TOP + LINE * number + LINE // 2, name, titles[name], own)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    y = TOP - 16
    return [
        f'<circle class="dot own" cx="26" cy="{y}" r="4"/>',
        f'<text class="soft" x="36" y="{y + 4}">all clients together</text>',
        f'<circle class="ring own" cx="172" cy="{y}" r="4"/>',
        f'<text class="soft" x="182" y="{y + 4}">the client machine worst hit</text>',
        f'<path class="mark" d="M362 {y - 7}V{y + 7}"/>',
        f'<text class="soft" x="370" y="{y + 4}">median, all together</text>',
    ]


def _scale(bottom: int) -> list[str]:
    parts = []
    for value, label in TICKS:
        x = _x(value)
        parts.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
        parts.append(f'<text class="soft middle" x="{x}" y="{bottom + 18}">{label}</text>')
    return parts


def _x(seconds: float) -> float:
    """Where so many seconds are; what is beyond the scale is at its end."""
    kept = min(max(seconds, LEAST), MOST)
    part = log10(kept / LEAST) / log10(MOST / LEAST)
    return round(LEFT + part * (WIDTH - RIGHT - LEFT), 1)


def _line(y: int, name: str, title: str, rows: Sequence[Row]) -> list[str]:
    values = [MOST if row["silence"] is None else row["silence"] for row in rows]
    kind = "own" if name.startswith("kubeha") else "other"
    middle = median(values)
    failed, requests = sum(row["failed"] for row in rows), sum(row["requests"] for row in rows)
    broken, all_of = sum(row["broken"] for row in rows), sum(row["connections"] for row in rows)
    worst = [MOST if row["silence_of_one"] is None else row["silence_of_one"] for row in rows]
    count = f"{len(rows)} trials" if len(rows) > 1 else "1 trial"
    return [
        f'<text x="20" y="{y}">{escape(title)}</text>',
        f'<text class="soft" x="20" y="{y + 16}">{count}</text>',
        *_marks(f"ring {kind}", worst, y),
        *_marks(f"dot {kind}", values, y),
        f'<path class="mark" d="M{_x(middle)} {y - 15}V{y + 15}"/>',
        f'<text x="{WIDTH - RIGHT + 30}" y="{y + 5}">{escape(_share(failed, requests))}</text>',
        f'<text x="{WIDTH - RIGHT + 150}" y="{y + 5}">{escape(_share(broken, all_of))}</text>',
    ]


def _marks(kind: str, values: Sequence[float], y: int) -> list[str]:
    """One each; those of equal values lie side by side."""
    return [
        f'<circle class="{kind}" cx="{_x(value)}" cy="{y + (number % 5 - 2) * 4}" r="4"/>'
        for number, value in enumerate(values)
    ]


def _share(part: int, whole: int) -> str:
    """A percentage that is 0 only if there is none."""
    if part == 0:
        return "none"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"
