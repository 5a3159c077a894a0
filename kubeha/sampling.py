"""Clients of the endpoint on several machines at once, while something is done to the cluster."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
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
async def sampling(hosts: Sequence[Host], request: SampleRequest) -> AsyncIterator[Recorder]:
    """Clients on every host, at work when the body begins; they are stopped at its end.

    Attempts under way are awaited then, so that each has an outcome. A host of clients that is
    lost does not disturb the body; it raises HostError at the end.
    """
    stop, recorder = asyncio.Event(), Recorder()
    begun = {host.node.name: asyncio.Event() for host in hosts}
    tasks = [
        asyncio.create_task(host.sample(request, _first_sign(begun[host.node.name]), stop))
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


def _first_sign(begun: asyncio.Event) -> OnEvent:
    return lambda _: begun.set()


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
    cluster: Cluster, nodes: Sequence[Node], request: SampleRequest
) -> Iterator[Recorder]:
    """`sampling` for scripts and tests without asyncio: connects, and works in a thread."""
    recorder = Recorder()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: Future[None] = Future()
    work = _work(cluster, nodes, request, recorder, started)
    thread = threading.Thread(target=_run, args=(work, started, ended), name="sampling")
    thread.start()
    loop, over = started.result()
    try:
        yield recorder
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
    ended.result()


async def _work(
    cluster: Cluster,
    nodes: Sequence[Node],
    request: SampleRequest,
    recorder: Recorder,
    started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]",
) -> None:
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(connect(cluster, node)) for node in nodes]
        async with sampling(hosts, request) as inner:
            started.set_result((asyncio.get_running_loop(), over))
            await over.wait()
        recorder.finish([inner.history])


def _run(work: Coroutine[Any, Any, None], started: "Future[Any]", ended: "Future[None]") -> None:
    """Run to the end; whoever waits learns of what went wrong."""
    try:
        asyncio.run(work)
        ended.set_result(None)
    except BaseException as error:
        (ended if started.done() else started).set_exception(error)
