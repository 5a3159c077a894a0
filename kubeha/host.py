"""The one gate to a node: every remote command and file goes through `Host`.

One SSH connection per node serves many requests. Each request is one program on the node, one
round trip, and ends within a time that is known beforehand. A program that fails is an answer
(`Completed`); HostError means that there is no answer, and its `kind` says why: refused, timeout,
unreachable, dns, closed, permission-denied, host-key-unknown, host-key-changed, host-key-revoked,
jump-host, ssh-config; no-python, old-python, no-sudo, sudo-password, sudo-tty, wrong-password,
not-started; lost, died, bad-answer, bug; stale, link, owner, path, busy, disk-full, read-only,
file, probe, listen, bounds, strike.
"""

import asyncio
import logging
import shlex
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import asyncssh

from kubeha import ssh
from kubeha.errors import HostError
from kubeha.facts.wire import Advert, parse_adverts
from kubeha.history import History, attempts_from, history
from kubeha.model import Cluster, Node
from kubeha.remote import (
    Collected,
    Command,
    Completed,
    FileOutcome,
    FileRemoval,
    FileState,
    FileWrite,
    PassageAnswer,
    PassageRequest,
    SampleRequest,
)
from kubeha.session import Become, OnEvent, Session

log = logging.getLogger(__name__)

# What a request may take on top of the programs that it runs, in seconds.
_OVERHEAD = 15.0
_WRITE_TIME = 60.0
_STRIKE_TIME = 60.0
# What node/passage.py may take after its questions: to wait for the others, then for their probes.
PASSAGE_TIME = 8.0
# sshd allows 10 sessions on one connection (MaxSessions) and refuses the next.
_SESSIONS = 8


