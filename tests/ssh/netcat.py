"""A ProxyCommand: standard input and output to a TCP port."""

import os
import select
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    while True:
        ready, _, _ = select.select([0, connection], [], [])
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            connection.sendall(data)
        if connection in ready:
            data = connection.recv(65536)
            if not data:
                break
            os.write(1, data)
