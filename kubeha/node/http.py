"""As much of HTTP/1.1 over TLS as a client of the API server needs, on asyncio streams.

Written out because the client must see how a connection dies, and the standard library's client
waits in threads.
"""

import asyncio
import socket
import ssl
from typing import AsyncIterator, Dict, NamedTuple, Optional

Response = NamedTuple("Response", [("status", int), ("headers", Dict[str, str])])

# What Go's net/http does: a peer that vanished is noticed on an idle connection, too.
_KEEPALIVE_IDLE = 15
_KEEPALIVE_COUNT = 3


class BadAnswer(Exception):
    """What came is not HTTP."""


class Connection:
    """One TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, host: str, token: Optional[str], close: bool) -> Response:
        """Send a GET and read the head of the answer."""
        lines = ["GET %s HTTP/1.1" % path, "Host: %s" % host, "User-Agent: kubeha"]
        lines += [
            "Accept: application/json",
            "Connection: %s" % ("close" if close else "keep-alive"),
        ]
        if token:
            lines.append("Authorization: Bearer " + token)
        self._writer.write("\r\n".join(lines + ["", ""]).encode())
        await self._writer.drain()
        status = (await self._line()).split(None, 2)
        if len(status) < 2 or not status[0].startswith("HTTP/1.") or not status[1].isdigit():
            raise BadAnswer("not HTTP: %r" % " ".join(status)[:80])
        return Response(int(status[1]), await self._headers())

    async def body(self, response: Response) -> AsyncIterator[bytes]:
        """The body as it comes; its end is checked."""
        headers = response.headers
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int(await self._line(), 16)
                data = await self._reader.readexactly(size + 2)
                if size == 0:
                    return
                yield data[:-2]
        elif "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
        else:
            yield await self._reader.read()

    def close(self) -> None:
        self._writer.transport.abort()

    async def _line(self) -> str:
        line = await self._reader.readuntil(b"\n")
        return line.decode("latin-1").rstrip("\r\n")

    async def _headers(self) -> Dict[str, str]:
        headers = {}  # type: Dict[str, str]
        while True:
            line = await self._line()
            if not line:
                return headers
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()


async def connect(address: str, port: int, context: ssl.SSLContext, server_name: str) -> Connection:
    """A new connection; the server has to prove that it is `server_name`."""
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=server_name
    )
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_IDLE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    return Connection(reader, writer)
