"""Does what has to pass between the nodes pass? VRRP in each direction by itself, and TCP.

A firewall that keeps connection state (Linux's conntrack) knows protocols that it does not
understand, VRRP among them, by addresses and protocol alone, for 600 s: once a machine has sent
VRRP to another, the other's VRRP is an answer and is let in, whatever the rules say of new
packets. A probe in both directions would so open the firewall that it should find. Therefore:

- probes are sent on a packet socket, below the sender's own firewall, which sees nothing and
  remembers nothing;
- they are received on a raw IP socket, behind the receiver's firewall, as keepalived does.

What this cannot see: rules for what the sender sends (OUTPUT), which the packet socket goes past;
and a firewall that blocks VRRP in one direction only but remembers the other direction of a
keepalived that is running.

A probe is a valid advertisement (VRRPv3, RFC 9568) of a VRID that neither end uses, with priority
1, sent to one machine: no virtual router takes it for its own. It is recognised by what stands
where the addresses would. Each is sent small and as large as the interface's MTU allows: what
passes only when it is small is lost to an MTU that does not fit.
"""

import binascii
import os
import select
import socket
import struct
import threading
import time
from typing import Any, Dict, List, Optional, Set

from kubeha.node.connect import connect
from kubeha.node.probe import ask
from kubeha.node.wire import Refused, Wire

_VRRP = 112
_ALL_HOPS = 255
_PRIORITY, _CENTISECONDS = 1, 100
_DONT_FRAGMENT = 0x4000
_QUESTIONS, _COPIES = 3, 5
_BETWEEN = 0.05
_BARRIER = 5.0  # how long to wait until all nodes can receive, in seconds
_PATIENCE = 2.0  # and how long for the probes of all, from then on
_LATEST = 0.5  # how long what came in time may take to be read, in seconds
_SMALL, _LARGE = b"\0", b"\1"


def passage(
    wire: Wire,
    me: Dict[str, Any],
    peers: List[Dict[str, Any]],
    ask_for: Dict[str, List[str]],
    targets: Dict[str, List[Any]],
    vrid: int,
    mark: str,
    timeout: float,
) -> Dict[str, Any]:
    """Ask for neighbours, then (when told so, and with all others) send and receive the probes.

    `me`: {"number", "address"}; `peers`: {"number", "address", "interface", "mac"} of each machine
    to send to (`mac` if it is known); `ask_for`: interface -> addresses to ask for by ARP or NDP;
    `targets`: name -> [address, port] to connect to; `mark`: 14 bytes in hex that every probe of
    this run carries; `timeout`: seconds for the questions, and one more for connections. The node
    says `ready` and waits until the operator has heard that from all.

    {"neighbours": address -> MACs, "connections": name -> [outcome, words], "arrived": number of
    the sender -> ["small", "large"], "sent": number -> {"mtu"} or {"error"}}.
    """
    result = {}  # type: Dict[str, Any]
    connecting = threading.Thread(
        target=lambda: result.update(connections=connect(wire, targets, timeout + 1.0))
    )
    connecting.start()
    try:
        receiver = _receiver(me["address"])
        with receiver:
            result["neighbours"] = _ask_all(wire, ask_for, timeout)
            wire.event("ready")
            wire.stop.wait(_BARRIER)
            outgoing = [_Probe(me, peer, vrid, mark, result["neighbours"]) for peer in peers]
            heard = _exchange(wire, receiver, outgoing, binascii.unhexlify(mark))
    except OSError as error:
        raise Refused("probe", "cannot use raw sockets: %s" % (error.strerror or error)) from error
    finally:
        connecting.join()
    result["arrived"] = {str(number): sorted(sizes) for number, sizes in heard.items()}
    result["sent"] = {str(each.number): each.outcome for each in outgoing}
    return result


def _receiver(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_RAW, _VRRP)
    receiver.setblocking(False)
    return receiver


def _ask_all(wire: Wire, ask_for: Dict[str, List[str]], timeout: float) -> Dict[str, List[str]]:
    """Address -> MACs, on all interfaces at once; an interface that cannot ask leaves its out."""
    found = {}  # type: Dict[str, List[str]]

    def work(interface: str, addresses: List[str]) -> None:
        try:
            found.update(ask(wire, interface, addresses, _QUESTIONS, timeout))
        except Refused:
            pass

    groups = [
        (interface, [each for each in addresses if (":" in each) == six])
        for interface, addresses in ask_for.items()
        for six in (False, True)
    ]
    workers = [threading.Thread(target=work, args=group) for group in groups if group[1]]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


