"""A node's change -> the steps that carry it out, and the steps that take it back. Pure.

Rules: what validates comes before what puts in place; what puts in place comes before what makes
effective; every service is followed by its gate. Steps are values: `rollout` carries them out.
"""

from dataclasses import dataclass
from enum import StrEnum

from kubeha import paths
from kubeha.facts import NodeFacts
from kubeha.plan import HAPROXY, KEEPALIVED, FileChange, NodeChange, Reaction
from kubeha.remote import ABSENT, DIRECTORY, FileRemoval, FileState, FileWrite

# Validated by the program itself before they are put in place.
VALIDATED = {
    paths.HAPROXY_CONFIG: ("haproxy", "-c", "-f"),
    paths.KEEPALIVED_CONFIG: ("keepalived", "-t", "-f"),
}
QUICK = 30.0
APT = 900.0


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
class Purge:
    """Packages removed that were not there before (and only those)."""

    title: str
    before: frozenset[str]


class GateKind(StrEnum):
    """What has to be seen before the next step."""

    HAPROXY = "haproxy"
    KEEPALIVED = "keepalived"


@dataclass(frozen=True)
class Gate:
    """Wait until it is so, then look again; `renewed`: a new instance has to be seen first."""

    title: str
    kind: GateKind
    renewed: bool


Step = Run | Write | Stage | Remove | Purge | Gate


def forward(change: NodeChange) -> tuple[Step, ...]:
    """From what was seen to what is wanted, on one node."""
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
        steps.append(_unstage(settings))
    if change.unmask or change.install:
        units = change.unmask or tuple(service.unit for service in change.services)
        steps.append(Run("unmask the services", ("systemctl", "unmask", "--runtime", *units)))
    if support or change.install:
        steps.append(Run("let systemd read its units again", ("systemctl", "daemon-reload")))
    for unit, gate in ((HAPROXY, GateKind.HAPROXY), (KEEPALIVED, GateKind.KEEPALIVED)):
        steps += _service(change, unit, gate)
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
    units = tuple(service.unit for service in change.services)
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
    keep = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
    return (
        Run("keep the packages from starting services", ("systemctl", "mask", "--runtime", *units)),
        Run("finish what dpkg may have left open", ("dpkg", "--configure", "-a"), APT),
        Run("apt-get update", (*apt, "update"), APT, tolerate=True, verbose=True),
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
        renewed = service.reaction in (Reaction.RELOAD, Reaction.RESTART)
        steps.append(Gate(f"wait until {name} does its work", gate, renewed))
    return steps


def way_back(change: NodeChange, before: NodeFacts) -> tuple[Step, ...]:
    """From anywhere inside `forward` to what was seen before: files, services, packages.

    Services that did not run are stopped first, so that nothing runs with half of its files.
    """
    steps: list[Step] = []
    for unit in (KEEPALIVED, HAPROXY):
        steps += _stop(unit, before)
    settings = tuple(file for file in change.files if file.path in VALIDATED)
    if settings:
        steps.append(_unstage(settings))
    restore = tuple(restored(file.before) for file in change.files if file.before is not None)
    created = tuple(FileRemoval(file.path) for file in change.files if file.before is None)
    if restore:
        steps.append(Write("put the former files back", restore))
    if created:
        steps.append(Remove("remove the new files", created))
        steps.append(Remove("remove directories that are empty now", _parents(created)))
    units = tuple(service.unit for service in change.services)
    unmask = ("systemctl", "unmask", "--runtime", *units)
    steps.append(Run("unmask the services", unmask, tolerate=True))
    steps.append(Run("let systemd read its units again", ("systemctl", "daemon-reload")))
    if change.install:
        steps.append(Purge("remove the packages that were not there", frozenset(before.packages)))
    for unit in (HAPROXY, KEEPALIVED):
        steps += _start_again(unit, change, before)
    return tuple(steps)


def _parents(removals: tuple[FileRemoval, ...]) -> tuple[FileRemoval, ...]:
    """The directories of these files, for removal where nothing is left in them."""
    parents = sorted({removal.path.rsplit("/", 1)[0] for removal in removals})
    return tuple(FileRemoval(parent, DIRECTORY) for parent in parents)


def _stop(unit: str, before: NodeFacts) -> list[Step]:
    seen = before.units.get(unit)
    steps: list[Step] = []
    if seen is None or not seen.active:
        stop = ("systemctl", "stop", unit)
        steps.append(Run(f"stop {unit}", stop, timeout=90.0, tolerate=True))
    if seen is None or not seen.enabled:
        disable = ("systemctl", "disable", "-q", unit)
        steps.append(Run(f"disable {unit}", disable, tolerate=True))
    return steps


def _start_again(unit: str, change: NodeChange, before: NodeFacts) -> list[Step]:
    """A service that ran before runs again, with its former files."""
    seen = before.units.get(unit)
    if seen is None or not seen.active or change.service(unit).reaction is Reaction.NONE:
        return []
    return [Run(f"restart {unit} with its former files", ("systemctl", "restart", unit), 90.0)]


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


def _unstage(files: tuple[FileChange, ...]) -> Remove:
    """Take away what was only there to be judged."""
    removals = [FileRemoval(staged(file).path) for file in files]
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
