"""From nothing to a running lab and back: up, down, status.

`up` writes each thing into the journal before it makes it. Whatever ends it early (an error,
Ctrl-C, SIGKILL and the next `up`), the journal is how everything is taken away.
"""

import fcntl
import os
import re
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeha.errors import LabError, UsageError
from kubeha.lab import access, box, cgroup, disk, faults, gateway, image, kubernetes, network, power
from kubeha.lab.journal import Entry, Journal
from kubeha.lab.lab import (
    MOST_CLIENTS,
    MOST_NODES,
    RELEASES,
    Lab,
    cache_directory,
    design,
    load,
    save,
)
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is asked of `lab up`."""

    name: str = "lab"
    nodes: int = 3
    clients: int = 1
    release: str = "bookworm"
    kubernetes: str = "auto"

    def __post_init__(self) -> None:
        place(self.name)
        if not 1 <= self.nodes <= MOST_NODES or not 0 <= self.clients <= MOST_CLIENTS:
            raise UsageError(
                f"{self.nodes} nodes and {self.clients} clients cannot be had",
                hint=f"1 to {MOST_NODES} nodes, 0 to {MOST_CLIENTS} clients",
            )
        if self.release not in RELEASES:
            raise UsageError(
                f"there is no release '{self.release}'", hint=f"one of {', '.join(RELEASES)}"
            )


def place(name: str) -> Path:
    """The directory of the lab of that name, below the current one.

    Raises UsageError for what cannot be a name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise UsageError(
            f"{name!r} cannot be a lab's name", hint="use letters a-z, digits and hyphens"
        )
    return Path(".lab").absolute() / name


def up(request: Request, progress: Progress) -> Lab:
    """Make a lab and wait until every machine is up and can be logged in to.

    Raises LabError, and leaves only the logs then; leaves nothing when it is interrupted.
    """
    box.require()
    directory = place(request.name)
    with interruptible(), locked(directory, progress):
        _clear_leftovers(directory, progress)
        box.require_watchers(request.nodes + request.clients)
        base = image.base(request.release, progress)
        programs = _programs(request, progress)
        directory.mkdir(parents=True)
        lab = _new(request, directory)
        try:
            _make(lab, base, progress)
            if programs is not None:
                kubernetes.bring_up(lab, programs, progress)
            (directory / "ready").touch()
        except BaseException as reason:
            progress("cleaning up")
            with undisturbed():
                _undo(lab, keep_logs=isinstance(reason, Exception))
            raise
    return lab


def _programs(request: Request, progress: Progress) -> kubernetes.Binaries | None:
    """The Kubernetes programs that were asked for: minutes, when they have to be built."""
    return None if request.kubernetes == "none" else kubernetes.obtain(request.kubernetes, progress)


def down(directory: Path, progress: Progress) -> None:
    """Take a lab away, with its directory; what is gone already is skipped.

    Raises LabError when there is no such lab.
    """
    box.require()
    if not directory.is_dir() and not Journal.of(directory):
        load(directory)
    with locked(directory, progress), undisturbed():
        _remove(directory)


def _remove(directory: Path) -> None:
    """Everything that labs of this directory have made, then the directory."""
    for journal in Journal.of(directory):
        journal.clean()
    if directory.exists():
        shutil.rmtree(directory)


@contextmanager
def locked(directory: Path, progress: Progress) -> Iterator[None]:
    """One command at a time changes a lab; the kernel frees the lock of one that is killed."""
    directory.parent.mkdir(exist_ok=True)
    path = directory.with_name(f"{directory.name}.lock")
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another command on the lab '{directory.name}'")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Its holder may have removed the file before letting go: then ours locks nobody out.
        if path.exists() and os.fstat(lock).st_ino == path.stat().st_ino:
            break
        os.close(lock)
    try:
        yield
    finally:
        if not directory.exists():
            path.unlink(missing_ok=True)
        os.close(lock)


def status(lab: Lab) -> dict[str, Any]:
    """What the lab is and how its machines are, for people and as JSON."""
    active = faults.active(lab)
    with ThreadPoolExecutor(max_workers=8) as pool:
        states = list(pool.map(Machine.state, lab.machines))
    return {
        "version": 1,
        "name": lab.name,
        "directory": str(lab.directory),
        "release": lab.release,
        "vip": lab.vip,
        "cluster_file": str(lab.cluster_file),
        "ssh_config": str(lab.ssh_config),
        "machines": [
            {
                "name": machine.name,
                "role": "control plane node" if machine in lab.control_plane else "client node",
                "address": machine.address,
                "address6": machine.address6,
                "state": state,
                "faults": [each.fault for each in active if machine.name in each.machines],
            }
            for machine, state in zip(lab.machines, states, strict=True)
        ],
        "segment": [
            {"fault": each.fault, "settings": dict(each.settings)}
            for each in active
            if not each.machines
        ],
    }


