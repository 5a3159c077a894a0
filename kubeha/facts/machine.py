"""All that is asked about the machine itself, and what it says: one value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeha.facts import automation, claims, firewall, kernel, programs, selinux
from kubeha.facts.automation import Automation
from kubeha.facts.claims import Claim
from kubeha.facts.kernel import Kernel
from kubeha.facts.packet_filter import Table
from kubeha.facts.programs import Programs, Version, upstream_version
from kubeha.facts.selinux import SELinux
from kubeha.model import IPAddress
from kubeha.remote import Collected, Command

PACKAGES = ("haproxy", "keepalived")
# Programs that hold addresses, or would take ours.
MANAGERS = ("keepalived", "kube-vip", "ucarp", "vrrpd", "vrrpd6", "uvrrpd")
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
FILES = (*kernel.FILES, *selinux.FILES)
COMMANDS = {
    **firewall.COMMANDS,
    **kernel.COMMANDS,
    **automation.COMMANDS,
    **programs.COMMANDS,
    **claims.COMMANDS,
}


def commands(vip: IPAddress) -> dict[str, Command]:
    return {**COMMANDS, **claims.question(vip)}


def questions(vip: IPAddress, *, install: bool) -> dict[str, dict[str, Any]]:
    """What node/machine.py is asked; `install`: also whether packages could be."""
    looks = {"processes": [*MANAGERS], "locks": [*LOCKS], "vip": str(vip)}
    source = {"source": {"packages": [*PACKAGES], "timeout": 4.0}} if install else {}
    return {"machine": {"machine": looks}, "package_source": source}


@dataclass(frozen=True)
class Process:
    """`real_time`: scheduled before all ordinary ones. `inotify`: how many watches of files it
    has open. `names_vip`: the VIP is among its arguments or in its environment."""

    pid: int
    parent: int
    name: str
    cgroup: str
    host_network: bool
    real_time: bool
    inotify: int
    names_vip: bool

    def of(self, unit: str) -> bool:
        """Was it started by this systemd unit?"""
        return any(line.endswith(f"/{unit}") for line in self.cgroup.splitlines())


@dataclass(frozen=True)
class PackageSource:
    """What apt would do about missing packages. `candidates`: package -> version on offer.
    `problem`: what apt says where it could not, `sources` where its lists come from, `lists`
    whether there are any, `unreachable`: source -> what apt says of the try to reach it."""

    missing: tuple[str, ...]
    candidates: Mapping[str, Version] = field(default_factory=dict)
    problem: str = ""
    sources: tuple[str, ...] = ()
    lists: bool = True
    unreachable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """`tables`: the firewall's rules, None if no program could show any. `locks`: lock file of
    dpkg or apt -> the process that holds it. `inotify_error`: why no file can be watched."""

    tables: tuple[Table, ...] | None
    kernel: Kernel
    selinux: SELinux | None
    automation: Automation
    programs: Programs
    claims: tuple[Claim, ...]
    processes: tuple[Process, ...] | None = None
    locks: Mapping[str, int] = field(default_factory=dict)
    inotify_error: str | None = None
    source: PackageSource | None = None


def parse(seen: Collected) -> Machine | None:
    """None if the machine was not asked about itself."""
    looked = seen.answers.get("machine", {}).get("machine")
    if looked is None:
        return None
    return Machine(
        tables=firewall.parse(seen.commands),
        kernel=kernel.parse(seen.commands, seen.files),
        selinux=selinux.parse(seen.files),
        automation=automation.parse(seen.commands),
        programs=programs.parse(seen.commands),
        claims=claims.parse(seen.commands),
        processes=tuple(_process(one) for one in looked["processes"]),
        locks={path: pid for path, pid in looked["locks"].items() if pid is not None},
        inotify_error=looked["inotify_error"],
        source=parse_source(seen.answers.get("package_source", {}).get("source")),
    )


def _process(one: Mapping[str, Any]) -> Process:
    return Process(
        pid=int(one["pid"]),
        parent=int(one["parent"]),
        name=str(one["name"]),
        cgroup=str(one["cgroup"]),
        host_network=bool(one["host_network"]),
        real_time=bool(one["real_time"]),
        inotify=int(one["inotify"]),
        names_vip=bool(one["names_vip"]),
    )


def parse_source(answer: Mapping[str, Any] | None) -> PackageSource | None:
    """An answer of node/machine.py's package_source; None if it was not asked or could not tell."""
    if answer is None or "missing" not in answer:
        return None
    missing = tuple(answer["missing"])
    if not missing:
        return PackageSource(())
    output = str(answer["output"])
    return PackageSource(
        missing,
        candidates=parse_candidates(output, missing),
        problem="" if answer["status"] in (0, None) else _complaint(output),
        sources=tuple(answer["sources"]),
        lists=bool(answer["lists"]),
        unreachable={source: _complaint(said) for source, said in answer["unreachable"].items()},
    )


def parse_candidates(text: str, packages: tuple[str, ...]) -> dict[str, Version]:
    """`apt-get --print-uris install`: 'URI' PACKAGE_VERSION_ARCHITECTURE.deb SIZE DIGEST."""
    found = {}
    for line in text.splitlines():
        name, _, rest = (re.findall(r"^'[^']*' (\S+)", line) or [""])[0].partition("_")
        if name in packages and (version := upstream_version(rest)):
            found[name] = version
    return found


def _complaint(text: str) -> str:
    """What apt calls an error, on one line, or its last words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:"))]
    return " ".join(errors or lines[-1:])[:300]
