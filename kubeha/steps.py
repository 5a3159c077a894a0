"""A node's change -> the steps that carry it out, and the steps that take it back. Pure.

Rules: what validates comes before what puts in place; what puts in place comes before what makes
effective; every service is followed by its gate. Steps are values: `rollout` carries them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubeha import paths
from kubeha.facts import NodeFacts
from kubeha.plan import (
    GUARD,
    HAPROXY,
    KEEPALIVED,
    FileChange,
    NodeChange,
    PlannedMove,
    Reaction,
)
from kubeha.remote import ABSENT, DIRECTORY, FileRemoval, FileState, FileWrite

# Validated by the program itself before they are put in place.
VALIDATED = {
    paths.HAPROXY_CONFIG: ("haproxy", "-c", "-f"),
    paths.KEEPALIVED_CONFIG: ("keepalived", "-t", "-f"),
}
QUICK = 30.0
APT = 900.0
APT_GET = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")


@dataclass(frozen=True)
class Run:
    """A command on the node.

    `quiet`: it must print nothing (keepalived -t has no other word). `tolerate`: its failure is
    no failure. `verbose`: a package manager, whose noteworthy lines are shown as they come, and
    which is left to finish if the operator goes away.
    """

    title: str
    argv: tuple[str, ...]
    timeout: float = QUICK
    quiet: bool = False
    tolerate: bool = False
    verbose: bool = False


def noteworthy(line: str) -> bool:
    """Is this line of apt-get worth showing? What is fetched and set up, and what goes wrong."""
    return line.startswith(("Setting up ", "Removing ", "Purging ", "Err:", "E: ", "W: "))


@dataclass(frozen=True)
class Write:
    """Files put in place, each atomically and only if it replaces what the plan has seen."""

    title: str
    files: tuple[FileWrite, ...]


@dataclass(frozen=True)
class Stage:
    """Files written beside, for their program to judge them."""

    title: str
    files: tuple[FileWrite, ...]


@dataclass(frozen=True)
class Remove:
    """Files taken away."""

    title: str
    files: tuple[FileRemoval, ...]


@dataclass(frozen=True)
class NotePackages:
    """Note what is installed now, for `PurgeNew`: as late as can be, before apt is let loose."""

    title: str


@dataclass(frozen=True)
class PurgeNew:
    """Remove the packages that came since `NotePackages`, and only those."""

    title: str


@dataclass(frozen=True)
class TakeOver:
    """Stop the keepalived of these nodes, and see that none has the VIP any more."""

    title: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class HandBack:
    """Start the keepalived of these nodes again, with the files that they had."""

    title: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class MoveAway:
    """The VIP goes to another node, hitless; `wait` as in plan.PlannedMove."""

    title: str
    wait: bool


class GateKind(StrEnum):
    """What has to be seen before the next step."""

    HAPROXY = "haproxy"
    GUARD = "guard"
    KEEPALIVED = "keepalived"


GATES = (
    (HAPROXY, GateKind.HAPROXY),
    (GUARD, GateKind.GUARD),
    (KEEPALIVED, GateKind.KEEPALIVED),
)


@dataclass(frozen=True)
class Gate:
    """Wait until it is so, then look again; `renewed`: a new instance has to be seen first."""

    title: str
    kind: GateKind
    renewed: bool


Step = (
    Run | Write | Stage | Remove | NotePackages | PurgeNew | TakeOver | HandBack | MoveAway | Gate
)


def forward(
    change: NodeChange, takeover: tuple[str, ...] = (), move: PlannedMove | None = None
) -> tuple[Step, ...]:
    """From what was seen to what is wanted, on one node.

    `takeover`: nodes whose keepalived has to give the VIP away first; as late as can be. `move`:
    the VIP leaves this node before a service is started anew.
    """
    support = tuple(f for f in change.files if f.path not in (*VALIDATED, paths.APPLIED))
    settings = tuple(f for f in change.files if f.path in VALIDATED)
    stamp = tuple(f for f in change.files if f.path == paths.APPLIED)
    steps: list[Step] = [*install(change)]
    if support:
        writes = tuple(write(file) for file in support)
        steps.append(Write("write what the services need around them", writes))
        steps += _refresh(support)
    if settings:
        beside = tuple(staged(file) for file in settings)
        steps.append(Stage("put the new settings beside the old ones", beside))
        steps += [_validate(file.path) for file in settings]
        writes = tuple(write(file) for file in settings)
        steps.append(Write("put the validated settings in place", writes))
        steps.append(_unstage(beside))
    if change.unmask or change.install:
        units = change.unmask or (HAPROXY, KEEPALIVED)
        steps.append(Run("unmask the services", ("systemctl", "unmask", "--runtime", *units)))
    if support or change.install:
        steps.append(Run("let systemd read its units again", ("systemctl", "daemon-reload")))
    if move is not None and move.node == change.node:
        rest = " and wait for its connections" if move.wait else ""
        steps.append(MoveAway(f"move the VIP to another node{rest}", move.wait))
    steps += _service(change, HAPROXY, GateKind.HAPROXY)
    # Before keepalived: one that hears nobody takes the VIP as soon as it runs.
    steps += _service(change, GUARD, GateKind.GUARD)
    if takeover:
        who = ", ".join(takeover)
        steps.append(TakeOver(f"stop the keepalived that is not ours on {who}", takeover))
    steps += _service(change, KEEPALIVED, GateKind.KEEPALIVED)
    if stamp:
        writes = tuple(write(file) for file in stamp)
        steps.append(Write("note what the services were given", writes))
    return tuple(steps)


def install(change: NodeChange) -> tuple[Step, ...]:
    """apt-get with the services masked, so that no postinst starts one before its time.

    Runtime masks rather than policy-rc.d: they live in /run, so that a machine which dies in the
    middle comes back without them.
    """
    if not change.install:
        return ()
    units = (HAPROXY, KEEPALIVED)
    apt = APT_GET
    keep = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
    return (
        Run("keep the packages from starting services", ("systemctl", "mask", "--runtime", *units)),
        # It does not wait for another dpkg as apt-get does; apt-get is the judge of what it leaves.
        Run(
            "finish what dpkg may have left open",
            ("dpkg", "--force-confdef", "--force-confold", "--configure", "-a"),
            APT,
            tolerate=True,
        ),
        Run("apt-get update", (*apt, "update"), APT, tolerate=True, verbose=True),
        NotePackages("note what is installed"),
        Run(
            f"apt-get install {' '.join(change.install)}",
            (*apt, *keep, "install", "--no-install-recommends", *change.install),
            APT,
            verbose=True,
        ),
    )


def _refresh(files: tuple[FileChange, ...]) -> list[Step]:
    """What has to be told that one of its files changed."""
    if any(file.path == paths.TMPFILES for file in files):
        argv = ("systemd-tmpfiles", "--create", paths.TMPFILES)
        return [Run("create the runtime files", argv)]
    return []


def _validate(path: str) -> Run:
    program = VALIDATED[path]
    return Run(
        f"let {program[0]} judge its new settings",
        (*program, f"{paths.STAGE}/{path.rsplit('/', 1)[1]}"),
        quiet=path == paths.KEEPALIVED_CONFIG,
    )


def _service(change: NodeChange, unit: str, gate: GateKind) -> list[Step]:
    service = change.service(unit)
    name = unit.removesuffix(".service")
    steps: list[Step] = []
    if service.enable:
        steps.append(Run(f"enable {name} at boot", ("systemctl", "enable", "-q", unit)))
    if service.reaction is not Reaction.NONE:
        verb = service.reaction.value
        steps.append(Run(f"{verb} {name}", ("systemctl", verb, unit), timeout=90.0))
        # A reload gives HAProxy a new worker; keepalived stays the process that it is.
        renewed = service.reaction is Reaction.RESTART or (
            service.reaction is Reaction.RELOAD and unit == HAPROXY
        )
        steps.append(Gate(f"wait until {name} does its work", gate, renewed))
    return steps


def way_back(change: NodeChange, before: NodeFacts, done: Sequence[Step]) -> tuple[Step, ...]:
    """From wherever `forward` came to an end, back to what was seen before.

    `done`: the steps that were tried, the failed one included: what was not tried is not undone.
    `change.files`: those that are on the node as we wrote them; what somebody else has changed
    meanwhile is left to them. Services that did not run are stopped first, so that nothing runs
    with half of its files; packages go before files come back, for purging one takes its
    configuration with it.
    """
    steps: list[Step] = []
    for unit in (KEEPALIVED, GUARD, HAPROXY):
        steps += _stop(unit, before, done)
    steps += [_unstage(step.files) for step in done if isinstance(step, Stage)]
    if any(isinstance(step, NotePackages) for step in done):
        steps.append(PurgeNew("remove the packages that were not there"))
    steps += _files_back(change)
    if tried(done, "mask"):
        units = (HAPROXY, KEEPALIVED)
        unmask = ("systemctl", "unmask", "--runtime", *units)
        steps.append(Run("unmask the services", unmask, tolerate=True))
    if change.files or tried(done, "mask"):
        steps.append(Run("let systemd read its units again", ("systemctl", "daemon-reload")))
    for unit, gate in GATES:
        steps += _again(unit, gate, before, done)
    for step in done:
        if isinstance(step, TakeOver):
            who = ", ".join(step.nodes)
            steps.append(HandBack(f"start the keepalived that was there on {who}", step.nodes))
    return tuple(steps)


def tried(done: Sequence[Step], *words: str) -> bool:
    """Was `systemctl` called with all of these words?"""
    calls = (step.argv for step in done if isinstance(step, Run) and step.argv[0] == "systemctl")
    return any(set(words) <= set(argv) for argv in calls)


def _files_back(change: NodeChange) -> list[Step]:
    steps: list[Step] = []
    restore = tuple(restored(file.before) for file in change.files if file.before is not None)
    created = tuple(FileRemoval(file.path) for file in change.files if file.before is None)
    if any(file.path == paths.TMPFILES for file in created):
        made = paths.MADE_BY_TMPFILES
        created = (*created, *(FileRemoval(path) for path in made))
    if restore:
        steps.append(Write("put the former files back", restore))
    if created:
        steps.append(Remove("remove the new files", created))
        steps.append(Remove("remove directories that are empty now", _parents(created)))
    return steps


def _parents(removals: tuple[FileRemoval, ...]) -> tuple[FileRemoval, ...]:
    """The directories of these files, for removal where nothing is left in them."""
    parents = sorted({removal.path.rsplit("/", 1)[0] for removal in removals})
    return tuple(FileRemoval(parent, DIRECTORY) for parent in parents)


def _stop(unit: str, before: NodeFacts, done: Sequence[Step]) -> list[Step]:
    seen = before.units.get(unit)
    steps: list[Step] = []
    if (seen is None or not seen.active) and tried(done, "start", unit):
        stop = ("systemctl", "stop", unit)
        steps.append(Run(f"stop {unit}", stop, timeout=90.0, tolerate=True))
    if (seen is None or not seen.enabled) and tried(done, "enable", unit):
        disable = ("systemctl", "disable", "-q", unit)
        steps.append(Run(f"disable {unit}", disable, tolerate=True))
    return steps


def _again(unit: str, gate: GateKind, before: NodeFacts, done: Sequence[Step]) -> list[Step]:
    """A service that ran before takes its former files, in the way in which it took the new."""
    seen = before.units.get(unit)
    if seen is None or not seen.active:
        return []
    for verb in ("reload", "restart"):
        if tried(done, verb, unit):
            title = f"{verb} {unit} with its former files"
            back = Run(title, ("systemctl", "reload-or-restart", unit), 90.0)
            if verb == "restart":
                back = Run(title, ("systemctl", "restart", unit), 90.0)
            return [back, Gate(f"see {unit} at work again", gate, renewed=False)]
    return []


def write(file: FileChange) -> FileWrite:
    """Put in place, if what is there is still what the plan has seen."""
    after = file.after
    return FileWrite(
        path=after.path,
        content=after.content,
        mode=after.mode,
        owner=after.owner,
        group=after.group,
        expect=file.before.sha256 if file.before else ABSENT,
        keep=f"{paths.KEPT}{after.path}" if file.keep else None,
    )


def staged(file: FileChange) -> FileWrite:
    """The same content under the directory where it is judged."""
    name = file.path.rsplit("/", 1)[1]
    return FileWrite(path=f"{paths.STAGE}/{name}", content=file.after.content, mode=0o600)


def _unstage(files: tuple[FileWrite, ...]) -> Remove:
    """Take away what was only there to be judged."""
    removals = [FileRemoval(file.path) for file in files]
    return Remove("clear up", (*removals, FileRemoval(paths.STAGE, DIRECTORY)))


def restored(state: FileState) -> FileWrite:
    """What was there, with its mode and owner, over whatever is there now."""
    return FileWrite(
        path=state.path,
        content=state.content or "",
        mode=0o644 if state.mode is None else state.mode,
        owner=state.owner or "root",
        group=state.group or "root",
    )
