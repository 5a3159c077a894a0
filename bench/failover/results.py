"""The file of results, one JSON object a line, and the tables that are made from it. Pure but for
reading and appending.

A row counts if what was deployed and how it was measured is what its cell's last row had: figures
of different files are never mixed.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = Mapping[str, Any]


def read(file: Path) -> list[Row]:
    """Every row; a line that was cut by the end of the process that wrote it does not count."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append(file: Path, row: Row) -> None:
    """Add a row, on the disk when this returns; after half a line, begin a new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as out:
        end = out.seek(0, os.SEEK_END)
        if end:
            out.seek(end - 1)
            if out.read(1) != b"\n":
                out.write(b"\n")
        out.write(json.dumps(row, sort_keys=True).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def cell(
    rows: Sequence[Row], configuration: str, event: str, digest: str | None = None
) -> list[Row]:
    """The rows of a cell that count: undisturbed, of this digest or of the cell's last."""
    return [row for row in _all(rows, configuration, event, digest) if not _lost(row)]


def never_made(rows: Sequence[Row], configuration: str, event: str) -> int:
    """How many trials of a cell were begun, but could not be measured for a reason of its own."""
    rows = _all(rows, configuration, event, None)
    return sum("no_trial" in row and not row["disturbed"] for row in rows)


def _lost(row: Row) -> bool:
    return bool(row["disturbed"]) or "no_trial" in row


def _all(rows: Sequence[Row], configuration: str, event: str, digest: str | None) -> list[Row]:
    asked = (configuration, event)
    own = [row for row in rows if (row.get("configuration"), row["event"]) == asked]
    if digest is None:
        digest = own[-1]["digest"] if own else ""
    return [row for row in own if row["digest"] == digest]


def typical(rows: Sequence[Row], key: str) -> tuple[float, float] | None:
    """Median and maximum; None if there is nothing, infinity for what never happened."""
    values = [float("inf") if row[key] is None else row[key] for row in rows]
    return (median(values), max(values)) if values else None


def seconds(value: float) -> str:
    return "never" if value == float("inf") else f"{value:.2f} s"


def share(value: float) -> str:
    return f"{value:g}"


def pair(rows: Sequence[Row], key: str, show: Callable[[float], str] = seconds) -> str:
    """`median (maximum)`."""
    figures = typical(rows, key)
    if figures is None:
        return ""
    return f"{show(figures[0])} ({show(figures[1])})"


def failures(rows: Sequence[Row]) -> str:
    """`failed of all` over all trials, and the most in one trial."""
    failed, requests = sum(row["failed"] for row in rows), sum(row["requests"] for row in rows)
    return f"{failed} of {requests} ({max(row['failed'] for row in rows)})"


def failed_later(rows: Sequence[Row]) -> str:
    """Failures of what was not under way when it happened."""
    return str(sum(row["failed_later"] for row in rows))


def broken(rows: Sequence[Row]) -> str:
    """Long-lived connections that broke, of all that there were."""
    lost, all_of_them = sum(row["broken"] for row in rows), sum(row["connections"] for row in rows)
    return f"{lost} of {all_of_them}"


def trials(rows: Sequence[Row]) -> str:
    """How many there were, how many moves ended in an error, how many watches in trouble."""
    errors = sum(bool(row["error"]) for row in rows)
    unfinished = sum(bool(row.get("unfinished")) for row in rows)
    told = [f"{errors} in error"] * bool(errors)
    told += [f"{unfinished} still failing when watching ended"] * bool(unfinished)
    return f"{len(rows)} ({', '.join(told)})" if told else str(len(rows))


COLUMNS: tuple[tuple[str, Callable[[Sequence[Row]], str]], ...] = (
    ("trials", trials),
    ("silence for new connections", lambda rows: pair(rows, "silence")),
    ("for the client worst hit", lambda rows: pair(rows, "silence_of_one")),
    ("new connections failed (most in a trial)", failures),
    ("of them begun after the event", failed_later),
    ("long-lived ones broken", broken),
    ("another node has the VIP", lambda rows: pair(rows, "new_holder")),
    ("two holders, longest", lambda rows: seconds(max(row["two_holders"] for row in rows))),
)


def table(rows: Sequence[Row], event: str, titles: Mapping[str, str]) -> str:
    """The Markdown table of an event; configurations without a trial have no line."""
    head = ["", *(name for name, _ in COLUMNS)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name, title in titles.items():
        if found := cell(rows, name, event):
            cells = [title, *(show(found) for _, show in COLUMNS)]
            if lost := never_made(rows, name, event):
                cells[1] += f"; {lost} could not be made"
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
