#!/usr/bin/env python3
"""Writes docs/images/demo.svg: what a terminal shows of a real run of the demo.

Needs what the demo needs (root, about two minutes). `--from FILE` draws an earlier recording again;
`--keep FILE` keeps the recording of this run.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/demo.svg"
COLUMNS = 108
# The story's part that the picture tells: from here to the end.
FIRST = re.compile(r"\d+\. \S+ holds .* Pull its plug")
# Long, and nothing new after the first time; what is left out is marked.
LEFT_OUT = "$ kubeha lab exec"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# rich's own frame without its web fonts: a picture in a README may load nothing.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>{unique_id}</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def recording() -> str:
    """All that the demo writes to a terminal of COLUMNS columns. Raises if the demo fails."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, COLUMNS))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "KEEP")}
    demo = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/demo.py")],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    text = b"".join(_chunks(ours)).decode()
    if demo.wait() != 0:
        raise SystemExit(f"the demo failed:\n{text[-2000:]}")
    return text


def _chunks(terminal: int) -> Iterator[bytes]:
    """Until the other side has closed the terminal, which Linux tells as an error (EIO)."""
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:
            return
        sys.stderr.buffer.write(data)
        yield data


def interesting(lines: Iterable[str]) -> Iterator[str]:
    """The lines that the picture shows."""
    begun = leaving_out = False
    for line in lines:
        plain = ANSI.sub("", line)
        begun = begun or FIRST.match(plain) is not None
        leaving = plain.startswith(LEFT_OUT) or (leaving_out and not re.match(r"\d+\. ", plain))
        if begun and leaving and not leaving_out:
            yield "..."
            yield ""
        leaving_out = leaving
        if begun and not leaving:
            yield line.rstrip()


def draw(text: str) -> str:
    """The picture of a recording, as SVG."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in interesting(text.replace("\r\n", "\n").split("\n")):
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(
        title="make demo", theme=MONOKAI, code_format=FRAME, unique_id="demo", font_aspect_ratio=0.6
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    options = parser.parse_args()
    text = options.source.read_text() if options.source else recording()
    if options.keep:
        options.keep.write_text(text)
    PICTURE.write_text(draw(text))
    print(f"wrote {PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
