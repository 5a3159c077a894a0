"""Standard input and output to a TCP connection and back: `proxy.py ADDRESS PORT`.

The ProxyCommand of a lab's ssh_config, run inside the lab's network namespace. Only the standard
library and only this file, started with `python -I -S`: it starts for every SSH connection.
"""

import os
import select
import socket
import sys


def relay(connection: socket.socket) -> None:
    """Copy both ways until the far end closes; our end's close is passed on."""
    reading: list[int | socket.socket] = [0, connection]
    while connection in reading:
        ready, _, _ = select.select(reading, [], [])
        if connection in ready:
            data = connection.recv(65536)
            if not data:
                return
            _write(data)
        if 0 in ready:
            data = os.read(0, 65536)
            if data:
                connection.sendall(data)
            else:
                reading.remove(0)
                connection.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main() -> int:
    address, port = sys.argv[1], int(sys.argv[2])
    try:
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            relay(connection)
    except (OSError, KeyboardInterrupt) as error:
        print(f"{address}:{port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
