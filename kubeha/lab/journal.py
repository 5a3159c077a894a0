"""What a lab has made on this box, written down before it is made, and the way to take it away.

One JSON line per thing, flushed to the disk first: after a SIGKILL at any moment, the journal
names everything that may exist, and cleaning up touches exactly this. Every name in it carries
the lab's random id, so a thing of that name is the lab's own.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from kubeha.errors import LabError
from kubeha.lab import cgroup
from kubeha.lab.lab import Lab, cache_directory
from kubeha.lab.network import remove_namespace
from kubeha.lab.process import run

Kind = Literal["lab", "directory", "mount", "namespace", "group", "unit"]


@dataclass(frozen=True)
class Entry:
    """One thing: an absolute path, a namespace's name or a systemd unit's name.

    The first entry of a lab's journal is the lab itself: its directory, ./.lab/NAME.
    """

    kind: Kind
    name: str


class Journal:
    """A file of entries, beside the machines' disks: a lost lab directory does not lose it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def start(cls, lab: Lab) -> "Journal":
        """The journal of a lab that is about to be made, linked from the lab's directory."""
        lab.store.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(lab.store.with_suffix(".journal"))
        journal.record(Entry("lab", str(lab.directory)))
        (lab.directory / "journal").symlink_to(journal.path)
        return journal

    @classmethod
    def of(cls, directory: Path) -> tuple["Journal", ...]:
        """Every journal of a lab that has or had this directory, whether or not it is left."""
        own = (directory / "journal").resolve()
        others = set((cache_directory() / "labs").glob("*.journal")) - {own}
        mark = (Entry("lab", str(directory)),)
        orphans = [cls(path) for path in sorted(others) if cls(path).entries()[:1] == mark]
        return (cls(own), *orphans) if own.exists() else tuple(orphans)

    def record(self, *entries: Entry) -> None:
        """Write down what is about to be made."""
        with self.path.open("a") as file:
            for entry in entries:
                file.write(json.dumps({"kind": entry.kind, "name": entry.name}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> tuple[Entry, ...]:
        """What was recorded, in order; a last line that was cut off was not acted upon yet."""
        with suppress(FileNotFoundError):
            return tuple(_parse(self.path.read_text()))
        return ()

    def clean(self) -> None:
        """Take away everything that was recorded, the latest first; what is gone is skipped.

        The journal goes last, so an interrupted cleaning is continued by the next one.
        """
        entries = self.entries()
        for kind, remove in _REMOVE.items():
            for entry in reversed(entries):
                if entry.kind == kind:
                    remove(entry.name)
        self.path.unlink(missing_ok=True)


def _parse(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            return
        if data["kind"] in get_args(Kind):
            yield Entry(data["kind"], data["name"])


def _stop_unit(name: str) -> None:
    run(["systemctl", "kill", "--signal=KILL", name], check=False)
    run(["systemctl", "stop", name], check=False, timeout=30)
    run(["systemctl", "reset-failed", name], check=False)


def _remove_group(name: str) -> None:
    cgroup.kill(Path(name))
    cgroup.remove(Path(name))


def _unmount(name: str) -> None:
    while name in _mounts():
        run(["umount", name], check=False)
        if name in _mounts():
            # Somebody looks into it from outside: it goes when they leave.
            run(["umount", "--lazy", name])


def _mounts() -> set[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {line.split()[1].encode().decode("unicode_escape") for line in lines}


def _remove_directory(name: str, timeout: float = 5.0) -> None:
    """Remove a tree; never into a mount or through a link, for that would be somebody's data."""
    if os.path.islink(name):
        raise LabError(
            f"{name} is a link, and the lab made a directory", hint=f"look, and rm {name}"
        )
    inside = [mount for mount in _mounts() if mount == name or mount.startswith(f"{name}/")]
    if inside:
        raise LabError(
            f"{inside[0]} is mounted inside of {name}, and the lab did not mount it",
            hint=f"umount {inside[0]}, then run kubeha lab down again",
        )
    deadline = time.monotonic() + timeout
    while os.path.lexists(name):
        try:
            shutil.rmtree(name)
        except FileNotFoundError:
            continue
        except OSError:
            # A process that was killed may not have let go of its files yet.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# In this order: processes hold mounts and namespaces, and mounts hold directories.
_REMOVE: dict[Kind, Callable[[str], None]] = {
    "unit": _stop_unit,
    "group": _remove_group,
    "mount": _unmount,
    "namespace": remove_namespace,
    "directory": _remove_directory,
}
