"""Measure what is missing, then show the tables; --write brings the documentation up to date.

Every trial is kept in a file, so this may be stopped at any time (Ctrl-C, SIGTERM): no lab is left
behind, and the same command continues.
"""

import argparse
import re
import signal
import sys
from pathlib import Path

from bench.failover import box, picture, quiet, report, results, trial
from bench.failover.configurations import CONFIGURATIONS
from bench.failover.machines import CLIENTS, NODES, say
from bench.failover.measuring import EVENTS, PASSING, ROOT, Order, measure

FILE = ROOT / "bench/results/failover.jsonl"
PAGE = ROOT / "docs/benchmarks.md"
IMAGES = ROOT / "docs/images"
BLOCK = re.compile(r"(?<=<!-- bench/failover -->\n).*?(?=<!-- end -->)", re.S)
TITLES = {name: each.title for name, each in CONFIGURATIONS.items()}
HEADINGS = {
    "crash": "The holder crashes: the longest silence for new connections, each trial",
    "move": "A planned move: the longest silence for new connections, each trial",
}
SETTING = f"""\
{len(NODES)} control plane nodes, each with HAProxy or nginx and keepalived; {len(CLIENTS)} client \
machines with, together, {trial.RATE:g} new connections per second (each with its own patience of \
{trial.PATIENCE:g} s) and {trial.CONNECTIONS // len(CLIENTS) * len(CLIENTS)} long-lived ones with \
a request every {trial.INTERVAL:g} s. Clients go on until nothing has failed, broken or hung \
(longer than {quiet.HANGS:g} s) for {quiet.QUIET:g} s since another node has the VIP, or for \
{quiet.MOST:g} s; what is under way then is awaited and counts.
"""


def main() -> int:
    options = arguments()
    # A terminal that closes and a polite kill are an interruption like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if not options.table:
            events = options.event or EVENTS
            wanted = (options.trials, options.only, events)
            measure(Order(*wanted, options.file, options.name, options.calm))
    except KeyboardInterrupt:
        say("interrupted; the same command continues")
        return 130
    except PASSING as error:
        say(str(error))
        return 1
    show(results.read(options.file), write=options.write)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    add = parser.add_argument
    add("--trials", type=int, default=20, metavar="N", help="of each cell")
    names = ", ".join(CONFIGURATIONS)
    add("--only", action="append", default=[], metavar="CONFIGURATION", help=names)
    add("--event", action="append", default=[], choices=EVENTS, help="without it: all")
    add("--file", type=Path, default=FILE, help="the results; continued if there are any")
    add("--name", default="bench", help="the lab's name")
    share = "wait until other work uses less than this share of the processors; 1: do not wait"
    add("--calm", type=float, default=box.CALM, metavar="SHARE", help=share)
    add("--table", action="store_true", help="measure nothing, only show the tables")
    add("--write", action="store_true", help="put tables and pictures into the documentation")
    return parser.parse_args()


def show(rows: list[results.Row], *, write: bool) -> None:
    """The section of the documentation, and its pictures, on standard output or in place."""
    text = report.section(rows, TITLES, SETTING)
    print(text)
    if not write:
        return
    PAGE.write_text(BLOCK.sub(lambda _: text, PAGE.read_text()))
    for event, heading in HEADINGS.items():
        if any(results.cell(rows, name, event) for name in TITLES):
            drawn = picture.draw(rows, event, TITLES, heading)
            (IMAGES / f"failover-{event}.svg").write_text(drawn)


if __name__ == "__main__":
    sys.exit(main())
