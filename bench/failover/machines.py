"""The lab that everything is measured on: three control plane nodes and three clients.

Three clients, because `balance source` gives every address a server of its own: with one client
all would hang on whether its server is the one that dies.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from kubeha.cli.cluster_file import beside
from kubeha.config import parse
from kubeha.kubeconfig import credentials
from kubeha.lab.lab import Lab, load
from kubeha.lab.lifecycle import place
from kubeha.lab.machine import Machine
from kubeha.model import Cluster
from kubeha.remote import Credentials

KUBEHA = str(Path(sys.executable).with_name("kubeha"))
NODES = ("m1", "m2", "m3")
CLIENTS = ("c1", "c2", "c3")
PORT = 8443
T = TypeVar("T")


class NotWell(Exception):
    """What is to be measured does not work, so there is nothing to measure."""


def say(text: str) -> None:
    """Progress, for whoever looks."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def wait_for(what: str, look: Callable[[], T], *, timeout: float, every: float = 0.2) -> T:
    """Look until there is something truthy; raises NotWell with what was seen last."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise NotWell(f"not within {timeout:g} s: {what}; seen last: {seen!r}")
        time.sleep(every)
    return seen


def kubeha(*words: str, timeout: float = 900.0) -> subprocess.CompletedProcess[str]:
    """Run kubeha as a user would."""
    return subprocess.run(
        [KUBEHA, *words], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )


def must(*words: str) -> str:
    """Run kubeha; raises NotWell when it fails. Returns its output."""
    done = kubeha(*words)
    if done.returncode != 0:
        raise NotWell(f"kubeha {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def running(name: str) -> Iterator["Bench"]:
    """A lab with a control plane and nothing in front of it.

    It is taken away at the end, and also when this process is killed: a watcher in a session of
    its own waits for the end of a pipe that only we hold.
    """
    if place(name).exists():
        say(f"taking an earlier lab '{name}' away")
        kubeha("lab", "down", "--name", name)
    script = 'trap "" INT TERM HUP; cat; exec "$0" lab down --name "$1"'
    watcher = subprocess.Popen(
        ["sh", "-c", script, KUBEHA, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        say(f"starting the lab '{name}'")
        must("lab", "up", "--name", name, "--nodes", "3", "--clients", "3")
        bench = Bench(place(name))
        bench.on_each(CLIENTS, install, ("curl", "apache2-utils"))
        yield bench
    finally:
        say(f"taking the lab '{name}' away")
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait(600)


def install(machine: Machine, packages: Sequence[str]) -> None:
    """Install Debian packages on a machine, from its offline repository."""
    machine.execute(["apt-get", "-q", "update"])
    command = ["apt-get", "install", "-q", "-y", *packages]
    machine.execute(["env", "DEBIAN_FRONTEND=noninteractive", *command], timeout=300)


class Bench:
    """The running lab, as the trials see it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lab: Lab = load(directory)

    @property
    def vip(self) -> str:
        return self.lab.vip

    @property
    def name(self) -> str:
        return self.lab.name

    def machine(self, name: str) -> Machine:
        return self.lab.machine(name)

    def cluster(self) -> Cluster:
        """Where clients are and what they connect to; the endpoint is the same for everybody."""
        file = self.lab.cluster_file
        return beside(parse(file.read_bytes(), str(file)).cluster, file.parent)

    def credentials(self) -> Credentials:
        return credentials((self.directory / "kubeconfig").read_text())

    def on_each(
        self, names: Sequence[str], work: Callable[..., object], *arguments: object
    ) -> None:
        """The same work on several machines at once."""
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: work(self.machine(name), *arguments), names))

    def switch_on(self) -> None:
        """Boot what a trial that went wrong has left switched off."""
        for name in NODES:
            if self.machine(name).leader() is None:
                must("lab", "boot", "--name", self.name, name)

    def holders(self) -> list[str]:
        """Whose interface has the VIP: asked of the kernels."""
        return [name for name in NODES if self._has_vip(self.machine(name))]

    def _has_vip(self, machine: Machine) -> bool:
        if machine.leader() is None:
            return False
        show = ["ip", "-n", machine.namespace, "-j", "address", "show", "dev", "eth0"]
        seen = subprocess.run(show, capture_output=True, text=True).stdout
        links = [link for link in json.loads(seen or "[]") if link]
        return self.vip in [one.get("local") for link in links for one in link["addr_info"]]

    def wait_until_settled(self, seconds: float, *, timeout: float = 120.0) -> str:
        """The holder, once one and the same node alone has held the VIP for so long."""
        alone: list[str] = []
        since = time.monotonic()

        def settled() -> bool:
            nonlocal alone, since
            holders = self.holders()
            if holders != alone:
                alone, since = holders, time.monotonic()
            return len(alone) == 1 and time.monotonic() - since >= seconds

        wait_for(f"one holder for {seconds:g} s", settled, timeout=timeout)
        return alone[0]

    def wait_until_ready(self, *, timeout: float = 180.0) -> None:
        """Wait until every API server, and the endpoint from every client, answers /readyz."""
        addresses = [f"{self.machine(name).address}:6443" for name in NODES]
        urls = [f"https://{address}/readyz" for address in (*addresses, f"{self.vip}:{PORT}")]
        for client in CLIENTS:
            answers = partial(self._answers, client, urls)
            wait_for(f"{client}: every /readyz", answers, timeout=timeout, every=0.5)

    def _answers(self, client: str, urls: Sequence[str]) -> bool:
        ask = ["curl", "-sk", "--max-time", "2", "-w", "%{http_code}\\n"]
        outputs = [word for _ in urls for word in ("-o", "/dev/null")]
        done = self.machine(client).execute([*ask, *outputs, *urls], check=False)
        return done.stdout.split() == ["200"] * len(urls)
