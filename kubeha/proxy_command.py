"""Runs the ProxyCommand of an SSH configuration, as ssh does: by the shell, its words kept apart.

asyncssh would run it without a shell and take what it writes to standard error for SSH data, so
that a warning breaks the connection and the reason of a failure is lost.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_WORDS_LIMIT = 4096
_PATIENCE = 1.0


class Proxy:
    """A running ProxyCommand; `socket` is our end of it."""

    def __init__(self, ours: socket.socket, process: asyncio.subprocess.Process) -> None:
        self.socket = ours
        self._process = process
        self._words = bytearray()
        self._reading = asyncio.create_task(self._read())

    async def last_words(self) -> str:
        """The last line that it wrote to standard error; awaited for a second if it is ending."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await asyncio.shield(self._reading)
        lines = self._words.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def end(self) -> None:
        """End it with all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._reading.cancel()
        self.socket.close()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(_WORDS_LIMIT):
            self._words += chunk
            del self._words[:-_WORDS_LIMIT]


@asynccontextmanager
async def running(command: str) -> AsyncIterator[Proxy]:
    """A ProxyCommand at work, its tokens (%h, %p) replaced already; ended with the context."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            f"exec {command}",
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    proxy = Proxy(ours, process)
    try:
        yield proxy
    finally:
        await proxy.end()
