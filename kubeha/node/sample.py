"""Be a crowd of clients of an endpoint, and write down what each of them saw.

Rules. Attempts start by the clock and wait for nobody (open loop): a client that hangs hides no
other. Each attempt has its own time-out. Times are the node's monotonic clock, in seconds; every
message carries that clock, so that the operator can tell when it was. At the end, or when told to
stop, nothing new starts and what is under way is awaited; without an operator all of it ends.
"""

import asyncio
import errno
import math
import resource
import ssl
import time
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple

from kubeha.node.http import BadAnswer, Connection, connect
from kubeha.node.tls import client_context
from kubeha.node.wire import Refused, Wire

MAX_SECONDS = 3600.0
MAX_RATE = 200.0
MAX_CONNECTIONS = 500
_BATCH = 0.1
_REOPEN_PAUSE = 0.2

_PATHS = {
    "version": "/version",
    "read": "/api/v1/namespaces/default",
    "stream": "/version",
    "watch": "/api/v1/namespaces?watch=1&allowWatchBookmarks=false"
    "&fieldSelector=metadata.name%%3Dkubeha-idle&timeoutSeconds=%d",
}


def sample(
    wire: Wire,
    address: str,
    port: int,
    server_name: Optional[str],
    credentials: Dict[str, Any],
    loads: List[Dict[str, Any]],
    duration: float,
    limit: int,
) -> Dict[str, Any]:
    """Send "clock" and "attempts" events; returns how many attempts there were."""
    _check_bounds(loads, duration)
    _raise_open_files()
    endpoint = Endpoint(address, port, server_name or address, credentials)
    crowd = Crowd(wire, endpoint, duration, limit)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # A connection that dies while it is closed is not news.
    loop.set_exception_handler(lambda _, context: None)
    loop.run_until_complete(crowd.work(loads))
    return {"count": crowd.count}


def _check_bounds(loads: List[Dict[str, Any]], duration: float) -> None:
    bounds = {"rate": MAX_RATE, "connections": MAX_CONNECTIONS}
    if not 0 < duration <= MAX_SECONDS:
        raise Refused("bounds", "duration: not within 0 to %g s" % MAX_SECONDS)
    for load in loads:
        for name, highest in bounds.items():
            if not 0 < load[name] <= highest:
                raise Refused("bounds", "%s: not within 0 to %g" % (name, highest))
        if load["interval"] <= 0 or load["timeout"] <= 0:
            raise Refused("bounds", "interval and timeout have to be more than 0 s")


