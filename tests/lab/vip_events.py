"""Says who has an address, and when: `vip_events.py ADDRESS INTERFACE NAMESPACE...`.

Listens to the kernel in each network namespace and prints a line of JSON for each change: the
namespace, whether the interface now has the address, and when (seconds since 1970). First come
those that have it, then an empty line. Only the standard library: it runs by itself, with real-time
priority, for who holds the VIP for how long is a matter of milliseconds.
"""

import ctypes
import json
import os
import selectors
import socket
import struct
import sys
import time

GETADDR, NEWADDR, DELADDR, DONE = 22, 20, 21, 3
DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
GROUPS = {socket.AF_INET: 0x10, socket.AF_INET6: 0x100}
OWN = {socket.AF_INET: 2, socket.AF_INET6: 1}  # IFA_LOCAL, IFA_ADDRESS
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Ear:
    """A kernel's news of addresses, in one namespace."""

    def __init__(self, namespace, family, address, interface):
        self.namespace = namespace
        self._family, self._address = family, socket.inet_pton(family, address)
        enter(namespace)
        self._index = socket.if_nametoindex(interface)
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.socket.bind((0, GROUPS[family]))
        self.socket.send(struct.pack("=IHHIIB3x", 20, GETADDR, DUMP, 1, 0, family))

    def read(self):
        """(kind, whether it is about our address) of all messages that have come."""
        data = self.socket.recv(1 << 16)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            yield kind, kind in (NEWADDR, DELADDR) and self._ours(data[16:length])
            data = data[(length + 3) & ~3 :]

    def _ours(self, message):
        family, index = message[0], struct.unpack_from("=I", message, 4)[0]
        attributes, found = message[8:], None
        while len(attributes) >= 4:
            size, name = struct.unpack_from("=HH", attributes)
            if name == OWN[self._family]:
                found = attributes[4:size]
            attributes = attributes[(size + 3) & ~3 :]
        return (family, index, found) == (self._family, self._index, self._address)


def enter(namespace):
    with open(f"/run/netns/{namespace}") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", namespace)


def listen(ears):
    """Print changes for ever; an address that is announced once more is no change."""
    watched = selectors.DefaultSelector()
    for ear in ears:
        watched.register(ear.socket, selectors.EVENT_READ, ear)
    has, answered = {}, set()
    while True:
        for key, _ in watched.select():
            ear, now = key.data, time.time()
            for kind, ours in ear.read():
                if ours and has.get(ear.namespace, False) != (kind == NEWADDR):
                    has[ear.namespace] = kind == NEWADDR
                    change = {"namespace": ear.namespace, "has": kind == NEWADDR, "at": now}
                    print(json.dumps(change), flush=True)
                if kind == DONE:
                    answered.add(ear)
                    if len(answered) == len(ears):
                        print(flush=True)


def main(address, interface, *namespaces):
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(60))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listen([Ear(each, family, address, interface) for each in namespaces])


if __name__ == "__main__":
    main(*sys.argv[1:])
