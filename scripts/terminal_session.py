#!/usr/bin/env python3
"""Writes docs/images/demo.svg or check.svg: what a terminal shows of a real run.

`demo` is that of the demo, `check` that of scripts/eight_things.py. Needs what these need (root, up
to two minutes). `--from FILE` draws an earlier recording again; `--keep FILE` keeps this one.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
COLUMNS = 108
# Long, and nothing new after the first time; what is left out is marked.
LEFT_OUT = "$ kubeha lab exec"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Scene:
    """A script whose output is drawn: from the line that matches `first` to the end."""

    script: str
    title: str
    first: re.Pattern[str]
    status: int = 0


SCENES = {
    "demo": Scene("demo.py", "make demo", re.compile(r"\d+\. \S+ holds .* Pull its plug")),
    "check": Scene("eight_things.py", "kubeha check", re.compile(r"\$ kubeha check"), status=1),
}

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
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def recording(scene: Scene) -> str:
    """All that it writes to a terminal of COLUMNS columns. Raises if it ends as it should not."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, COLUMNS))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "KEEP")}
    script = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / scene.script)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    text = b"".join(_chunks(ours)).decode()
    if script.wait() != scene.status:
        raise SystemExit(f"{scene.script} failed:\n{text[-2000:]}")
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


def interesting(lines: Iterable[str], first: re.Pattern[str]) -> Iterator[str]:
    """The lines that the picture shows."""
    begun = leaving_out = False
    for line in lines:
        plain = ANSI.sub("", line)
        begun = begun or first.match(plain) is not None
        leaving = plain.startswith(LEFT_OUT) or (leaving_out and not re.match(r"\d+\. ", plain))
        if begun and leaving and not leaving_out:
            yield "..."
            yield ""
        leaving_out = leaving
        if begun and not leaving:
            yield line.rstrip()


def draw(text: str, scene: Scene) -> str:
    """The picture of a recording, as SVG."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in interesting(text.replace("\r\n", "\n").split("\n"), scene.first):
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(
        title=scene.title,
        theme=MONOKAI,
        code_format=FRAME,
        unique_id=scene.title.split()[-1],
        font_aspect_ratio=0.6,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", choices=SCENES, nargs="?", default="demo")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    options = parser.parse_args()
    scene, picture = SCENES[options.scene], ROOT / f"docs/images/{options.scene}.svg"
    text = options.source.read_text() if options.source else recording(scene)
    if options.keep:
        options.keep.write_text(text)
    picture.write_text(draw(text, scene))
    print(f"wrote {picture.relative_to(ROOT)}, {picture.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
