"""Is each machine fit for it: distribution, packages, disk, files and services in the way?"""

from collections.abc import Iterator

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.grammar import secrets
from kubeha.world import World, is_ours

MIB = 1024 * 1024


# keepalived and haproxy with their dependencies unpack to about 60 MB on Debian 12.
NEEDED_BYTES = {"/": 300 * MIB, "/etc": 4 * MIB, "/var": 300 * MIB}


REPLACED = paths.WRITTEN


PACKAGES = ("haproxy", "keepalived")


def no_systemd(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        if not facts.systemd:
            yield kinds.NO_SYSTEMD.at(
                facts.name,
                "this machine was not booted with systemd",
                "use a machine with systemd, or take the files from: kubeha render",
            )


def packages(world: World) -> Iterator[Finding]:
    """Either they can be installed, or they must be there."""
    for facts in world.load_balancers:
        missing = [name for name in PACKAGES if name not in facts.packages]
        words = " and ".join(missing)
        if facts.os is None or not facts.os.debian_family:
            name = facts.os.pretty_name if facts.os else "an unknown distribution"
            yield kinds.UNSUPPORTED_OS.at(
                facts.name,
                f"{name}: kubeha has been tried on the Debian family only",
                "use Debian or Ubuntu there, or take the files from: kubeha render",
                f"ID={facts.os.id} ID_LIKE={' '.join(facts.os.like)}" if facts.os else "",
            )
        elif missing and world.cluster.packages == "preinstalled":
            yield kinds.PACKAGE_MISSING.at(
                facts.name,
                f"{words} not installed, and the cluster file says packages: preinstalled",
                f"install {words} on {facts.name}, or set packages: install",
            )


def foreign_files(world: World) -> Iterator[Finding]:
    """Somebody else's configuration is never overwritten silently."""
    for facts in world.load_balancers:
        for path in REPLACED:
            state = facts.files.get(path)
            if state is None or not state.exists or is_ours(facts.text_of(path)):
                continue
            if not facts.is_pristine(path):
                yield kinds.FOREIGN_FILE.at(
                    facts.name,
                    f"{path} was not written by kubeha",
                    "look at it; to replace it and keep a copy: kubeha apply --adopt",
                    _first_lines(facts.text_of(path) or ""),
                )


def _first_lines(text: str, count: int = 3) -> str:
    lines = [secrets.masked(line.strip()) for line in text.splitlines() if line.strip()]
    return " / ".join(lines[:count])


def unreadable(world: World) -> Iterator[Finding]:
    """What could not be found out must not pass for 'there is nothing'."""
    for facts in world.load_balancers:
        for line in facts.unanswered:
            yield kinds.UNREADABLE.at(
                facts.name, f"a question got no answer: {line}", "install what is missing there"
            )
        for path in REPLACED:
            state = facts.files.get(path)
            if state is not None and state.exists and (state.content is None or state.link):
                why = state.error or f"it is a symbolic link to {state.link}"
                yield kinds.UNREADABLE.at(
                    facts.name,
                    f"{path} cannot be replaced, for it could not be put back: {why}",
                    "move it away",
                )


def masked(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        for unit in facts.units.values():
            if unit.masked:
                yield kinds.MASKED.at(
                    facts.name,
                    f"{unit.name} is masked by somebody",
                    f"if that is no longer wanted: systemctl unmask {unit.name}",
                )


def disk(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        installed = all(name in facts.packages for name in PACKAGES)
        for path, free in sorted(facts.free_bytes.items()):
            needed = min(NEEDED_BYTES.get(path, 0), 4 * MIB if installed else NEEDED_BYTES["/"])
            if free < needed:
                yield kinds.DISK_FULL.at(
                    facts.name,
                    f"{path} has {free // MIB} MiB free, {needed // MIB} MiB are needed",
                    f"make room on {facts.name}",
                )


def read_only(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        if facts.etc_writable is False:
            yield kinds.READ_ONLY.at(
                facts.name,
                "/etc cannot be written to: its file system is mounted read-only",
                f"see why in the log (dmesg) of {facts.name}, then: mount -o remount,rw /etc",
            )
