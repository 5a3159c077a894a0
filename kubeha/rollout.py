"""Carries out a plan: node by node, step by step, each gate looked at; puts a node back.

Decides nothing: `plan` and `steps` say what, `gates` says what has to be seen. Interrupted
anywhere, the next `apply` converges from what it observes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kubeha import gates, paths
from kubeha.errors import KubehaError, RolloutFailed, RolloutStuck
from kubeha.facts import NodeFacts, Observed, parse_dpkg
from kubeha.model import Cluster
from kubeha.observe import PACKAGE_LINE
from kubeha.plan import NodeChange, Plan
from kubeha.remote import (
    ABSENT,
    Collected,
    Command,
    Completed,
    FileOutcome,
    FileRemoval,
    FileWrite,
)
from kubeha.steps import (
    Gate,
    GateKind,
    Purge,
    Remove,
    Run,
    Stage,
    Step,
    Write,
    forward,
    noteworthy,
    way_back,
)

log = logging.getLogger(__name__)

Progress = Callable[[str, str], None]
Look = Callable[[Sequence[str]], Awaitable[Mapping[str, Observed]]]
Listen = Callable[[Mapping[str, Observed]], Awaitable[Mapping[str, tuple[str, ...]]]]


class Remote(Protocol):
    """What a rollout asks of a node; kubeha.host.Host is the one that is real."""

    async def collect(
        self, commands: Mapping[str, Command], files: Sequence[str] = ()
    ) -> Collected: ...
    async def write(self, files: Sequence[FileWrite]) -> tuple[FileOutcome, ...]: ...
    async def remove(self, paths: Sequence[FileRemoval]) -> tuple[FileOutcome, ...]: ...
    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        on_line: Callable[[str], None] | None = None,
        finish: bool = False,
    ) -> Completed: ...


@dataclass(frozen=True)
class Patience:
    """How gates wait, in seconds: how long at most, how often to look, when to look again.

    A gate that is open has to be open once more after `again`: five advertisement intervals.
    """

    limit: float = 20.0
    interval: float = 0.25
    again: float = 0.5


class StepFailed(KubehaError):
    """A step or a gate did not do what it has to; the node is put back."""


@dataclass(frozen=True)
class Rollout:
    """One carrying out of one plan."""

    cluster: Cluster
    plan: Plan
    hosts: Mapping[str, Remote]
    before: Mapping[str, NodeFacts]
    look: Look
    listen: Listen
    progress: Progress
    patience: Patience = Patience()

    async def run(self) -> None:
        """All changes in order.

        Raises RolloutFailed when a gate failed and the node was put back, RolloutStuck when
        putting it back failed too. Nodes after the failed one are not touched.
        """
        for change in self.plan.changes:
            try:
                await self._node(change)
            except KubehaError as failure:
                await self._put_back(change, failure)

    async def _node(self, change: NodeChange) -> None:
        for step in forward(change):
            self.progress(change.node, step.title)
            await self._step(change, step)

    async def _put_back(self, change: NodeChange, failure: KubehaError) -> None:
        """The way back, then the failure is told."""
        self.progress(change.node, f"failed: {failure.message}")
        self.progress(change.node, "putting this node back as it was")
        errors = []
        for step in way_back(change, self.before[change.node]):
            try:
                await self._step(change, step)
            except KubehaError as error:
                errors.append(f"{step.title}: {error.message}")
        if errors:
            raise RolloutStuck(
                f"{failure.message}; and putting it back failed: {'; '.join(errors)}",
                hint=f"see that {change.node} can be reached, then run kubeha apply again: it goes"
                f" on from what it finds; no other node was touched after {change.node}",
                node=change.node,
            ) from failure
        raise RolloutFailed(
            f"{failure.message}; the node was put back as it was",
            hint=failure.hint or "mend the cause, then run kubeha apply again",
            node=change.node,
        ) from failure

    async def _step(self, change: NodeChange, step: Step) -> None:
        host = self.hosts[change.node]
        match step:
            case Run():
                await self._run(change.node, step)
            case Write(files=files):
                await self._write(host, change, files)
            case Stage(files=files):
                await host.run(["mkdir", "-p", "-m", "0700", paths.STAGE], timeout=10.0)
                await host.write(files)
            case Remove(files=files):
                await host.remove(files)
            case Purge(before=packages):
                await self._purge(change.node, packages)
            case Gate():
                await self._gate(change, step)

    async def _run(self, node: str, step: Run) -> None:
        done = await self.hosts[node].run(
            step.argv,
            timeout=step.timeout,
            env={"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none"},
            on_line=(lambda text: self._tell(node, text)) if step.verbose else None,
            finish=step.verbose,
        )
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        if step.tolerate:
            if not done.ok:
                log.info("%s: %s: %s", node, step.title, said)
            return
        if not done.ok or (step.quiet and said):
            why = done.error or f"exit status {done.status}"
            raise StepFailed(f"{step.title}: {why}: {said}", node=node)

    def _tell(self, node: str, line: str) -> None:
        if noteworthy(line):
            self.progress(node, f"  {line}")

    async def _write(self, host: Remote, change: NodeChange, files: tuple[FileWrite, ...]) -> None:
        """Each file atomically, and only if it replaces what the plan has seen."""
        if change.install:
            # The packages have just brought their own files; those are what is replaced now.
            now = (await host.collect({}, [file.path for file in files])).files
            files = tuple(replace(f, expect=now[f.path].sha256 or ABSENT) for f in files)
        await host.write(files)

    async def _purge(self, node: str, before: frozenset[str]) -> None:
        """Remove exactly those packages that are there now and were not before."""
        listing = await self.hosts[node].run(["dpkg-query", "-W", "-f", PACKAGE_LINE], timeout=30.0)
        now, _ = parse_dpkg(listing.stdout)
        new = sorted(set(now) - before)
        if new:
            await self._run(
                node,
                Run("purge", ("apt-get", "-q", "-y", "purge", *new), timeout=600.0, verbose=True),
            )

    async def _gate(self, change: NodeChange, gate: Gate) -> None:
        """Poll until it is open, then look again; the last thing seen is the error."""
        deadline = time.monotonic() + self.patience.limit
        while (reason := await self._closed(change, gate)) is not None:
            if time.monotonic() > deadline:
                raise StepFailed(f"{gate.title}: {reason}", node=change.node)
            await asyncio.sleep(self.patience.interval)
        await asyncio.sleep(self.patience.again)
        if (reason := await self._closed(change, gate)) is not None:
            raise StepFailed(f"{gate.title}: it was so, then {reason}", node=change.node)

    async def _closed(self, change: NodeChange, gate: Gate) -> str | None:
        """Why the gate is closed, or None."""
        if gate.kind is GateKind.HAPROXY:
            seen = await self.look([change.node])
            return gates.haproxy_serves(seen[change.node], self.before[change.node], gate.renewed)
        names = [node.name for node in self.cluster.load_balancer_nodes]
        seen = await self.look(names)
        reason = gates.vip_is_held(self.cluster, self.plan, change.node, seen)
        if reason is not None or not self.plan.first or change != self.plan.changes[0]:
            return reason
        return gates.vip_answers(self.cluster, await self.listen(seen))
