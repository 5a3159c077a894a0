"""A lab with an endpoint on it, as an operator and as clients see it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster_works import Kubectl
from running_lab import RunningLab, wait_for

from kubeha.cli.cluster_file import beside
from kubeha.config import parse
from kubeha.history import Attempt, History, Summary, summarise
from kubeha.kubeconfig import credentials
from kubeha.model import Cluster
from kubeha.remote import Load
from kubeha.sampling import background, request_for

# How long a client waits for an answer, in seconds, as kubectl and kubelets do at the least.
PATIENCE = 10.0
CLIENTS = (Load("version", rate=20, timeout=PATIENCE), Load("read", rate=5, timeout=PATIENCE))
NODES = ("m1", "m2", "m3")


@dataclass
class Seen:
    """What clients saw while something happened; `struck` is when it had (seconds since 1970)."""

    history: History = field(default_factory=History)
    struck: float = 0.0

    def strike(self, at: float | None = None) -> None:
        self.struck = time.time() if at is None else at

    @property
    def summary(self) -> Summary:
        return summarise(self.history, around=self.struck or None)

    def failed(self, kind: str) -> list[Attempt]:
        """What failed although it began after the strike."""
        lost = self.history.cut_off(self.struck)
        return [one for one in self.history.failures if one.kind == kind and one not in lost]

    def show(self, what: str) -> None:
        """Print the figures: they are not asserted, machines are noisy."""
        for kind, figures in sorted(self.summary.kinds.items()):
            quiet = f"{figures.silence.seconds:.2f} s" if figures.silence else "-"
            print(
                f"{what}: {kind}: {figures.count} requests, {figures.failed} failed"
                f" {dict(figures.outcomes)} ({len(self.failed(kind))} of those that began after),"
                f" longest silence {quiet},"
                f" slowest answer {figures.worst_latency or 0:.2f} s"
            )


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a lab's cluster."""

    lab: RunningLab

    @property
    def cluster(self) -> Cluster:
        file = self.lab.place / "kubeha.yaml"
        return beside(parse(file.read_bytes(), str(file)).cluster, file.parent)

    @property
    def kubectl(self) -> Kubectl:
        """On the client machine, through VIP and port."""
        return Kubectl(self.lab.machine("c1"))

    def apply(self, *options: str) -> str:
        """`kubeha apply --yes`; returns all that it printed."""
        done = self.lab.kubeha("apply", "--yes", "--no-diff", *options, check=True, timeout=600)
        return done.stdout + done.stderr

    def status(self, verb: str = "status") -> dict[str, Any]:
        done = self.lab.kubeha(verb, "-o", "json")
        assert done.stdout, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    def strike(self, seen: Seen, fault: str, machine: str) -> None:
        """Inject a fault, and note when it was."""
        self.lab.fault(fault, machine)
        faults = json.loads((self.lab.place / "faults.json").read_text())
        seen.strike(next(each["since"] for each in faults if each["fault"] == fault))

    def holders(self) -> list[str]:
        """Whose interface has the VIP: asked of the kernels, not of kubeha."""
        return [name for name in NODES if self._has_vip(name)]

    def _has_vip(self, name: str) -> bool:
        machine = self.lab.machine(name)
        if machine.leader() is None:
            return False
        seen = machine.execute(["ip", "-j", "address", "show", "dev", "eth0"], check=False).stdout
        addresses = [
            one.get("local") for link in json.loads(seen or "[]") for one in link["addr_info"]
        ]
        return self.lab.vip in addresses

    def holder(self) -> str:
        holders = self.holders()
        assert len(holders) == 1, f"the VIP is held by {holders}"
        return holders[0]

    def wait_for_holder(self, *, other_than: str = "", timeout: float = 20) -> str:
        """The one holder, as soon as there is exactly one that is not `other_than`."""

        def settled() -> str:
            holders = [name for name in self.holders() if name != other_than]
            return holders[0] if len(holders) == 1 else ""

        return wait_for(f"one holder other than {other_than!r}", settled, timeout=timeout)

    def wait_until_settled(self, *, seconds: float = 5, timeout: float = 30) -> str:
        """The holder, once one and the same node alone has held the VIP for `seconds`.

        Masters that start at the same moment may race: the second one does not hear the first in
        time and takes the VIP as well, until the next advert settles it.
        """
        alone: list[str] = []
        since = time.monotonic()

        def settled() -> bool:
            nonlocal alone, since
            holders = self.holders()
            if holders != alone:
                alone, since = holders, time.monotonic()
            return len(alone) == 1 and time.monotonic() - since >= seconds

        wait_for(f"one holder for {seconds:g} s", settled, timeout=timeout, every=0.02)
        return alone[0]

    def stop_guards(self) -> None:
        """For tests of what VRRP alone comes to: a guard ends most of it at once."""
        for name in NODES:
            self.lab.machine(name).execute(["systemctl", "stop", "kubeha-guard"])

    def wait_until_healthy(self, timeout: float = 120) -> dict[str, Any]:
        """Until verify finds no error; returns what it then sees."""
        last: list[str] = []

        def healthy() -> dict[str, Any] | None:
            done = self.lab.kubeha("verify", "-o", "json")
            last[:] = [done.stdout[-3000:] + done.stderr]
            return json.loads(done.stdout) if done.returncode == 0 else None

        try:
            return wait_for("verify finds nothing wrong", healthy, timeout=timeout, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{''.join(last)}") from None

    @contextmanager
    def clients(
        self, loads: Sequence[Load] = CLIENTS, *, on: Sequence[str] = ("c1",), after: float = 12.0
    ) -> Iterator[Seen]:
        """Clients at work while the body runs and `after` seconds more: a hung one would show."""
        everybody = {node.name: node for node in (*self.cluster.clients, *self.cluster.nodes)}
        who = credentials((self.lab.place / "kubeconfig").read_text())
        request = request_for(self.cluster, who, loads)
        seen = Seen()
        with background(self.cluster, [everybody[name] for name in on], request) as recorder:
            time.sleep(1.0)
            yield seen
            time.sleep(after)
        seen.history = recorder.history
