"""A running lab as the tests see it: only through the command line and the lab's own files."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubeha.lab import lifecycle
from kubeha.lab.lab import Lab, load
from kubeha.lab.machine import Machine

KUBEHA = Path(sys.executable).with_name("kubeha")
T = TypeVar("T")


def new_name() -> str:
    """A lab's name that no other test run on this box has."""
    return f"test-{os.getpid()}-{secrets.token_hex(2)}"


def wait_for(what: str, look: Callable[[], T], *, timeout: float, every: float = 0.1) -> T:
    """Look until there is something truthy, and return it.

    Fails with the last thing seen after `timeout` seconds; errors of `look` are not swallowed.
    """
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}; seen last: {seen!r}")
        time.sleep(every)
    return seen


def stays(what: str, look: Callable[[], object], *, seconds: float) -> None:
    """Look for `seconds` and fail as soon as it is not so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        assert seen, f"did not stay so: {what}; seen: {seen!r}"
        time.sleep(0.05)


@dataclass
class RunningLab:
    """A lab of the tests in `directory`/.lab/`name`."""

    name: str
    directory: Path

    @property
    def place(self) -> Path:
        return self.directory / ".lab" / self.name

    @property
    def lab(self) -> Lab:
        return load(self.place)

    @property
    def vip(self) -> str:
        return self.lab.vip

    @property
    def machines(self) -> tuple[Machine, ...]:
        return self.lab.machines

    def machine(self, name: str) -> Machine:
        """For `.execute(argv)`, `.address`, `.root`."""
        return self.lab.machine(name)

    def kubeha(
        self, *arguments: str, check: bool = False, timeout: float = 300, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubeha on this lab's cluster file, as an operator does."""
        command = ["-f", str(self.place / "kubeha.yaml"), *arguments]
        return self._run(command, check, timeout, input)

    def __call__(
        self, verb: str, *arguments: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run `kubeha lab VERB` on this lab."""
        return self._run(["lab", verb, "--name", self.name, *arguments], check, timeout, None)

    def _run(
        self, arguments: list[str], check: bool, timeout: float, input: str | None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(KUBEHA), *arguments],
            cwd=self.directory,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == 0, f"kubeha {' '.join(arguments)}: {done.returncode}\n{said}"
        return done

    def up(self, *options: str) -> None:
        self("up", *options, timeout=1800)

    def down(self) -> None:
        """Take the lab away if there is anything of it."""
        if self.place.exists():
            self("down")

    def status(self) -> dict[str, Any]:
        return json.loads(self("status", "-o", "json").stdout)

    def state(self, machine: str) -> dict[str, Any]:
        """One machine's part of the status."""
        return next(each for each in self.status()["machines"] if each["name"] == machine)

    def fault(self, fault: str, *machines: str) -> None:
        self("fault", fault, *machines)

    def heal(self, *machine: str) -> None:
        self("heal", *machine)

    def ssh(self, machine: str, *command: str, check: bool = True) -> str:
        """What a command prints over plain ssh(1)."""
        config = str(self.place / "ssh_config")
        done = subprocess.run(
            ["ssh", "-F", config, "-o", "ConnectTimeout=5", machine, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def answers(self, machine: str, seen_from: str = "c1") -> bool:
        """Whether a machine answers a ping within a second."""
        ping = ["ping", "-q", "-c", "1", "-W", "1", self.machine(machine).address]
        return self.machine(seen_from).execute(ping, check=False).returncode == 0

    def keep_logs(self, where: Path) -> None:
        """Copy the lab's logs and the machines' journals."""
        if (self.place / "lab.json").exists():
            lifecycle.save_journals(self.lab)
        if (self.place / "logs").is_dir():
            shutil.copytree(self.place / "logs", where, dirs_exist_ok=True)
