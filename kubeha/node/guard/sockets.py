"""The wire: what arrives there becomes events, and frames go out."""

import array
import errno
import socket
import struct
from typing import Any, Dict, List, Optional

from kubeha.node.guard.events import Advert, Alive, Claim, Claimed, Me, OwnAdvert
from kubeha.node.guard.filters import (
    OUTGOING,
    Program,
    advertisement_filter,
    arp_filter,
    own_vrrp_filter,
)
from kubeha.node.guard.frames import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_CLAIM,
    ETHERTYPE_IPV6,
    VRRP,
    advert_vrid,
    advertised,
    advertisement,
    arp,
    arp_sender,
    pack_claim,
    solicitation,
    unpack_claim,
)
from kubeha.node.guard.netlink import (
    DELADDR,
    DELLINK,
    DONE,
    LINK_AND_ADDRESSES,
    NEWADDR,
    NEWLINK,
    address_message,
    addresses_wanted,
    interface_address,
    link_change,
    messages,
)


class Wire:
    """The sockets of one interface."""

    def __init__(self, interface: str, me: Me) -> None:
        self.interface = interface
        self.me = me
        self.version = 4 if len(me.vip) == 4 else 6
        self.index = socket.if_nametoindex(interface)
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.netlink.bind((0, LINK_AND_ADDRESSES))
        # Read after that, or a change in between would stay unnoticed.
        with open("/sys/class/net/%s/address" % interface) as file:
            self.mac = bytes.fromhex(file.read().strip().replace(":", ""))
        self.claims = self._packets(ETHERTYPE_CLAIM, None)
        if self.version == 4:
            self.neighbours = self._packets(ETHERTYPE_ARP, arp_filter(me.vip))
        else:
            self.neighbours = self._packets(ETHERTYPE_IPV6, advertisement_filter())
            self.asking = self._icmp()
        self.listed: Optional[bool] = None
        self.own: Optional[socket.socket] = None
        self.peers: Optional[socket.socket] = None
        self.tries: Dict[socket.socket, bytes] = {}
        for sock in (self.netlink, self.claims, self.neighbours):
            sock.setblocking(False)

    def _packets(self, kind: int, program: Optional[Program]) -> socket.socket:
        """Bound only when its filter is there: nothing else ever comes in."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if program is not None:
            _attach(sock, program)
        sock.bind((self.interface, kind))
        sock.setblocking(False)
        return sock

    def _icmp(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        sock.setsockopt(socket.IPPROTO_ICMPV6, 1, b"\xff" * 32)  # ICMP6_FILTER: receive nothing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            sock.setsockopt(socket.IPPROTO_IPV6, option, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        return sock

    def listening(self) -> List[socket.socket]:
        all_of_them = (self.netlink, self.claims, self.neighbours, self.own, self.peers)
        return [sock for sock in all_of_them if sock is not None] + list(self.tries)

    def read(self, sock: socket.socket) -> List[Any]:
        """The events in what has arrived; netlink's tell whether the VIP is there."""
        if sock in self.tries:
            return self._tried(sock)
        events: List[Any] = []
        for _ in range(64):
            try:
                data, source = sock.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS and sock is self.netlink:
                    self.ask_addresses()
                elif error.errno not in (errno.ENOBUFS, errno.ENETDOWN):
                    raise
                break
            event = self._event(sock, data, source)
            if event is not None:
                events.extend(event if isinstance(event, list) else [event])
        return events

    def _event(self, sock: socket.socket, data: bytes, source: Any) -> Any:
        if sock is self.netlink:
            return self._changes(data)
        if sock is self.own:
            ours = advert_vrid(data[14:] if self.version == 4 else data[54:], self.version)
            return OwnAdvert() if ours == self.me.vrid else None
        if sock is self.peers:
            address = socket.inet_pton(self.peers.family, source[0].partition("%")[0])
            ours = advert_vrid(data, self.version) == self.me.vrid
            return Advert(address) if ours else None
        if source[2] == OUTGOING or data[6:12] == self.mac:
            return None
        if sock is self.claims:
            claim = unpack_claim(data[14:], len(self.me.vip))
            return Claimed(data[6:12], claim) if claim else None
        answer = arp_sender(data[14:]) if self.version == 4 else advertised(data[14:])
        return answer if answer and answer.mac != self.mac else None

    def _changes(self, data: bytes) -> List[Any]:
        """Is the VIP there? Once for each change, and once after all addresses were asked for."""
        changes: List[Any] = []
        for kind, content in messages(data):
            if kind == DONE and self.listed is not None:
                changes.append(self.listed)
                self.listed = None
            elif kind in (NEWADDR, DELADDR):
                if interface_address(content) == (self.index, self.me.vip):
                    changes.append(kind == NEWADDR)
                    self.listed = None if self.listed is None else kind == NEWADDR
            elif kind in (NEWLINK, DELLINK):
                change = link_change(kind, content, self.index, self.mac)
                if change is not None:
                    raise SystemExit("the interface %s %s" % (self.interface, change))
        return changes

    def ask_addresses(self) -> None:
        self.listed = False
        self.netlink.send(addresses_wanted(self.version))

    def remove_address(self) -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.send(address_message(DELADDR, 0x1, self.index, self.me.vip))

    def say(self, claim: Claim) -> None:
        head = BROADCAST + self.mac + struct.pack("!H", ETHERTYPE_CLAIM)
        self.claims.send(head + pack_claim(claim))

    def ask(self, address: bytes, mac: Optional[bytes]) -> None:
        """Who has this address? For the VIP without a sender: a probe changes nobody's cache."""
        if self.version == 6:
            self._solicit(address)
            return
        sender = b"\0" * 4 if address == self.me.vip else self.me.address
        head = (mac or BROADCAST) + self.mac + struct.pack("!H", ETHERTYPE_ARP)
        self.neighbours.send(head + arp(1, self.mac, sender, address))

    def _solicit(self, address: bytes) -> None:
        group = b"\xff\x02" + b"\0" * 9 + b"\x01\xff" + address[13:]
        data = solicitation(address, self.mac)
        self.asking.sendto(data, (socket.inet_ntop(socket.AF_INET6, group), 0, 0, self.index))

    def announce(self) -> None:
        vip = self.me.vip
        if self.version == 6:
            self.asking.sendto(advertisement(vip, self.mac), ("ff02::1", 0, 0, self.index))
            return
        head = BROADCAST + self.mac + struct.pack("!H", ETHERTYPE_ARP)
        self.neighbours.send(head + arp(1, self.mac, vip, vip))

    def watch_own(self, on: bool) -> None:
        if self.own is not None:
            self.own.close()
            self.own = None
        if on:
            self.own = self._packets(3, own_vrrp_filter(self.version))  # ETH_P_ALL

    def watch_peers(self, on: bool) -> None:
        """A socket like keepalived's: what the packet filter drops does not come here either."""
        if self.peers is not None:
            self.peers.close()
            self.peers = None
        if on:
            family = socket.AF_INET if self.version == 4 else socket.AF_INET6
            self.peers = socket.socket(family, socket.SOCK_RAW, VRRP)
            self.peers.setsockopt(
                socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode()
            )
            self.peers.setblocking(False)

    def try_haproxy(self, address: bytes) -> None:
        """Whatever it says to an empty request, that it closes included, shows that it is alive.

        The kernel accepts connections for a HAProxy that hangs, and refuses them for none.
        """
        for sock in [sock for sock, tried in self.tries.items() if tried == address]:
            del self.tries[sock]
            sock.close()
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(0.05)
            sock.connect((socket.inet_ntop(family, address), self.me.port))
            sock.send(b"\r\n\r\n")
        except OSError:
            sock.close()
            raise
        self.tries[sock] = address

    def _tried(self, sock: socket.socket) -> List[Any]:
        address = self.tries.pop(sock)
        try:
            sock.recv(64)
            return [Alive(address)]
        except OSError as error:
            return [Alive(address)] if error.errno == errno.ECONNRESET else []
        finally:
            sock.close()

    def gateway(self) -> Optional[bytes]:
        """The default route's next hop on this interface."""
        path = "/proc/net/route" if self.version == 4 else "/proc/net/ipv6_route"
        with open(path) as file:
            for line in file:
                words = line.split()
                if self.version == 4 and words[:2] == [self.interface, "00000000"]:
                    if int(words[3], 16) & 2:
                        return struct.pack("=I", int(words[2], 16))
                elif self.version == 6 and words[-1] == self.interface and words[1] == "00":
                    if words[0] == "0" * 32 and int(words[8], 16) & 2:
                        return bytes.fromhex(words[4])
        return None


def _attach(sock: socket.socket, program: Program) -> None:
    code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
    pointer = struct.pack("@HP", len(program), code.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, 26, pointer)  # SO_ATTACH_FILTER