def _raise_open_files() -> None:
    """200 attempts a second that hang for 10 s are 2000 sockets; the usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


class Endpoint:
    """Where clients connect to, and as whom."""

    def __init__(
        self, address: str, port: int, server_name: str, credentials: Dict[str, Any]
    ) -> None:
        self._where = (address, port)
        self._server_name = server_name
        ca = credentials["ca"]
        self._anonymous = client_context(ca)
        self._authenticated = client_context(
            ca, credentials.get("certificate"), credentials.get("key")
        )
        self.host = "[%s]:%d" % (address, port) if ":" in address else "%s:%d" % (address, port)
        self._token = credentials.get("token")

    async def connect(self, kind: str) -> Connection:
        context = self._authenticated if kind in ("read", "watch") else self._anonymous
        return await connect(self._where[0], self._where[1], context, self._server_name)

    def token(self, kind: str) -> Optional[str]:
        return self._token if kind in ("read", "watch") else None


class Failed(Exception):
    """The server answered, but not as a client wants it."""


def outcome_of(error: BaseException) -> Tuple[str, str]:
    """One word for what went wrong, and the words of the error."""
    detail = str(error)[:200]
    number = getattr(error, "errno", None)
    if isinstance(error, Failed):
        return detail, ""
    if isinstance(error, asyncio.TimeoutError) or number == errno.ETIMEDOUT:
        return "timeout", ""
    if isinstance(error, ConnectionRefusedError):
        return "refused", ""
    if isinstance(error, (asyncio.IncompleteReadError, ssl.SSLEOFError, EOFError)):
        return "eof", ""
    if isinstance(error, ConnectionError):
        return "reset", detail
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return "tls", detail
    if isinstance(error, (BadAnswer, ValueError, asyncio.LimitOverrunError)):
        return "not-http", detail
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "unreachable", detail
    return "error", "%s: %s" % (type(error).__name__, detail)


class Crowd:
    """All clients of one request."""

    def __init__(self, wire: Wire, endpoint: Endpoint, duration: float, limit: int) -> None:
        self.count = 0
        self._wire = wire
        self._endpoint = endpoint
        self._duration = duration
        self._limit = limit
        self._begin = time.monotonic()
        self._rows = []  # type: List[List[Any]]
        self._tasks = []  # type: List[asyncio.Future[None]]

    async def work(self, loads: List[Dict[str, Any]]) -> None:
        """Let all clients work until the end, and report in batches."""
        self._wire.event("clock", clock=time.monotonic())
        for load in loads:
            self._start_load(load)
        # Not `and`: finished attempts are forgotten as we go.
        while not all([self._settled(), self._over()]) and not self._wire.gone.is_set():
            await asyncio.sleep(_BATCH)
            self._report()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._report()

    def _over(self) -> bool:
        """Is it time to start nothing new?"""
        late = time.monotonic() >= self._begin + self._duration
        return late or self.count >= self._limit or self._wire.stop.is_set()

    def _settled(self) -> bool:
        self._tasks = [task for task in self._tasks if not task.done()]
        return not self._tasks

    def _report(self) -> None:
        rows, self._rows = self._rows, []
        self._wire.event("attempts", clock=time.monotonic(), attempts=rows)

    def _start_load(self, load: Dict[str, Any]) -> None:
        if load["kind"] in ("version", "read"):
            self._spawn(self._one_by_one(load))
            return
        client = self._stream if load["kind"] == "stream" else self._watch
        for number in range(load["connections"]):
            self._spawn(self._long_lived(load, number, client))

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    def _record(
        self,
        load: Dict[str, Any],
        number: int,
        start: float,
        outcome: Tuple[str, str],
        broken: bool,
    ) -> None:
        self._rows.append([load["kind"], number, start, time.monotonic(), *outcome, broken])

    async def _one_by_one(self, load: Dict[str, Any]) -> None:
        """Start attempts by the clock, whatever became of the former ones."""
        number = 0
        while True:
            due = self._begin + number / load["rate"]
            await self._sleep_until(due)
            if self._over():
                return
            self.count += 1
            self._spawn(self._attempt(load, number))
            number += 1

    async def _attempt(self, load: Dict[str, Any], number: int) -> None:
        start = time.monotonic()
        try:
            await asyncio.wait_for(self._single(load), load["timeout"])
            outcome = ("ok", "")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            outcome = outcome_of(error)
        self._record(load, number, start, outcome, False)

    async def _single(self, load: Dict[str, Any]) -> None:
        """We close first: our kernel remembers the port for a minute, and nobody uses it again.

        Else the holder remembers it (TIME-WAIT). Should the VIP move away and back meanwhile, it
        would acknowledge what comes from a newer connection with that port, rather than reset it.
        """
        connection = await self._endpoint.connect(load["kind"])
        try:
            await self._ask(connection, load, close=False)
        finally:
            connection.close()

    async def _ask(self, connection: Connection, load: Dict[str, Any], close: bool) -> bool:
        """One GET and its whole answer; returns whether the connection may be used again."""
        kind = load["kind"]
        response = await connection.get(
            load["path"] or _PATHS[kind], self._endpoint.host, self._endpoint.token(kind), close
        )
        async for _ in connection.body(response):
            pass
        if response.status != 200:
            raise Failed("http-%d" % response.status)
        return response.headers.get("connection", "").lower() != "close"

    async def _long_lived(
        self,
        load: Dict[str, Any],
        number: int,
        client: Callable[[Dict[str, Any], int], Awaitable[None]],
    ) -> None:
        """Keep one connection open; open it again when it is gone."""
        # Spread over the interval: streams should not ask in step.
        await asyncio.sleep(load["interval"] * number / load["connections"] % 1.0)
        while not self._over():
            await client(load, number)
            if not self._over():
                await asyncio.sleep(_REOPEN_PAUSE)

    async def _stream(self, load: Dict[str, Any], number: int) -> None:
        """One connection, a request at each interval, until it breaks."""
        connection = None  # type: Optional[Connection]
        answered = False
        due = time.monotonic()
        try:
            while not self._over():
                start = time.monotonic()
                self.count += 1
                try:
                    if connection is None:
                        connect = self._endpoint.connect(load["kind"])
                        connection = await asyncio.wait_for(connect, load["timeout"])
                    rest = max(0.001, start + load["timeout"] - time.monotonic())
                    asked = self._ask(connection, load, close=False)
                    reusable = await asyncio.wait_for(asked, rest)
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    self._record(load, number, start, outcome_of(error), answered)
                    return
                self._record(load, number, start, ("ok", ""), False)
                answered = True
                if not reusable:
                    return
                due = max(due + load["interval"], time.monotonic())
                await self._sleep_until(due)
        finally:
            if connection is not None:
                connection.close()

    async def _sleep_until(self, due: float) -> None:
        """Sleep, in pieces, so that the end is not missed by a long interval."""
        while not self._over() and time.monotonic() < due:
            await asyncio.sleep(min(_BATCH, max(0.0, due - time.monotonic())))

    async def _watch(self, load: Dict[str, Any], number: int) -> None:
        """One idle watch; its attempt lasts as long as it lives. Outliving us is a success."""
        start = time.monotonic()
        self.count += 1
        watching = asyncio.Event()
        life = asyncio.ensure_future(self._watch_life(load, watching))
        try:
            while not life.done() and not (self._over() and watching.is_set()):
                await asyncio.wait({life}, timeout=_BATCH)
            if not life.done():
                self._record(load, number, start, ("ok", ""), False)
                return
            failure = life.exception()
            outcome = ("ended", "") if failure is None else outcome_of(failure)
            self._record(load, number, start, outcome, watching.is_set())
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    async def _watch_life(self, load: Dict[str, Any], watching: asyncio.Event) -> None:
        """Returns when the server ends the watch, raises when it breaks."""
        patience = load["timeout"]
        connection = await asyncio.wait_for(self._endpoint.connect("watch"), patience)
        try:
            # Longer than we look, so that an end is never the server's good right.
            path = load["path"] or _PATHS["watch"] % math.ceil(self._duration + 60)
            asked = connection.get(path, self._endpoint.host, self._endpoint.token("watch"), False)
            response = await asyncio.wait_for(asked, patience)
            if response.status != 200:
                raise Failed("http-%d" % response.status)
            watching.set()
            async for _ in connection.body(response):
                pass
        finally:
            connection.close()
