"""A client that takes connections and does nothing with them: `idle_flood.py SECONDS CONNECTIONS
RATE ADDRESS PORT`.

Holds CONNECTIONS open without a word for SECONDS, and opens those that the other side ends once
more, at most RATE a second. Prints how it goes, once a second. Only the standard library and only
this file, started with `python -I -S` in a stranger's network namespace.
"""

import resource
import selectors
import socket
import sys
import time

_TICK = 0.05
_SPARE_FILES = 64


class Flood:
    """Connections to one address, all of them silent."""

    def __init__(self, address: str, port: int) -> None:
        self.held = self.opened = 0
        self._where = (address, port)
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._watched = selectors.DefaultSelector()

    def open(self, count: int) -> None:
        """Begin so many connections; which of them come to be shows later."""
        for _ in range(count):
            connection = socket.socket(self._family, socket.SOCK_STREAM)
            connection.setblocking(False)
            # Not there yet, or not at all: either shows as something to read.
            connection.connect_ex(self._where)
            self._watched.register(connection, selectors.EVENT_READ)
            self.held += 1
            self.opened += 1

    def let_go(self, seconds: float) -> None:
        """For so long, close what the other side has ended or refused."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._watched.select(left):
                self._watched.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
                self.held -= 1


def allow_files(count: int) -> None:
    """Each connection is an open file; the usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))


def main(arguments: list[str]) -> int:
    seconds, connections, rate, port = (int(arguments[n]) for n in (0, 1, 2, 4))
    allow_files(connections)
    flood = Flood(arguments[3], port)
    end, told = time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < end:
        flood.open(min(connections - flood.held, max(1, round(rate * _TICK))))
        flood.let_go(_TICK)
        if now - told >= 1:
            print(f"{flood.held} of {connections} are open, {flood.opened} were", flush=True)
            told = now
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