class Host:
    """A node that answers. Use `connect`."""

    def __init__(self, node: Node, connection: asyncssh.SSHClientConnection, become: Become):
        self.node = node
        self._connection = connection
        self._become = become
        self._sessions = asyncio.Semaphore(_SESSIONS)

    async def collect(
        self, commands: Mapping[str, Command], files: Sequence[str] = ()
    ) -> Collected:
        """Run commands (all at once) and read files: the contents, or why there are none."""
        return await self.observe(commands, files, {}, operation="collect")

    async def observe(
        self,
        commands: Mapping[str, Command],
        files: Sequence[str],
        asks: Mapping[str, Mapping[str, Mapping[str, Any]]],
        *,
        operation: str = "observe",
    ) -> Collected:
        """`collect`, and in the same round trip the questions of node/look.py."""
        request: dict[str, Any] = {
            "commands": {name: asdict(command) for name, command in commands.items()},
            "files": list(files),
        }
        if operation == "observe":
            request["asks"] = asks
        longest = sum(command.timeout for command in commands.values())
        result = await self._ask(operation, request, timeout=longest)
        offset = result["clock"] - time.time()
        return Collected(
            commands={name: Completed(**one) for name, one in result["commands"].items()},
            files={path: FileState(**one) for path, one in result["files"].items()},
            systemd=result["systemd"],
            python=result["python"],
            clock=result["clock"],
            answers=result.get("answers", {}),
            clock_offset=offset,
        )

    async def write(self, files: Sequence[FileWrite]) -> tuple[FileOutcome, ...]:
        """Put files in place, all or none: nothing is touched before everything is checked."""
        for file in files:
            log.debug("%s: write %s", self.node.name, file.path)
        request = {"files": [asdict(file) for file in files]}
        return _outcomes(await self._ask("write", request, timeout=_WRITE_TIME))

    async def remove(self, paths: Sequence[FileRemoval]) -> tuple[FileOutcome, ...]:
        """Take files away; what is gone already is an outcome that changed nothing."""
        for path in paths:
            log.debug("%s: remove %s", self.node.name, path.path)
        request = {"paths": [asdict(path) for path in paths]}
        return _outcomes(await self._ask("remove", request, timeout=_WRITE_TIME))

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        on_line: Callable[[str], None] | None = None,
        finish: bool = False,
    ) -> Completed:
        """Run a program as root, at most `timeout` seconds; `on_line` gets its output as it comes.

        When this side goes away, the program's process group is ended, or with `finish` (apt)
        left to finish.
        """
        log.debug("%s: run %s", self.node.name, shlex.join(argv))
        request = {
            "argv": list(argv),
            "timeout": timeout,
            "env": dict(env) if env is not None else None,
            "input": input,
            "finish": finish,
        }

        def on_event(event: dict[str, Any]) -> None:
            if on_line is not None and event["event"] == "line":
                on_line(event["text"])

        return Completed(**await self._ask("run", request, timeout=timeout, on_event=on_event))

    async def arp_probe(
        self,
        interface: str,
        address: str,
        *,
        count: int = 3,
        timeout: float = 1.0,
        sender: str | None = None,
    ) -> tuple[str, ...]:
        """MAC addresses that answer for an address on the wire: ARP for IPv4, NDP for IPv6.

        A node never sees itself: ask from another one. The question takes `timeout` seconds.
        """
        request = {
            "interface": interface,
            "address": address,
            "count": count,
            "timeout": timeout,
            "sender": sender,
        }
        return tuple(await self._ask("probe", request, timeout=timeout))

    async def listen(self, seconds: float, *, most: int = 128) -> tuple[Advert, ...]:
        """VRRP advertisements that come by within `seconds`, on any interface.

        At most `most` different ones. Raises HostError, kind `listen` where the node's kernel does
        not let us.
        """
        request = {"seconds": seconds, "most": most}
        answer = await self._ask("listen", request, timeout=seconds)
        if answer["left_out"]:
            log.warning("%s: %d VRRP frames too many", self.node.name, answer["left_out"])
        return parse_adverts(answer)

    async def passage(
        self, request: PassageRequest, on_ready: Callable[[], None], go: asyncio.Event
    ) -> PassageAnswer:
        """Ask for neighbours, connect, and exchange VRRP probes with other nodes.

        `on_ready` is called when this node can receive; it sends when `go` is set.
        """

        def on_event(event: dict[str, Any]) -> None:
            if event["event"] == "ready":
                on_ready()

        limit = request.timeout + PASSAGE_TIME
        asked = asdict(request)
        answer = await self._ask("passage", asked, timeout=limit, on_event=on_event, stop=go)
        return PassageAnswer(**answer)

    async def sample(
        self,
        request: SampleRequest,
        on_event: OnEvent | None = None,
        stop: asyncio.Event | None = None,
    ) -> History:
        """Be clients of the endpoint, from this node; returns all that they saw.

        Ends after `request.duration`, or when `stop` is set; attempts under way are awaited.
        """
        rows: list[Sequence[Any]] = []
        offsets: list[float] = []

        def record(event: dict[str, Any]) -> None:
            # The quickest message tells best what the node's clock was when.
            offsets.append(time.time() - event["clock"])
            rows.extend(event.get("attempts", ()))
            if on_event is not None:
                on_event(event)

        wait = max((load.timeout for load in request.loads), default=0.0)
        await self._ask(
            "sample", asdict(request), timeout=request.duration + wait, on_event=record, stop=stop
        )
        return history(attempts_from(rows, min(offsets), self.node.name))

    async def monitor(
        self,
        vip: str,
        admin_socket: str | None,
        on_event: OnEvent,
        stop: asyncio.Event,
        *,
        duration: float = 3600.0,
    ) -> None:
        """Tell each change of who holds the VIP and of what HAProxy thinks (node/monitor.py)."""
        request = {"vip": vip, "admin_socket": admin_socket, "duration": duration}
        await self._ask("monitor", request, timeout=duration, on_event=on_event, stop=stop)

    async def strike(self, request: Mapping[str, Any], on_event: OnEvent) -> Mapping[str, Any]:
        """Break something, once the timer runs that will heal it (node/strike.py)."""
        answer = await self._ask("strike", request, timeout=_STRIKE_TIME, on_event=on_event)
        return dict(answer)

    async def _ask(
        self,
        operation: str,
        request: Mapping[str, Any],
        *,
        timeout: float,
        on_event: OnEvent | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """One request to the program on the node; `timeout` is what the work itself may take."""
        limit = timeout + _OVERHEAD
        try:
            async with self._sessions, asyncio.timeout(limit):
                process = await self._connection.create_process(self._become.command, encoding=None)
                session = Session(self.node.name, process, self._become)
                return await session.ask({"op": operation, **request}, on_event, stop)
        except TimeoutError as error:
            message = f"no answer within {limit:g} s ({operation})"
            raise self._error("timeout", message) from error
        except (OSError, asyncssh.Error) as error:
            if isinstance(error, asyncssh.ChannelOpenError) and "closed" not in error.reason:
                raise self._error("not-started", f"no session: {error.reason}") from error
            raise self._error("lost", "the connection was lost in the middle") from error

    def _error(self, kind: str, message: str) -> HostError:
        hint = "see that the machine is up, then try again"
        return HostError(message, hint=hint, node=self.node.name, kind=kind)


def _outcomes(result: Sequence[Mapping[str, Any]]) -> tuple[FileOutcome, ...]:
    return tuple(FileOutcome(**{**one, "created": tuple(one.get("created", ()))}) for one in result)


@asynccontextmanager
async def connect(
    cluster: Cluster, node: Node, *, become_password: str | None = None, timeout: float = 10.0
) -> AsyncIterator[Host]:
    """A connection to a node, up within `timeout` seconds. Raises HostError."""
    to = ssh.target(cluster, node)
    become = Become(needed=to.user != "root", password=become_password)
    async with ssh.open_connection(to, timeout) as connection:
        yield Host(node, connection, become)
