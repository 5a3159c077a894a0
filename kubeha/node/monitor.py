"""Watch who holds the VIP and what HAProxy thinks, and tell each change as it happens.

Times are this node's monotonic clock, in seconds; every message carries that clock, so that the
operator can tell when it was. The kernel says when an address or a carrier comes and goes; HAProxy
has to be asked, five times a second. Changes nothing and leaves nothing behind.
"""

import collections
import csv
import errno
import socket
import struct
import threading
import time
from typing import Any, Deque, Dict, Iterator, List, Optional, Tuple

from kubeha.node.wire import Refused, Wire

MAX_SECONDS = 3600.0
_BEAT = 0.25  # how often the clock is told when nothing happens, in seconds
_ASK_EVERY = 0.2
_PATIENCE = 0.5

# rtnetlink(7), linux/if_link.h, linux/if_addr.h
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_DONE = 3
_REQUEST_DUMP = 0x301
_GROUPS = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses
_LOOPBACK, _LOWER_UP = 0x8, 0x10000
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RECEIVE_BUFFER = 1 << 20

# Both threads put changes in, the first one takes them out.
Changes = Deque[List[Any]]


def monitor(wire: Wire, vip: str, admin_socket: Optional[str], duration: float) -> Dict[str, Any]:
    """Send "changes" events until told to stop, or for `duration` seconds.

    A change is [clock, "holds", "", 0 or 1] for the VIP on an interface with a carrier, or
    [clock, "server", name, status] for an API server as HAProxy sees it, or
    [clock, "haproxy", "", "answers", "silent" or "gone"]. The first ones tell how it is at the
    beginning.
    """
    if not 0 < duration <= MAX_SECONDS:
        raise Refused("bounds", "duration: not within 0 to %g s" % MAX_SECONDS)
    end = time.monotonic() + duration
    changes = collections.deque()  # type: Changes
    if admin_socket:
        asking = threading.Thread(target=_ask, args=(wire, admin_socket, changes), daemon=True)
        asking.start()
    count = 0
    with Addresses(vip) as addresses:
        changes.append([time.monotonic(), "holds", "", int(addresses.holding)])
        while time.monotonic() < end and not wire.stop.is_set():
            before = addresses.holding
            if addresses.wait(_BEAT if not changes else 0.0) and addresses.holding != before:
                changes.append([time.monotonic(), "holds", "", int(addresses.holding)])
            told = [changes.popleft() for _ in range(len(changes))]
            count += len(told)
            wire.event("changes", clock=time.monotonic(), changes=told)
    return {"count": count}


class Addresses:
    """Whether the VIP is on an interface of this machine that has a carrier; loopback is none."""

    def __init__(self, vip: str) -> None:
        family = socket.AF_INET6 if ":" in vip else socket.AF_INET
        self._vip = socket.inet_pton(family, vip)
        self._where = {}  # type: Dict[int, bool]
        self._up = {}  # type: Dict[int, bool]
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((0, _GROUPS))

    def __enter__(self) -> "Addresses":
        self._dump()
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    @property
    def holding(self) -> bool:
        return any(there and self._up.get(index, False) for index, there in self._where.items())

    def wait(self, seconds: float) -> bool:
        """Take in what the kernel tells within `seconds`; False if that was nothing."""
        self._socket.settimeout(max(0.001, seconds))
        try:
            self._take(self._socket.recv(1 << 16))
        except socket.timeout:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            # The kernel told more than there was room for: ask how it is now.
            self._dump()
        return True

    def _dump(self) -> None:
        """Ask for all links, then for all addresses."""
        self._where.clear()
        self._socket.settimeout(2.0)
        for kind in (_GETLINK, _GETADDR):
            # An empty ifinfomsg is as good as an ifaddrmsg: 16 bytes of "any".
            self._socket.send(struct.pack("=IHHII16x", 32, kind, _REQUEST_DUMP, kind, 0))
            while not self._take(self._socket.recv(1 << 16)):
                pass

    def _take(self, data: bytes) -> bool:
        """Read the messages of one datagram; True if they end a dump."""
        done = False
        for kind, body in _messages(data):
            done = done or kind == _DONE
            # Of the link itself: a port that leaves a bridge tells of that in the bridge's family.
            if kind in (_NEWLINK, _DELLINK) and body[0] == socket.AF_UNSPEC:
                index, flags = struct.unpack_from("=iI", body, 4)
                usable = bool(flags & _LOWER_UP) and not flags & _LOOPBACK
                self._up[index] = usable and kind == _NEWLINK
            elif kind in (_NEWADDR, _DELADDR) and self._vip in _addresses(body):
                index = struct.unpack_from("=I", body, 4)[0]
                self._where[index] = kind == _NEWADDR
        return done


def _messages(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Kind and body of each netlink message."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            return
        yield kind, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _addresses(body: bytes) -> List[bytes]:
    """The addresses in an ifaddrmsg with its attributes."""
    found = []
    offset = 8
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind in (_IFA_ADDRESS, _IFA_LOCAL):
            found.append(body[offset + 4 : offset + length])
        offset += (length + 3) & ~3
    return found


def _ask(wire: Wire, path: str, changes: Changes) -> None:
    """Ask HAProxy again and again; a hung one disturbs nobody but this thread."""
    known = {}  # type: Dict[Tuple[str, str], str]
    while not wire.stop.is_set():
        asked = time.monotonic()
        for key, value in _look(path).items():
            if known.get(key) != value:
                known[key] = value
                changes.append([asked, key[0], key[1], value])
        wire.stop.wait(_ASK_EVERY)


def _look(path: str) -> Dict[Tuple[str, str], str]:
    try:
        text = _stat(path)
    except (socket.timeout, BlockingIOError):
        return {("haproxy", ""): "silent"}
    except OSError:
        return {("haproxy", ""): "gone"}
    seen = {("server", name): status for name, status in servers(text)}
    seen["haproxy", ""] = "answers"
    return seen


def _stat(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        connection.sendall(b"show stat\n")
        answer = b""
        while True:
            chunk = connection.recv(65536)
            if not chunk:
                return answer.decode("utf-8", "replace")
            answer += chunk


def servers(text: str) -> Iterator[Tuple[str, str]]:
    """Name and status of each checked server in the answer to `show stat`.

    Without the backups and the servers that only other backends track: those are checked by TCP
    and say nothing of their own. "UP 1/3" and "DOWN 1/3" are on their way to the other.
    """
    first = ""  # the first backend with servers is the one that the frontend uses
    for row in csv.DictReader(text[2:].splitlines() if text.startswith("# ") else []):
        proxy, name = row.get("pxname") or "", row.get("svname") or ""
        if name in ("FRONTEND", "BACKEND") or row.get("type") != "2" or row.get("bck") == "1":
            continue
        first = first or proxy
        if proxy == first:
            yield name, (row.get("status") or "").split(" ")[0]
