"""Watch every load balancer node while something happens to them: who holds the VIP, what HAProxy
thinks. A node that is lost is connected to again, and the gap is told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kubeha.errors import HostError
from kubeha.host import connect
from kubeha.model import Cluster, Node
from kubeha.paths import ADMIN_SOCKET

_CONNECT = 2.0
_AGAIN = 0.5
_START = 20.0
_END = 3.0
# A node tells its clock four times a second: after so long without, nobody knows what it holds.
_SILENT = 0.5


@dataclass(frozen=True)
class Told:
    """A change that a node told: at (seconds since 1970), what, name and value."""

    at: float
    what: str
    name: str
    value: str | int


@dataclass
class Watcher:
    """One node. Its `told` and `gaps` (from, to, in seconds since 1970) are complete at the end."""

    cluster: Cluster
    node: Node
    password: str | None
    told: list[Told] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._stop = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._last_sign = 0.0

    async def work(self) -> None:
        """One session after the other, until told to stop."""
        while not self._stop.is_set():
            self._session = asyncio.create_task(self._watch())
            # An end by `renew` is no end of the watch.
            await asyncio.wait({self._session})
            if not self._session.cancelled() and (error := self._session.exception()):
                if not isinstance(error, HostError):
                    raise error
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _AGAIN)

    def renew(self) -> None:
        """For a node that lost its power: this connection will never tell that it is dead."""
        if self._session is not None:
            self._session.cancel()

    async def end(self, work: asyncio.Task[None]) -> None:
        """Let the node tell its last; one that cannot is not waited for."""
        asked = time.time()
        self._stop.set()
        await asyncio.wait({work}, timeout=_END)
        self.renew()
        await asyncio.gather(work, return_exceptions=True)
        if asked - self._last_sign > _SILENT:
            # It was lost and has not come back: nobody knows what it held since then.
            self.gaps.append((self._last_sign, asked))

    async def _watch(self) -> None:
        rows: list[Sequence[Any]] = []
        offsets: list[float] = []

        def take(event: dict[str, Any]) -> None:
            now = time.time()
            if not offsets and self._last_sign:
                self.gaps.append((self._last_sign, now))
            self._last_sign = now
            offsets.append(now - event["clock"])
            rows.extend(event["changes"])
            self.started.set()

        try:
            opening = connect(
                self.cluster, self.node, become_password=self.password, timeout=_CONNECT
            )
            async with opening as host:
                await host.monitor(str(self.cluster.endpoint.vip), ADMIN_SOCKET, take, self._stop)
        finally:
            # The quickest message tells best what the node's clock was when.
            self.told += [Told(row[0] + min(offsets), *row[1:]) for row in rows]
            if offsets and not self._stop.is_set():
                self.told.append(Told(self._last_sign + _SILENT, "holds", "", 0))


@asynccontextmanager
async def watching(
    cluster: Cluster, nodes: Iterable[Node], password: str | None
) -> AsyncIterator[dict[str, Watcher]]:
    """Watchers of all nodes, each of which has told how it is. Raises HostError for one that
    does not."""
    watchers = {node.name: Watcher(cluster, node, password) for node in nodes}
    tasks = {name: asyncio.create_task(each.work()) for name, each in watchers.items()}
    try:
        for name, each in watchers.items():
            try:
                await asyncio.wait_for(each.started.wait(), _START)
            except TimeoutError:
                hint = "see that the machine is up, then try again"
                message = f"did not tell who holds the VIP within {_START:g} s"
                raise HostError(message, hint=hint, node=name, kind="timeout") from None
        yield watchers
    finally:
        await asyncio.gather(*(each.end(tasks[name]) for name, each in watchers.items()))