class _Probe:
    """The two frames for one peer, and the packet socket that they leave by."""

    def __init__(
        self,
        me: Dict[str, Any],
        peer: Dict[str, Any],
        vrid: int,
        mark: str,
        neighbours: Dict[str, List[str]],
    ) -> None:
        self.number = peer["number"]
        self.outcome = {}  # type: Dict[str, Any]
        self._frames = []  # type: List[bytes]
        self._socket = None  # type: Optional[socket.socket]
        mac = _destination(peer["mac"], neighbours.get(peer["address"], []))
        if mac is None:
            self.outcome["error"] = "it answers no ARP or NDP"
            return
        try:
            self._open(peer["interface"])
        except OSError as error:
            self.outcome["error"] = "%s: %s" % (peer["interface"], error.strerror)
            return
        assert self._socket is not None
        mine = self._socket.getsockname()[4]
        if len(mine) != len(mac):
            self.outcome["error"] = "%s: not an Ethernet interface" % peer["interface"]
            return
        ends = me["address"], peer["address"]
        head = _frame_head(mac, mine, ends[0])
        token = binascii.unhexlify(mark) + bytes([me["number"]])
        self._frames = [
            head + packet(ends[0], ends[1], vrid, token + size, room)
            for size, room in ((_SMALL, 0), (_LARGE, self.outcome["mtu"]))
        ]

    def _open(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        with open(os.path.join("/sys/class/net", interface, "mtu")) as file:
            self.outcome["mtu"] = int(file.read())

    def send(self) -> None:
        for frame in self._frames:
            assert self._socket is not None
            try:
                self._socket.send(frame)
            except OSError as error:
                # A large one that its own interface refuses is as lost as one that a switch drops.
                if frame is self._frames[0]:
                    self.outcome["error"] = error.strerror

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _destination(known: Optional[str], answers: List[str]) -> Optional[bytes]:
    """The peer's own MAC if it is among those that answer, or if nobody does; else who does."""
    chosen = known if known in answers or not answers else answers[0]
    return binascii.unhexlify(chosen.replace(":", "")) if chosen else None


def _frame_head(to: bytes, mine: bytes, address: str) -> bytes:
    return to + mine + struct.pack("!H", 0x86DD if ":" in address else 0x0800)


def packet(source: str, destination: str, vrid: int, token: bytes, size: int) -> bytes:
    """An IP packet with a VRRPv3 advertisement, padded to `size` bytes in all if that is more."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    head = 40 if family == socket.AF_INET6 else 20
    count = len(token) // (len(ends) // 2)
    body = struct.pack("!BBBBHH", 0x31, vrid, _PRIORITY, count, _CENTISECONDS, 0) + token
    body += b"\0" * max(0, size - head - len(body))
    if family == socket.AF_INET6:
        pseudo = ends + struct.pack("!IxxxB", len(body), _VRRP)
        header = struct.pack("!IHBB", 6 << 28, len(body), _VRRP, _ALL_HOPS) + ends
    else:
        pseudo = ends + struct.pack("!xBH", _VRRP, len(body))
        header = _ipv4_header(head + len(body), ends)
    return header + body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]


def _ipv4_header(total: int, ends: bytes) -> bytes:
    fields = (0x45, 0xC0, total, 0, _DONT_FRAGMENT, _ALL_HOPS, _VRRP)
    blank = struct.pack("!BBHHHBBH", *(fields + (0,))) + ends
    return struct.pack("!BBHHHBBH", *(fields + (checksum(blank),))) + ends


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))  # type: int
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _exchange(
    wire: Wire, receiver: socket.socket, outgoing: List[_Probe], mark: bytes
) -> Dict[int, Set[str]]:
    """Send every probe some times, and listen until all of every peer have come, or too long.

    The peers may begin later: a busy machine is not one behind a firewall.
    """
    heard = {}  # type: Dict[int, Set[str]]
    begin = time.monotonic()
    sent = 0
    try:
        while not wire.gone.is_set():
            passed = time.monotonic() - begin
            if sent < _COPIES and passed >= sent * _BETWEEN:
                sent += 1
                for each in outgoing:
                    each.send()
            ready = select.select([receiver], [], [], 0.02)[0]
            if ready:
                _note(receiver.recv(65536), mark, heard)
            # On a segment full of advertisements there is always something to read.
            if passed >= _PATIENCE + (_LATEST if ready else 0):
                break
            if sent == _COPIES and _complete(outgoing, heard):
                break
    finally:
        for each in outgoing:
            each.close()
    return heard


def _complete(outgoing: List[_Probe], heard: Dict[int, Set[str]]) -> bool:
    return all(len(heard.get(each.number, ())) == 2 for each in outgoing)


def _note(data: bytes, mark: bytes, heard: Dict[int, Set[str]]) -> None:
    """Take down who sent this, if it is one of this run's probes."""
    at = data.find(mark, 8, 128)
    if at < 0 or len(data) < at + len(mark) + 2:
        return
    number, size = data[at + len(mark)], data[at + len(mark) + 1]
    heard.setdefault(number, set()).add("large" if bytes([size]) == _LARGE else "small")
