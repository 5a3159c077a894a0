#!/usr/bin/env python3
"""How long people wait for kubeha: --help, and the verbs that look at a healthy lab of three nodes.

`make bench` makes a lab of its own, deploys the endpoint, measures, takes everything away and
prints a table; `--write` puts it into docs/benchmarks.md. Nothing is judged: machines differ.
"""

import argparse
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
BLOCK = re.compile(r"(?<=<!-- bench/cli.py -->\n).*?(?=<!-- end -->)", re.S)
KUBEHA = str(Path(sys.executable).with_name("kubeha"))
# A control plane that has just begun needs this long at the most to be well, in seconds.
HEALTHY_WITHIN = 180.0


@dataclass(frozen=True)
class Case:
    """What is measured; `goal` in seconds, for the reader only."""

    words: tuple[str, ...]
    lab: bool
    goal: float | None


CASES = (
    Case(("--help",), lab=False, goal=0.3),
    Case(("status",), lab=True, goal=1.0),
    # Both listen for VRRP for 3.3 s of it, as long as a slow advertiser may be silent.
    Case(("check",), lab=True, goal=6.0),
    Case(("verify",), lab=True, goal=None),
    Case(("plan", "--exit-code"), lab=True, goal=None),
)


def kubeha(*words: str, quiet: bool = True) -> subprocess.CompletedProcess[str]:
    """Run kubeha as a user would."""
    return subprocess.run([KUBEHA, *words], capture_output=quiet, text=True)


def must(*words: str) -> None:
    """Run kubeha with its progress shown. Raises SystemExit when it fails."""
    done = kubeha(*words, quiet=False)
    if done.returncode != 0:
        raise SystemExit(f"exit status {done.returncode}: kubeha {' '.join(words)}")


@contextmanager
def healthy_lab(name: str) -> Iterator[Path]:
    """A lab with the endpoint deployed and nothing to find; gone at the end, whatever happens."""
    file = Path(".lab") / name / "kubeha.yaml"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    must("lab", "up", "--name", name)
    try:
        must("-f", str(file), "apply", "--yes", "--no-diff")
        _wait_until_healthy(file)
        yield file
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kubeha("lab", "down", "--name", name)


def _wait_until_healthy(file: Path) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN
    while (seen := kubeha("-f", str(file), "verify")).returncode != 0:
        if time.monotonic() > deadline:
            raise SystemExit(f"the lab is not well after {HEALTHY_WITHIN:g} s:\n{seen.stdout}")
        time.sleep(1)


def measure(words: Sequence[str], runs: int) -> list[float]:
    """Seconds of each run, the first one (cold caches) not counted."""
    seconds = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        done = kubeha(*words)
        seconds.append(time.perf_counter() - begin)
        if done.returncode != 0:
            raise SystemExit(f"kubeha {' '.join(words)}: {done.stdout}{done.stderr}")
    return seconds[1:]


def row(case: Case, seconds: Sequence[float]) -> str:
    goal = f"{case.goal:g} s" if case.goal else ""
    median, most = statistics.median(seconds), max(seconds)
    words = " ".join(case.words)
    return f"| `kubeha {words}` | {len(seconds)} | {median:.2f} s | {most:.2f} s | {goal} |"


def circumstances() -> str:
    """The machine and the versions, in a line."""
    cpus = os.cpu_count()
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{cpus} CPUs ({model[1] if model else platform.machine()}), Linux {platform.release()},"
        f" Python {platform.python_version()}, kubeha {revision or 'without git'};"
        f" load average at the end {load}; {time.strftime('%Y-%m-%d')}."
    )


def report(runs: int, name: str) -> str:
    """Measure all of it; the Markdown that says how it went."""
    lines = ["| command | runs | median | longest | goal |", "| --- | --- | --- | --- | --- |"]
    lines += [row(case, measure(case.words, runs)) for case in CASES if not case.lab]
    with healthy_lab(name) as file:
        for case in (case for case in CASES if case.lab):
            lines.append(row(case, measure(("-f", str(file), *case.words), runs)))
        where = circumstances()
    return "\n".join([*lines, "", where, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--name", default="bench", help="the lab's name")
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    options = parser.parse_args()
    try:
        text = report(options.runs, options.name)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    print(text)
    if options.write:
        PAGE.write_text(BLOCK.sub(lambda _: text, PAGE.read_text()))


if __name__ == "__main__":
    main()
