"""Clients of the endpoint on several machines at once, while something is done to the cluster."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from kubeha.errors import HostError
from kubeha.history import History, merge
from kubeha.host import Host, connect
from kubeha.kubeconfig import credentials, referenced
from kubeha.model import Cluster, Node
from kubeha.remote import Credentials, FileState, Load, SampleRequest
from kubeha.session import OnEvent

# How long the first sign of life of all clients is awaited, in seconds.
_START_TIME = 30.0

# A machine of clients and what it reports as it goes (node/sample.py).
OnNews = Callable[[str, dict[str, Any]], None]


def _ignore(_: str, __: dict[str, Any]) -> None:
    """For whom the history at the end is enough."""


class Recorder:
    """Sampling under way; there is a `history` when it has ended."""

    def __init__(self) -> None:
        self._history: History | None = None

    def finish(self, histories: Sequence[History]) -> None:
        self._history = merge(*histories)

    @property
    def history(self) -> History:
        """All that the clients saw. To be asked after the end of the sampling."""
        assert self._history is not None, "the sampling has not ended"
        return self._history


def request_for(
    cluster: Cluster, who: Credentials, loads: Sequence[Load], *, duration: float = 600.0
) -> SampleRequest:
    """Clients of a cluster's endpoint; `duration` in seconds bounds them if nobody stops them."""
    endpoint = cluster.endpoint
    return SampleRequest(str(endpoint.vip), endpoint.port, who, tuple(loads), duration)


async def read_credentials(host: Host, path: str) -> Credentials:
    """The credentials in a kubeconfig on a node, with the files that it names.

    Raises HostError when it cannot be read, KubeconfigError when it cannot be used.
    """
    text = _content(host, (await host.collect({}, [path])).files[path])
    paths = referenced(text)
    states = (await host.collect({}, paths)).files if paths else {}
    return credentials(text, {name: _content(host, state) for name, state in states.items()})


def _content(host: Host, state: FileState) -> str:
    if state.content is None:
        reason = state.error or "no such file"
        hint = "correct kubernetes.kubeconfig in the cluster file"
        raise HostError(f"{state.path}: {reason}", hint=hint, node=host.node.name, kind="file")
    return state.content


@asynccontextmanager
async def sampling(
    hosts: Sequence[Host], request: SampleRequest, on_event: OnNews = _ignore
) -> AsyncIterator[Recorder]:
    """Clients on every host, at work when the body begins; they are stopped at its end.

    Attempts under way are awaited then, so that each has an outcome. A host of clients that is
    lost does not disturb the body; it raises HostError at the end.
    """
    stop, recorder = asyncio.Event(), Recorder()
    begun = {host.node.name: asyncio.Event() for host in hosts}
    tasks = [
        asyncio.create_task(
            host.sample(request, _told(host, begun[host.node.name], on_event), stop)
        )
        for host in hosts
    ]
    try:
        await _all_begun(begun, tasks)
        yield recorder
        stop.set()
        recorder.finish(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _told(host: Host, begun: asyncio.Event, on_event: OnNews) -> OnEvent:
    def told(event: dict[str, Any]) -> None:
        begun.set()
        on_event(host.node.name, event)

    return told


async def _all_begun(
    begun: Mapping[str, asyncio.Event], tasks: Sequence[asyncio.Task[History]]
) -> None:
    """Wait until all clients are at work, or one of them never will be."""
    deadline = asyncio.get_running_loop().time() + _START_TIME
    for name, event in begun.items():
        sign = asyncio.create_task(event.wait())
        rest = max(0.0, deadline - asyncio.get_running_loop().time())
        waiting: set[asyncio.Task[Any]] = {sign, *tasks}
        await asyncio.wait(waiting, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
        sign.cancel()
        for task in tasks:
            if task.done():
                task.result()
        if not event.is_set():
            message = f"the clients did not start within {_START_TIME:g} s"
            raise HostError(message, hint="see the load of the machine", node=name, kind="timeout")


@contextmanager
def background(
    cluster: Cluster,
    nodes: Sequence[Node],
    request: SampleRequest,
    *,
    become_password: str | None = None,
    on_event: OnNews = _ignore,
) -> Iterator[Recorder]:
    """`sampling` for scripts and tests without asyncio: connects, and works in a thread.

    When the body is left by an exception, Ctrl-C among them, the clients are stopped at once and
    there is no history. `on_event` is called in the thread.
    """
    recorder = Recorder()
    thread = _Thread(_Work(cluster, nodes, request, become_password, recorder, on_event))
    thread.start()
    try:
        thread.work.started.result()
        yield recorder
    except BaseException:
        thread.cancel()
        raise
    thread.finish()


class _Work:
    """What the thread does, and how far it has come."""

    def __init__(
        self,
        cluster: Cluster,
        nodes: Sequence[Node],
        request: SampleRequest,
        become_password: str | None,
        recorder: Recorder,
        on_event: OnNews,
    ) -> None:
        self.started: Future[None] = Future()
        self.over = asyncio.Event()
        self._cluster = cluster
        self._nodes = nodes
        self._request = request
        self._password = become_password
        self._recorder = recorder
        self._on_event = on_event

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            ways = [
                connect(self._cluster, node, become_password=self._password) for node in self._nodes
            ]
            hosts = [await stack.enter_async_context(way) for way in ways]
            async with sampling(hosts, self._request, self._on_event) as inner:
                self.started.set_result(None)
                await self.over.wait()
            self._recorder.finish([inner.history])


class _Thread(threading.Thread):
    """Runs the work on an event loop of its own."""

    def __init__(self, work: _Work) -> None:
        # A daemon: a process that has to end ends, and with it the connections and the clients.
        super().__init__(name="sampling", daemon=True)
        self.work = work
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(work.run())
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:
            self._error = error
            if not self.work.started.done():
                self.work.started.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def finish(self) -> None:
        """Let the clients finish what they began. Raises what went wrong meanwhile."""
        self._call(self.work.over.set)
        self.join()
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        self._call(self._task.cancel)
        self.join()

    def _call(self, what: Callable[[], object]) -> None:
        # The loop is closed when the work has ended by itself, by an error.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)
