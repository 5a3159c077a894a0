"""The result of a drill for people: a table, a row a fault, and the reasons below it."""

import json
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from kubeha.drills.verdict import Verdict, seconds

_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_MOST_REASONS = 3


def drill_view(whole: Mapping[str, Any]) -> RenderableType:
    """The table, the reasons of what did not pass, and one line on the whole."""
    bounds = {each["fault"]: each for each in whole["budget"]}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("fault", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("silence p50", "p90", "max", "budget", "new holder", "two holders", "failed",
                 "broken"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for each in whole["faults"]:
        table.add_row(*_row(each, bounds.get(each["fault"])))
    return Group(table, *_reasons(whole["trials"]))


def budget_view(bounds: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Every fault with its sum, and below it once each what the sums are made of."""
    letters: dict[str, str] = {}
    terms: dict[str, Mapping[str, Any]] = {}
    for term in (term for each in bounds for term in each["terms"]):
        letters.setdefault(term["name"], ascii_lowercase[len(letters)])
        terms.setdefault(term["name"], term)
    sums = _plain_table("fault", "VIP", "expected", "worst", "sum of")
    for group in _alike(bounds):
        first = group[0]
        sums.add_row(
            ", ".join(each["fault"] for each in group),
            "moves" if first["moves"] else "stays",
            _duration(first["expected"]),
            _duration(first["worst"]),
            " ".join(letters[term["name"]] for term in first["terms"]) or "nothing is promised",
        )
    legend = _plain_table("", "term", "expected", "worst", "source")
    for name, term in terms.items():
        times = (_duration(term[key]) for key in ("expected", "seconds"))
        legend.add_row(letters[name], escape(name), *times, escape(term["source"]))
    return Group(sums, "", legend)


def _plain_table(*heads: str) -> Table:
    """Without lines; times stand at the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        right = head in ("expected", "worst")
        table.add_column(head, justify="right" if right else "left", no_wrap=right)
    return table


def _alike(bounds: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Faults that cost the same, together."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for each in bounds:
        groups.setdefault(json.dumps([each["moves"], each["terms"]]), []).append(each)
    return list(groups.values())


def _row(each: Mapping[str, Any], bound: Mapping[str, Any] | None) -> list[str]:
    quiet, new = each["silence"] or {}, each["new_holder"] or {}
    worst = bound["worst"] if bound else None
    return [
        each["fault"],
        f"{_coloured(each['verdict'])} {each['passed']}/{each['trials']}",
        *(_duration(quiet.get(key)) for key in ("p50", "p90", "max")),
        _duration(worst),
        _duration(new.get("p50")),
        _duration(each["two_holders"]),
        f"{each['failed']} of {each['requests']:,}",
        f"{each['broken']} of {each['connections']:,}",
    ]


def _coloured(verdict: str) -> str:
    return f"[{_COLOURS[Verdict(verdict)]}]{verdict}[/]"


def _duration(value: float | None) -> str:
    return "-" if value is None else seconds(value)


def _reasons(trials: Any) -> list[str]:
    """What spoke against each trial that did not pass; the same words once a fault."""
    lines: list[str] = []
    told: dict[str, int] = {}
    for each in trials:
        for reason in each["reasons"] if each["verdict"] != "pass" else ():
            told[each["fault"]] = told.get(each["fault"], 0) + 1
            if told[each["fault"]] <= _MOST_REASONS:
                where = f"{each['fault']} {each['number']}"
                lines.append(f"{_coloured(each['verdict'])} {where}: {escape(reason)}")
    more = [f"{name}: {count - _MOST_REASONS} more reasons: see -o json"
            for name, count in told.items() if count > _MOST_REASONS]  # fmt: skip
    return ["", *lines, *more] if lines else []


def trial_line(trial: Mapping[str, Any], trials: int) -> str:
    """One trial, as it ends."""
    where = f" on {trial['node']}" if trial["node"] else ""
    words = [f"{trial['fault']} {trial['number']}/{trials}{where}: {_coloured(trial['verdict'])}"]
    if trial["silence"] is not None:
        words.append(f"silence {seconds(trial['silence'])}")
        words.append(f"{trial['failed']} of {trial['requests']} requests failed")
        words.append(f"{trial['broken']} of {trial['connections']} connections broke")
    words += [escape(each) for each in trial["reasons"]]
    return "; ".join(words)
