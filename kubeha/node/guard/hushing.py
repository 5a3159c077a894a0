"""What keepalived says as it gives the VIP up reaches nobody.

It says priority 0 then: the end of the master, to whoever hears it, who takes the VIP. But it is
held. So the kernel drops these packets for a moment. Without nf_tables everything else works.
"""

import os
import socket

from kubeha.node.guard.nfnetlink import hushing, no_longer_hushing, refused
from kubeha.node.guard.timing import HUSHED


class Hushing:
    """Of one virtual router. All its methods raise OSError."""

    def __init__(self, vrid: int) -> None:
        self.vrid = vrid
        self.works = False

    def prepare(self) -> None:
        """Can this kernel do it? Its modules are loaded now, not when there is no time for that.

        Nothing is dropped meanwhile, and what a guard before this one left is removed.
        """
        commit(hushing(self.vrid, 0))
        commit(no_longer_hushing())
        self.works = True

    def hush(self, on: bool) -> None:
        """A tenth of a millisecond; nothing where `prepare` has failed."""
        if self.works:
            commit(hushing(self.vrid, int(HUSHED * 1000)) if on else no_longer_hushing())


def commit(batch: bytes) -> None:
    """The kernel has carried it out, or answered why not, before `send` returns."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:  # NETLINK_NETFILTER
        sock.setblocking(False)
        sock.send(batch)
        try:
            number = refused(sock.recv(65536))
        except BlockingIOError:
            return
    if number:
        raise OSError(number, os.strerror(number))
