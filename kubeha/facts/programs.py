"""Versions of the programs that count, and how many files HAProxy may open: raw text -> values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeha import haproxy, keepalived
from kubeha.remote import Command, Completed

Version = tuple[int, int, int]
# From the weakest to the strongest: of two files of one name the latter's counts (systemd.unit(5)).
DROP_IN_PLACES = tuple(
    f"{place}/haproxy.service.d"
    for place in ("/usr/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system")
)
COMMANDS = {
    "haproxy_version": Command(("haproxy", "-v")),
    "keepalived_version": Command(("keepalived", "-v")),
    "systemd_version": Command(("systemctl", "--version")),
    "file_limits": Command(
        ("grep", "-rsE", r"^[[:space:]]*LimitNOFILE[[:space:]]*=", *DROP_IN_PLACES)
    ),
}


@dataclass(frozen=True)
class FileLimit:
    """LimitNOFILE in one drop-in of haproxy.service; None for `infinity`."""

    path: str
    files: int | None


@dataclass(frozen=True)
class Programs:
    """`versions`: program -> its version, of those that are there. `file_limits`: of HAProxy's
    unit, in the order in which systemd reads them (the last one counts)."""

    versions: Mapping[str, Version] = field(default_factory=dict)
    file_limits: tuple[FileLimit, ...] = ()


def parse(commands: Mapping[str, Completed]) -> Programs:
    """What answered; a program that is not there has no version."""
    text = {name: done.stdout + done.stderr for name, done in commands.items()}
    versions = {
        "haproxy": haproxy.parse_version(text.get("haproxy_version", "")),
        "keepalived": keepalived.parse_version(text.get("keepalived_version", "")),
        "systemd": parse_systemd_version(text.get("systemd_version", "")),
    }
    return Programs(
        {name: version for name, version in versions.items() if version},
        parse_file_limits(text.get("file_limits", "")),
    )


def parse_file_limits(text: str) -> tuple[FileLimit, ...]:
    """`grep -r`: PATH:LimitNOFILE=SOFT[:HARD] lines; HAProxy raises the soft one by itself."""
    found: dict[str, tuple[int, FileLimit]] = {}
    for line in text.splitlines():
        path, _, setting = line.partition(":")
        value = setting.partition("=")[2].strip().rpartition(":")[2]
        directory, _, name = path.rpartition("/")
        if name.endswith(".conf") and directory in DROP_IN_PLACES:
            rank = DROP_IN_PLACES.index(directory)
            if value.isdigit() or value == "infinity":
                limit = FileLimit(path, int(value) if value.isdigit() else None)
                if rank >= found.get(name, (0, limit))[0]:
                    found[name] = rank, limit
    return tuple(found[name][1] for name in sorted(found))


def parse_systemd_version(text: str) -> Version | None:
    """`systemctl --version`: "systemd 252 (252.39-1~deb12u1)"."""
    found = re.match(r"systemd ([0-9]{1,5})\b", text)
    return (int(found[1]), 0, 0) if found else None


def upstream_version(text: str) -> Version | None:
    """A Debian package's version, of which only what upstream gave it: "1:2.2.7-1+b2"."""
    found = re.match(r"(?:[0-9]+(?::|%3a))?([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
