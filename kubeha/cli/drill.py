"""`kubeha drill`: break something on purpose, measure what clients see, heal, judge."""

import asyncio
import inspect
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubeha.cli import options
from kubeha.errors import UsageError

if TYPE_CHECKING:
    from kubeha.drill import Drill, Injector, NotHealthy
    from kubeha.drills.result import Trial
    from kubeha.lab.lab import Lab
    from kubeha.model import Cluster, Node


def register(app: typer.Typer) -> None:
    app.command("drill", help=_help())(drill)


def _help() -> str:
    """What it does, and every fault that there is."""
    from kubeha.drills.blows import DANGEROUS, SAFE
    from kubeha.drills.catalogue import FAULTS

    widest = max(map(len, FAULTS))
    marks = {**dict.fromkeys(SAFE, " "), **dict.fromkeys(DANGEROUS, "!")}
    rows = (f"{marks.get(n, 'L')} {n:<{widest}}  {fault.summary}" for n, fault in FAULTS.items())
    text = inspect.cleandoc(drill.__doc__ or "")
    return "\n".join([text, "", "\b", "!: only with --yes-really; L: only in a lab", *rows])


def drill(
    context: typer.Context,
    faults: Annotated[
        list[str] | None,
        typer.Argument(metavar="FAULT...", help="What to break."),
    ] = None,
    every: bool = typer.Option(
        False,
        "--all",
        help="All that are safe; in a lab: all that can be done.",
    ),
    trials: int = typer.Option(1, min=1, max=1000, help="How often each fault is tried."),
    node: str = typer.Option("", metavar="NODE", help="Whom to strike, rather than the holder."),
    clients: str = typer.Option(
        "", metavar="NODE,...", help="Where clients run; else the clients of the cluster file."
    ),
    budget: float | None = typer.Option(
        None, metavar="SECONDS", help="The longest silence allowed, rather than the computed one."
    ),
    record: str = typer.Option(
        "",
        metavar="FILE",
        help="Where trials are noted; else drill-TIME.jsonl by the cluster file.",
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with the record, or begin it: the trials that it lacks."
    ),
    report: str = typer.Option("", metavar="FILE.html", help="Also write a report to look at."),
    yes_really: bool = typer.Option(
        False, "--yes-really", help="Do what may hurt, if it is named: hang, cut off, power off."
    ),
    lab: bool = typer.Option(False, "--lab", help="On the lab of this box, and its cluster file."),
    name: str = typer.Option("lab", "--name", help="The lab's name."),
    output: str = options.Output,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Break the endpoint on purpose, measure what its clients see, heal it, and judge.

    Each trial goes from healthy to healthy, and every fault heals itself by a timer on the node.
    """
    from kubeha.cli import output as out
    from kubeha.drills.result import verdict
    from kubeha.drills.text import drill_view
    from kubeha.errors import ExitCode

    _check_budget(budget)
    as_json = options.output(output)
    place = _lab(name) if lab else None
    cluster = _cluster(context, place)
    names = _chosen(faults or [], every, yes_really, place is not None)
    wanted = _Wanted(names, trials, node or None, budget)
    _check_node(cluster, node)
    _check_movable(cluster, names)
    run = _Run(
        cluster, wanted, _clients(cluster, clients), options.become_password(ask_become_pass), place
    )
    file = record_file(record, resume, place.cluster_file if place else context.obj["file"])
    whole, ended = asyncio.run(run.all(file, resume=resume))
    if ended is not None and not whole["trials"]:
        raise ended
    if report:
        _write_report(Path(report), whole)
    if as_json:
        out.show_json(whole)
    else:
        out.show(drill_view(whole))
    if ended is not None:
        raise ended
    codes = {"pass": ExitCode.OK, "fail": ExitCode.DOES_NOT_HOLD, "unknown": ExitCode.UNKNOWN}
    raise typer.Exit(codes[verdict(whole)])


def _lab(name: str) -> "Lab":
    """The lab, if nothing in it is broken yet."""
    from kubeha.cli.lab_injector import refuse_broken
    from kubeha.lab import box
    from kubeha.lab.lab import load
    from kubeha.lab.lifecycle import place

    box.require()
    lab = load(place(name))
    refuse_broken(lab)
    return lab


def _cluster(context: typer.Context, lab: "Lab | None") -> "Cluster":
    from kubeha.cli.cluster_file import load

    if lab is not None:
        context.obj["file"] = str(lab.cluster_file)
    return load(context)


def _chosen(given: "Sequence[str]", every: bool, yes_really: bool, in_lab: bool) -> list[str]:
    """The faults that are meant. Raises UsageError for what there is not, or not here."""
    from kubeha.cli.lab_injector import LabInjector
    from kubeha.drills.blows import BY_SSH, DANGEROUS, SAFE
    from kubeha.drills.catalogue import FAULTS

    if bool(given) is every:
        raise UsageError("which faults?", hint=f"--all, or some of {', '.join(FAULTS)}")
    possible = [name for name in FAULTS if name in BY_SSH or (in_lab and LabInjector.knows(name))]
    if every:
        # What may hurt is named, each time.
        allowed = possible if in_lab else SAFE
        return [name for name in possible if name in allowed]
    for name in given:
        if name not in FAULTS:
            close = get_close_matches(name, FAULTS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(FAULTS)}"
            raise UsageError(f"{name}: there is no such fault", hint=hint)
        if name not in possible:
            raise UsageError(f"{name}: only a lab can do that", hint="kubeha lab up, then --lab")
        if name in DANGEROUS and not (in_lab or yes_really):
            raise UsageError(
                f"{name}: {FAULTS[name].summary}: not done without --yes-really",
                hint="docs/drills.md tells what may go wrong",
            )
    return list(dict.fromkeys(given))


def _check_node(cluster: "Cluster", name: str) -> None:
    names = [node.name for node in cluster.nodes]
    if name and name not in names:
        raise UsageError(f"--node {name}: there is no such node", hint=f"one of {', '.join(names)}")


def _check_budget(limit: float | None) -> None:
    if limit is not None and not 0.0 < limit < float("inf"):
        raise UsageError(f"--budget {limit:g}: not a time", hint="seconds, more than 0")


def _check_movable(cluster: "Cluster", names: "Sequence[str]") -> None:
    """Raises UsageError where the VIP would have to move, and there is nowhere to go."""
    from kubeha.drills.catalogue import FAULTS, Moves, Victim

    if len(cluster.load_balancer_nodes) > 1:
        return
    stuck = [
        name
        for name in names
        if FAULTS[name].moves is Moves.ONCE or FAULTS[name].victim is Victim.PAIR
    ]
    if stuck:
        raise UsageError(
            f"{', '.join(stuck)}: no other node can take the VIP: there is one load balancer",
            hint="the endpoint would be gone until it is healed",
        )


def _clients(cluster: "Cluster", names: str) -> "tuple[Node, ...]":
    """Where clients run: those named, the cluster file's, or every node that is not struck."""
    everybody = {node.name: node for node in (*cluster.clients, *cluster.nodes)}
    if not names:
        return cluster.clients or cluster.nodes
    for name in names.split(","):
        if name not in everybody:
            there = ", ".join(everybody)
            raise UsageError(f"--clients {name}: there is no such node", hint=f"some of {there}")
    return tuple(everybody[name] for name in dict.fromkeys(names.split(",")))


def record_file(named: str, resume: bool, cluster_file: "str | Path") -> Path:
    """Where the trials are noted: as named, or drill-TIME.jsonl beside the cluster file."""
    if named:
        return Path(named)
    beside = Path(cluster_file).resolve().parent
    if not resume:
        return beside / time.strftime("drill-%Y%m%d-%H%M%S.jsonl")
    records = sorted(beside.glob("drill-*.jsonl"))
    if not records:
        raise UsageError(
            f"there is no record of a drill in {beside}",
            hint="--record FILE --resume begins one, and goes on with it the next time",
        )
    return records[-1]


@dataclass(frozen=True)
class _Wanted:
    """What shall be tried; `worst`: the operator's own limit for silences, in seconds."""

    faults: list[str]
    trials: int
    node: str | None
    worst: float | None


@dataclass
class _Run:
    """All trials, each noted as it ends."""

    cluster: "Cluster"
    wanted: _Wanted
    clients: "tuple[Node, ...]"
    password: str | None
    lab: "Lab | None"

    async def all(self, file: Path, *, resume: bool) -> "tuple[dict[str, Any], NotHealthy | None]":
        """Do what the record lacks; the result of all that it has then, and why it ended early.

        An endpoint that does not become healthy ends it: each trial more would wait as long.
        """
        from kubeha.budget import timed
        from kubeha.cli import output as out
        from kubeha.drill import NotHealthy
        from kubeha.drills.catalogue import FAULTS
        from kubeha.drills.record import missing
        from kubeha.drills.result import result
        from kubeha.drills.text import trial_line

        head = await self._head()
        done = list(_begin(file, head, resume))
        left = missing(self.wanted.faults, self.wanted.trials, done)
        _say(f"{len(left)} trials to do; they are noted in {file}")
        drill, worst = self._drill(), self._worst(head)
        for name, number in left:
            fault = timed(FAULTS[name], self.cluster)
            try:
                trial = await drill.trial(fault, number, self.wanted.node, worst[name])
            except NotHealthy as error:
                return result(head, done), error
            _note(file, trial)
            done.append(trial)
            out.stderr().print(trial_line(trial, self.wanted.trials))
            # What could not be healed in the trial ends the drill, if it cannot be healed now.
            await drill.injector.heal()
        return result(head, done), None

    def _drill(self) -> "Drill":
        from kubeha.cli.lab_injector import LabInjector
        from kubeha.drill import Drill
        from kubeha.striking import Striker

        striker = Striker(self.cluster, self.password)
        injector: Injector = LabInjector(self.lab, striker) if self.lab else striker
        return Drill(self.cluster, injector, self.clients, self.password, self.wanted.worst)

    def _worst(self, head: dict[str, Any]) -> dict[str, float | None]:
        """The longest silence allowed, by fault."""
        return {each["fault"]: each["worst"] for each in head["budget"]}

    async def _head(self) -> dict[str, Any]:
        from kubeha import __version__
        from kubeha.budget import budget, settings
        from kubeha.drill import about

        return {
            "cluster": self.cluster.cluster,
            "endpoint": {
                "vip": str(self.cluster.endpoint.vip), "port": self.cluster.endpoint.port,
            },
            "started": round(time.time(), 3),
            "kubeha": __version__,
            "nodes": await about(self.cluster, self.password),
            "clients": [node.name for node in self.clients],
            "settings": settings(self.cluster),
            "budget": limited(
                [each.as_json() for each in budget(self.cluster)], self.wanted.worst
            ),
        }  # fmt: skip


def limited(bounds: "Sequence[dict[str, Any]]", limit: float | None) -> list[dict[str, Any]]:
    """The budget with the operator's own limit, where there is one; the computed one beside it."""
    if limit is None:
        return list(bounds)
    return [{**each, "worst": limit, "computed": each["worst"]} for each in bounds]


def _begin(file: Path, head: dict[str, Any], resume: bool) -> "tuple[Trial, ...]":
    """Begin a record, or go on with one; the trials that it has."""
    from kubeha.drills.record import first_line, read

    if not (resume and file.exists()):
        _begin_new(file, first_line(head))
        return ()
    try:
        # A last line that was cut off may end in the middle of a character.
        text = file.read_text("utf-8", errors="replace")
        there = read(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot go on with it: {error}") from None
    if why := there.differs(head):
        raise UsageError(f"{file}: is of another drill: {why}", hint="begin a new one")
    head["started"] = there.head["started"]
    with file.open("r+") as unfinished:
        unfinished.truncate(len(text[: there.size].encode()))
    return there.trials


def _begin_new(file: Path, line: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(line)
    except FileExistsError:
        hint = "--resume goes on with it"
        raise UsageError(f"{file} is there already", hint=hint) from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None


def _note(file: Path, trial: "Trial") -> None:
    from kubeha.drills.record import line

    with file.open("a", encoding="utf-8") as open_file:
        open_file.write(line(trial))


def _say(text: str) -> None:
    print(f"drill: {text}", file=sys.stderr, flush=True)


def _write_report(file: Path, whole: dict[str, Any]) -> None:
    from kubeha.drill_page import render

    file.write_text(render(whole))
    _say(f"wrote {file}")