def wait_until_up(lab: Lab, machine: Machine, progress: Progress, timeout: float = 60.0) -> None:
    """Wait until systemd has started everything and a login over SSH works.

    Raises LabError with what was seen last, after `timeout` seconds.
    """
    if machine.wait_until_up(timeout) == "degraded":
        progress(f"{machine.name}: failed units: {', '.join(machine.failed_units())}")
    login = ["ssh", "-F", str(lab.ssh_config), "-o", "ConnectTimeout=20", machine.name, "true"]
    try:
        run(login, timeout=30)
    except LabError as error:
        raise LabError(
            f"is up, but SSH does not let us in: {error.message}",
            hint=f"kubeha lab exec {machine.name} -- journalctl -u ssh",
            node=machine.name,
        ) from error


def _new(request: Request, directory: Path) -> Lab:
    """Draw an id and write lab.json: from here on the lab has a name."""
    lab_id = secrets.token_hex(3)
    lab = design(
        request.name,
        lab_id,
        directory,
        store=cache_directory() / "labs" / lab_id,
        release=request.release,
        nodes=request.nodes,
        clients=request.clients,
    )
    save(lab)
    lab.logs.mkdir()
    return lab


def _make(lab: Lab, base: Path, progress: Progress) -> None:
    """Network, disks, machines; then wait until all of them answer."""
    journal = Journal.start(lab)
    progress(f"starting {', '.join(machine.name for machine in lab.machines)}")
    journal.record(Entry("directory", str(lab.store)), Entry("namespace", lab.lan))
    lab.store.mkdir(parents=True)
    network.create_lan(lab)
    gateway.bring(lab)
    access.write_client_files(lab)
    for machine in lab.machines:
        journal.record(*_traces(machine))
        disk.make(machine, base)
        access.give_identity(lab, machine)
        power.on(lab, machine)
    # They boot side by side, so that waiting for one after the other takes no longer; and a
    # thread that waits could not be interrupted by Ctrl-C.
    for machine in lab.machines:
        wait_until_up(lab, machine, progress)


def _traces(machine: Machine) -> list[Entry]:
    """Everything that a machine leaves on this box while it exists."""
    traces = [
        *disk.traces(machine),
        Entry("namespace", machine.namespace),
        Entry("group", str(machine.group)),
    ]
    if cgroup.systemd_runs_here():
        return [*traces, Entry("unit", machine.unit)]
    return [Entry("group", str(machine.group.parent)), *traces]


def _clear_leftovers(directory: Path, progress: Progress) -> None:
    """Take away what a lab of this name has left; raises LabError when it is running."""
    if (directory / "ready").exists() and (network.NETNS / load(directory).lan).exists():
        raise LabError(
            f"the lab '{directory.name}' is up already",
            hint=f"kubeha lab down --name {directory.name}, or another --name",
        )
    if Journal.of(directory):
        progress(f"cleaning up what an earlier lab '{directory.name}' has left")
    _remove(directory)


def _undo(lab: Lab, *, keep_logs: bool) -> None:
    """Take away a lab that did not come to be."""
    if not keep_logs:
        _remove(lab.directory)
        return
    save_journals(lab)
    for journal in Journal.of(lab.directory):
        journal.clean()
    for path in lab.directory.iterdir():
        if path != lab.logs:
            path.unlink()


def save_journals(lab: Lab) -> None:
    """The machines' own journals into the lab's logs, for whoever wants to know why it failed."""
    for machine in lab.machines:
        if (machine.root / "var/log/journal").is_dir():
            read = ["journalctl", f"--directory={machine.root}/var/log/journal", "--no-pager"]
            journal = run([*read, "--quiet"], check=False, timeout=30).stdout
            (lab.logs / f"{machine.name}.journal").write_text(journal)


def undisturbed() -> AbstractContextManager[None]:
    """Cleaning up is not interrupted by a second Ctrl-C."""
    return _on_signals(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interruptible() -> AbstractContextManager[None]:
    """A polite kill and a terminal that closes are an interruption like Ctrl-C."""
    return _on_signals(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _on_signals(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    """`handler` for these signals, and what was there before afterwards."""
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
