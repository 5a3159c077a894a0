"""Carries out a plan: node by node, step by step, each gate looked at; puts a node back.

Decides nothing: `plan` and `steps` say what, `gates` says what has to be seen. Interrupted
anywhere, the next `apply` converges from what it observes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kubeha import gates, paths
from kubeha.errors import KubehaError, RolloutFailed, RolloutStuck
from kubeha.facts import (
    NodeFacts,
    Observed,
    conffile_digest,
    parse_conffiles,
    parse_present,
)
from kubeha.model import Cluster
from kubeha.observe import FULL
from kubeha.plan import KEEPALIVED, NodeChange, Plan
from kubeha.remote import (
    Collected,
    Command,
    Completed,
    FileOutcome,
    FileRemoval,
    FileState,
    FileWrite,
)
from kubeha.steps import (
    APT,
    APT_GET,
    Gate,
    GateKind,
    HandBack,
    MoveAway,
    NotePackages,
    PurgeNew,
    Remove,
    Run,
    Stage,
    Step,
    TakeOver,
    Write,
    forward,
    noteworthy,
    tried,
    way_back,
)
from kubeha.takeover import after_takeover
from kubeha.vrrp import failover_bounds

log = logging.getLogger(__name__)

Progress = Callable[[str, str], None]
Look = Callable[[Sequence[str]], Awaitable[Mapping[str, Observed]]]
# Moves the VIP away from a node; True: and waits for its connections.
MoveVip = Callable[[str, bool], Awaitable[None]]
Listen = Callable[[Mapping[str, Observed]], Awaitable[Mapping[str, tuple[str, ...] | None]]]


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
    """How gates wait, in seconds: how long at most, how often to look, when to look again."""

    limit: float = 20.0
    interval: float = 0.25
    again: float = 0.5


def patience(cluster: Cluster) -> Patience:
    """A gate that is open has to be open once more when every node must have heard or missed VRRP.

    Both scale with the advertisement interval: a node that hears nothing takes the VIP only after
    its master down interval.
    """
    count = len(cluster.load_balancer_nodes)
    _, slowest = failover_bounds(count, cluster.vrrp.advert_interval)
    return Patience(limit=20.0 + 3 * slowest, again=max(0.5, 1.5 * slowest))


class StepFailed(KubehaError):
    """A step or a gate did not do what it has to; the node is put back."""


@dataclass
class Memory:
    """What a rollout learns on its way about the node that it is working on."""

    done: list[Step] = field(default_factory=list)
    holder: str | None = None
    packages: frozenset[str] | None = None


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
    patience: Patience
    move: MoveVip | None = None

    async def run(self) -> None:
        """All changes in order.

        Raises RolloutFailed when a gate failed and the node was put back, RolloutStuck when
        putting it back failed too. Nodes after the failed one are not touched.
        """
        for change in self.plan.changes:
            memory = Memory()
            takeover = self.plan.takeover if change is self.plan.changes[0] else ()
            try:
                memory.holder = await self._expected_holder(change)
                for step in forward(change, takeover, self.plan.move):
                    self.progress(change.node, step.title)
                    memory.done.append(step)
                    await self._step(change, step, memory)
            except KubehaError as failure:
                await self._put_back(change, memory, failure)

    async def _expected_holder(self, change: NodeChange) -> str | None:
        """Who has to hold the VIP after this change; None where it may be anybody.

        At first deployment it is the node that was changed first. Later, a change leaves the VIP
        with its holder, except where the holder itself is changed, or is not well.
        """
        first = self.plan.changes[0].node
        if self.plan.first:
            return first
        seen = await self.look([node.name for node in self.cluster.load_balancer_nodes])
        vip = self.cluster.endpoint.vip
        holders = [f for f in seen.values() if isinstance(f, NodeFacts) and f.holds(vip)]
        if len(holders) != 1 or holders[0].name == change.node:
            return None
        return holders[0].name if gates.can_keep_the_vip(holders[0]) else None

    async def _put_back(self, change: NodeChange, memory: Memory, failure: KubehaError) -> None:
        """The way back, then the failure is told."""
        self.progress(change.node, f"failed: {failure.message}")
        self.progress(change.node, "putting this node back as it was")
        if errors := await self._undo(change, memory):
            raise RolloutStuck(
                f"{failure.message}; and putting it back failed: {'; '.join(errors)}",
                hint=f"see that {change.node} can be reached, then run kubeha apply again: it goes"
                f" on from what it finds; no node after {change.node} was changed",
                node=change.node,
            ) from failure
        raise RolloutFailed(
            f"{failure.message}; the node was put back as it was",
            hint=self._what_next(change, failure),
            node=change.node,
        ) from failure

    def _what_next(self, change: NodeChange, failure: KubehaError) -> str:
        """After the first node was taken over, what is still theirs would fight with it."""
        changed = [each.node for each in self.plan.changes[: self.plan.changes.index(change)]]
        idle = [name for name in self.plan.takeover if name not in changed] if changed else []
        words = failure.hint or "mend the cause, then run kubeha apply again"
        if idle:
            words += f"; until then keepalived stays stopped on {' and '.join(idle)}"
        return words

    @property
    def _known(self) -> Mapping[str, NodeFacts]:
        """What the plan was made from."""
        return after_takeover(self.cluster, self.before)[1]

    async def _undo(self, change: NodeChange, memory: Memory) -> list[str]:
        """Every step of the way back is tried; returns what failed of it."""
        try:
            ours = await self._still_ours(change)
        except KubehaError as error:
            return [error.message, *await self._leave_to_others(change, memory)]
        memory.holder = None
        errors = []
        for step in way_back(ours, self._known[change.node], memory.done):
            try:
                await self._step(change, step, memory)
            except KubehaError as error:
                errors.append(f"{step.title}: {error.message}")
        return errors

    async def _leave_to_others(self, change: NodeChange, memory: Memory) -> list[str]:
        """The node is lost: theirs runs again on the others, unless ours may hold the VIP there."""
        stopped = [
            each for step in memory.done if isinstance(step, TakeOver) for each in step.nodes
        ]
        others = [name for name in stopped if name != change.node]
        if not others:
            return []
        if tried(memory.done, "start", KEEPALIVED):
            return [
                f"keepalived stays stopped on {' and '.join(others)}, for ours may have the VIP on"
                f" {change.node}"
            ]
        try:
            await self._keepalived("start", others)
        except KubehaError as error:
            return [error.message]
        return []

    async def _still_ours(self, change: NodeChange) -> NodeChange:
        """The change with those of its files only that are on the node as we wrote them."""
        paths_of = [file.path for file in change.files]
        now = (await self.hosts[change.node].collect({}, paths_of)).files
        ours = tuple(f for f in change.files if now[f.path].content == f.after.content)
        return replace(change, files=ours)

    async def _step(self, change: NodeChange, step: Step, memory: Memory) -> None:
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
            case NotePackages():
                memory.packages = await self._packages(change.node)
            case PurgeNew():
                await self._purge(change.node, memory.packages)
            case TakeOver() | HandBack() | MoveAway():
                await self._pass_vip(change.node, step)
            case Gate():
                await self._gate(change, step, memory)

    async def _pass_vip(self, node: str, step: TakeOver | HandBack | MoveAway) -> None:
        """The VIP goes from one keepalived to another."""
        match step:
            case TakeOver(nodes=nodes):
                await self._keepalived("stop", nodes)
                await self._until_vip_is_gone(step)
            case HandBack(nodes=nodes):
                await self._keepalived("start", nodes)
            case MoveAway(wait=wait):
                if self.move is not None:
                    await self.move(node, wait)

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
        """Each file atomically, and only if it replaces what the plan has seen.

        Or, after an install, what a package has just brought: its own file as it was shipped.
        """
        if change.install:
            seen = await host.collect(
                {"conffiles": FULL["conffiles"]}, [file.path for file in files]
            )
            shipped = parse_conffiles(seen.commands["conffiles"].stdout)
            files = tuple(_over_shipped(f, seen.files[f.path], shipped) for f in files)
        await host.write(files)

    async def _packages(self, node: str) -> frozenset[str]:
        """Everything that dpkg has more of than configuration."""
        listing = await self.hosts[node].run(FULL["packages"].argv, timeout=60.0)
        present = parse_present(listing.stdout)
        if not listing.ok or not present:
            said = listing.error or listing.stderr.strip()
            raise StepFailed(f"dpkg-query does not list the packages: {said}", node=node)
        return present

    async def _purge(self, node: str, before: frozenset[str] | None) -> None:
        """Remove exactly those packages that have come since; none if that was never noted."""
        new = sorted(await self._packages(node) - before) if before is not None else []
        if new:
            await self._run(node, Run("purge", (*APT_GET, "purge", *new), APT, verbose=True))

    async def _keepalived(self, verb: str, nodes: Sequence[str]) -> None:
        """The same on all of them at once; tried everywhere, then the first failure is told."""
        run = Run(f"{verb} keepalived", ("systemctl", verb, KEEPALIVED), timeout=90.0)
        results = await asyncio.gather(
            *(self._run(name, run) for name in nodes), return_exceptions=True
        )
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure

    async def _until_vip_is_gone(self, step: TakeOver) -> None:
        """A keepalived takes its VIP along when it ends; what is left, somebody else put there."""
        vip = self.cluster.endpoint.vip
        deadline = time.monotonic() + self.patience.limit
        while True:
            seen = await self.look(step.nodes)
            left = [
                name
                for name, facts in seen.items()
                if not isinstance(facts, NodeFacts) or facts.holds(vip) is not False
            ]
            if not left:
                return
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"{step.title}: {vip} is still on {' and '.join(left)}",
                    hint=f"see who has put it there: ip address show to {vip}",
                    node=left[0],
                )
            await asyncio.sleep(self.patience.interval)

    async def _gate(self, change: NodeChange, gate: Gate, memory: Memory) -> None:
        """Poll until it is open, then look again; the last thing seen is the error."""
        deadline = time.monotonic() + self.patience.limit
        while (reason := await self._closed(change, gate, memory)) is not None:
            if time.monotonic() > deadline:
                raise StepFailed(f"{gate.title}: {reason}", node=change.node)
            await asyncio.sleep(self.patience.interval)
        await asyncio.sleep(self.patience.again)
        if (reason := await self._closed(change, gate, memory)) is not None:
            raise StepFailed(f"{gate.title}: it was so, then {reason}", node=change.node)

    async def _closed(self, change: NodeChange, gate: Gate, memory: Memory) -> str | None:
        """Why the gate is closed, or None."""
        before = self._known[change.node]
        if gate.kind is GateKind.HAPROXY:
            seen = await self.look([change.node])
            return gates.haproxy_serves(seen[change.node], before, gate.renewed)
        if gate.kind is GateKind.GUARD:
            seen = await self.look([change.node])
            return gates.guard_runs(seen[change.node], before, gate.renewed)
        seen = await self.look([node.name for node in self.cluster.load_balancer_nodes])
        reason = gates.keepalived_takes_part(seen[change.node], before, gate.renewed)
        reason = reason or gates.vip_is_held(self.cluster, memory.holder, seen)
        if reason is not None or not self.plan.first or change != self.plan.changes[0]:
            return reason
        return gates.vip_answers(self.cluster, await self.listen(seen))


def _over_shipped(file: FileWrite, now: FileState, shipped: Mapping[str, str]) -> FileWrite:
    """The write, also if what is there now is the package's own file."""
    if now.content is not None and conffile_digest(now.content) == shipped.get(file.path):
        return replace(file, expect=now.sha256)
    return file
