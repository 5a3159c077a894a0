"""Carries out a plan: node by node, step by step, each gate looked at; puts a node back.

Decides nothing: `plan` and `steps` say what, `gates` says what has to be seen. Interrupted
anywhere, the next `apply` converges from what it observes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kubeha import gates, paths
from kubeha.errors import KubehaError, RolloutFailed, RolloutStuck
from kubeha.facts import NodeFacts, parse_dpkg
from kubeha.host import Host
from kubeha.model import Cluster
from kubeha.observe import PACKAGE_LINE, Fleet, listen_for_vip, observe
from kubeha.plan import NodeChange, Plan
from kubeha.remote import ABSENT, FileWrite
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

GATE_TIMEOUT = 20.0
GATE_INTERVAL = 0.25
# A gate that is open has to be open again after this: three advertisement intervals and more.
LOOK_AGAIN = 0.5

Progress = Callable[[str, str], None]


class StepFailed(KubehaError):
    """A step or a gate did not do what it has to; the node is put back."""


@dataclass(frozen=True)
class Rollout:
    """One carrying out of one plan."""

    cluster: Cluster
    plan: Plan
    fleet: Fleet
    before: Mapping[str, NodeFacts]
    progress: Progress

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
                hint=f"look at {change.node} by hand; no other node was touched after it",
                node=change.node,
            ) from failure
        raise RolloutFailed(
            f"{failure.message}; the node was put back as it was",
            hint=failure.hint or "mend the cause, then run kubeha apply again",
            node=change.node,
        ) from failure

    async def _step(self, change: NodeChange, step: Step) -> None:
        host = self.fleet.hosts[change.node]
        match step:
            case Run():
                await self._run(host, step)
            case Write(files=files):
                await self._write(host, change, files)
            case Stage(files=files):
                await host.run(["mkdir", "-p", "-m", "0700", paths.STAGE], timeout=10.0)
                await host.write(files)
            case Remove(files=files):
                await host.remove(files)
            case Purge(before=packages):
                await self._purge(host, packages)
            case Gate():
                await self._gate(change, step)

    async def _run(self, host: Host, step: Run) -> None:
        done = await host.run(
            step.argv,
            timeout=step.timeout,
            env={"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none"},
            on_line=(lambda text: self._tell(host, text)) if step.verbose else None,
            finish=step.verbose,
        )
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        if step.tolerate:
            if not done.ok:
                log.info("%s: %s: %s", host.node.name, step.title, said)
            return
        if (
            done.error is not None
            or not done.ok
            or (step.quiet and (done.stdout + done.stderr).strip())
        ):
            why = done.error or f"exit status {done.status}"
            raise StepFailed(f"{step.title}: {why}: {said}", node=host.node.name)

    def _tell(self, host: Host, line: str) -> None:
        if noteworthy(line):
            self.progress(host.node.name, f"  {line}")

    async def _write(self, host: Host, change: NodeChange, files: tuple[FileWrite, ...]) -> None:
        """Each file atomically, and only if it replaces what the plan has seen."""
        if change.install:
            # The packages have just brought their own files; those are what is replaced now.
            now = (await host.collect({}, [file.path for file in files])).files
            files = tuple(replace(f, expect=now[f.path].sha256 or ABSENT) for f in files)
        await host.write(files)

    async def _purge(self, host: Host, before: frozenset[str]) -> None:
        """Remove exactly those packages that are there now and were not before."""
        listing = await host.run(["dpkg-query", "-W", "-f", PACKAGE_LINE], timeout=30.0)
        now, _ = parse_dpkg(listing.stdout)
        new = sorted(set(now) - before)
        if new:
            await self._run(
                host,
                Run("purge", ("apt-get", "-q", "-y", "purge", *new), timeout=600.0, verbose=True),
            )

    async def _gate(self, change: NodeChange, gate: Gate) -> None:
        """Poll until it is open, then look again; the last thing seen is the error."""
        deadline = time.monotonic() + GATE_TIMEOUT
        while (reason := await self._closed(change, gate)) is not None:
            if time.monotonic() > deadline:
                raise StepFailed(f"{gate.title}: {reason}", node=change.node)
            await asyncio.sleep(GATE_INTERVAL)
        await asyncio.sleep(LOOK_AGAIN)
        if (reason := await self._closed(change, gate)) is not None:
            raise StepFailed(f"{gate.title}: it was so, then {reason}", node=change.node)

    async def _closed(self, change: NodeChange, gate: Gate) -> str | None:
        """Why the gate is closed, or None."""
        if gate.kind is GateKind.HAPROXY:
            seen = await observe(self.cluster, self.fleet, only=[change.node])
            return gates.haproxy_serves(seen[change.node], self.before[change.node], gate.renewed)
        names = [node.name for node in self.cluster.load_balancer_nodes]
        seen = await observe(self.cluster, self.fleet, only=names)
        reason = gates.vip_is_held(self.cluster, self.plan, change.node, seen)
        if reason is not None or not self.plan.first or change != self.plan.changes[0]:
            return reason
        answers = await listen_for_vip(self.cluster, self.fleet, seen)
        return gates.vip_answers(self.cluster, answers)
