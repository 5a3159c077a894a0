"""Parts of the documentation that the code knows best; `make docs` puts them into docs/*.md."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from kubeha import vrrp
from kubeha.blocks import findings_summary
from kubeha.checks.finding import catalogue
from kubeha.cli import VERBS, app
from kubeha.drills import blows
from kubeha.drills import catalogue as catalogue_of_drills
from kubeha.errors import ExitCode
from kubeha.lab.faults import FAULTS
from kubeha.lab.faults.kind import Fault
from kubeha.lint.sources import Grammar, Source
from kubeha.lint.text import findings_text
from kubeha.lint.whole import judge
from kubeha.pages import pages

EXIT_CODES = {
    ExitCode.OK: "it holds, or it was done",
    ExitCode.DOES_NOT_HOLD: "it does not hold: an error was found; with `plan --exit-code`: there"
    " are changes",
    ExitCode.USAGE: "the command line or the cluster file is wrong; `apply` was not confirmed",
    ExitCode.UNKNOWN: "could not find out: a node could not be asked",
    ExitCode.ROLLED_BACK: "`apply`: a gate failed, and that node was put back as it was",
    ExitCode.NEEDS_PERSON: "`apply`: a gate failed, and putting the node back failed too",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [head, ["---"] * len(head), *([each.replace("|", "\\|") for each in r] for r in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def exit_codes() -> str:
    """What each exit code means."""
    return table(("code", "meaning"), ((f"{code:d}", EXIT_CODES[code]) for code in ExitCode))


def findings() -> str:
    """Every kind of finding with its page, under the heading of its group."""
    parts = []
    for group, kinds in groupby(catalogue(), key=lambda kind: kind.group):
        rows = ((_linked(kind.code), kind.severity.value, kind.title) for kind in kinds)
        parts.append(f"## {group}\n\n{table(('code', 'severity', 'what'), rows)}")
    return "\n".join(parts)


def _linked(code: str) -> str:
    return f"[{code}](findings/{code}.md)" if code in pages() else code


def faults() -> str:
    """What `kubeha lab fault` can break."""

    def settings(fault: Fault) -> str:
        each = fault.settings.items()
        return "<br>".join(f"`{key}={s.shown_default}`: {s.meaning}" for key, s in each)

    rows = ((f"`{name}`", fault.summary, settings(fault)) for name, fault in FAULTS.items())
    return table(("fault", "what it does", "settings, with their defaults"), rows)


def drills() -> str:
    """What `kubeha drill` can break, where, and what the endpoint promises then."""

    def where(name: str) -> str:
        if name in blows.SAFE:
            return "safe"
        return "`--yes-really`" if name in blows.DANGEROUS else "lab"

    rows = (
        [f"`{name}`", fault.summary, where(name), fault.moves.value, fault.may_fail.value]
        for name, fault in catalogue_of_drills.FAULTS.items()
    )
    head = ("fault", "what happens", "done", "the VIP moves", "new connections that may fail")
    return table(head, rows)


def priorities(count: int = 3) -> str:
    """The priorities of so many load balancer nodes, in every state."""
    states: tuple[tuple[str, dict[str, bool]], ...] = (
        ("healthy", {}),
        ("healthy, holds the VIP", {"holder": True}),
        ("the same, just taken", {"holder": True, "fresh": True}),
        ("drained", {"drained": True}),
        ("HAProxy hangs", {"hung": True}),
    )
    rows = (
        [words, *(str(vrrp.effective_priority(count, i, **state)) for i in range(count))]
        for words, state in states
    )
    head = ["state", "first (the primary)", "second", "third", *map(str, range(4, count + 1))]
    return table(head, rows)


def failover(intervals: Sequence[float] = (0.05, 0.1, 0.3, 1.0), count: int = 3) -> str:
    """How long a crashed holder is missing, by the interval of advertisements."""

    def row(interval: float) -> Sequence[str]:
        least, most = vrrp.failover_bounds(count, interval)
        resign = vrrp.handover_time(count, interval)
        return (
            f"{interval * 1000:g} ms", f"{least:.2f} to {most:.2f} s", f"at most {resign:.2f} s"
        )  # fmt: skip

    head = ("`advert_interval`", "after a crash", "after an orderly stop")
    return table(head, (row(interval) for interval in intervals))


def linted() -> str:
    """What lint prints on the haproxy.cfg of the article."""
    file = Path(__file__).parents[1] / "tests/unit/lint/data/article/haproxy.cfg"
    source = Source("m1/haproxy.cfg", file.read_text(), Grammar.HAPROXY, "m1")
    found = judge([source])
    said = f"{findings_text(found)}\n1 file of 1 node: {findings_summary(found)}\n"
    return Text.from_markup(said).plain


def commands() -> str:
    """Every verb and every option, from the command line itself."""
    root: Any = typer.main.get_command(app)
    parts = [_options("Before the verb", [p for p in root.params if p.name != "help"])]
    parts += [_command(f"kubeha {verb}", root.commands[verb]) for verb in VERBS]
    return "\n".join(parts)


def every_command() -> Iterator[tuple[str, Any]]:
    """All commands with their whole name, the groups too."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for verb, below in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {verb}", below)

    yield from walk("kubeha", typer.main.get_command(app))


def _command(name: str, command: Any) -> str:
    below = getattr(command, "commands", {})
    if below:
        inner = (_command(f"{name} {verb}", each) for verb, each in below.items())
        return f"## `{name}`\n\n{_prose(command.help)}\n\n" + "\n".join(inner)
    level = "###" if name.count(" ") > 1 else "##"
    usage = " ".join([name, *_usage(command)])
    head = f"{level} `{name}`\n\n{_prose(command.help)}\n\n```\n{usage}\n```\n"
    return _options(head, [param for param in command.params if param.name != "help"])


def _usage(command: Any) -> Iterator[str]:
    for param in sorted(command.params, key=lambda param: param.param_type_name == "argument"):
        word = param.opts[0] if param.param_type_name == "option" else ""
        if not getattr(param, "is_flag", False):
            word = f"{word} {_metavar(param)}".strip()
        if param.name != "help":
            yield word if param.required else f"[{word}]"


def _metavar(param: Any) -> str:
    """What stands for the value; the attribute for its type is not the same in all typers."""
    if param.metavar:
        return str(param.metavar)
    number = isinstance(param.default, int) and not isinstance(param.default, bool)
    return ("NUMBER" if number else param.name.upper()) + ("..." if param.nargs == -1 else "")


def _prose(text: str) -> str:
    """A help text as Markdown; what click may not wrap is a block."""
    first, _, block = text.partition("\b")
    prose = " ".join(first.split()).replace("< ", "<")
    block = block.strip("\n")
    return f"{prose}\n\n```\n{block}\n```" if block else prose


def _options(head: str, params: Sequence[Any]) -> str:
    if head.count("\n") == 0:
        head = f"## {head}\n"
    if not params:
        return head
    rows = ((_names(param), _default(param), _help(param)) for param in params)
    return f"{head}\n{table(('option', 'default', 'what it does'), rows)}"


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_metavar(param)}`"
    names = ", ".join(f"`{name}`" for name in param.opts)
    return names if param.is_flag else f"{names} `{_metavar(param)}`"


def _default(param: Any) -> str:
    if param.required:
        return "**required**"
    return (
        "" if param.default in (None, "", False, (), []) or param.is_flag else f"`{param.default}`"
    )


def _help(param: Any) -> str:
    return param.help or ""
