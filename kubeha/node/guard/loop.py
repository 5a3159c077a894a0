"""The program: hands events to the guard and does what it says."""

import os
import select
import signal
import socket
import sys
import time
from typing import Any

from kubeha.node.guard.decision import Guard
from kubeha.node.guard.events import (
    Announce,
    Ask,
    Block,
    End,
    FindGateway,
    Gateway,
    Hush,
    Lost,
    Me,
    Say,
    Settled,
    Started,
    Taken,
    Tell,
    Tick,
    Try,
    WatchOwn,
    WatchPeers,
)
from kubeha.node.guard.files import (
    FRESH_FILE,
    GUARD_FILE,
    SETTINGS,
    held_before,
    overwrite,
    read_settings,
    write_state,
)
from kubeha.node.guard.hushing import Hushing
from kubeha.node.guard.sockets import Wire
from kubeha.node.guard.timing import NEVER
from kubeha.node.guard.unit import Unit


def notify(text: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(text.encode())


class Loop:
    """Hands events to the guard and does what it says."""

    def __init__(self, wire: Wire, me: Me) -> None:
        self.wire = wire
        self.guard = Guard(me)
        self.unit = Unit()
        self.hushing = Hushing(me.vrid)
        self.watchdog = int(os.environ.get("WATCHDOG_USEC", 0)) / 3e6

    def run(self) -> None:
        overwrite(GUARD_FILE, "0\n")
        write_state(None, "", "")
        self._prepare_hushing()
        self.wire.ask_addresses()
        self.feed(Started())
        notify("READY=1")
        fed = time.monotonic()
        while True:
            now = time.monotonic()
            if self.watchdog and now - fed >= self.watchdog:
                notify("WATCHDOG=1")
                fed = now
            until = min(self.guard.deadline(), fed + self.watchdog if self.watchdog else NEVER)
            wait = None if until == NEVER else max(0.0, until - now)
            ready = select.select(self.wire.listening(), [], [], wait)[0]
            for sock in ready:
                if sock.fileno() >= 0:
                    for event in self.wire.read(sock):
                        self.feed(event)
            self.feed(Tick())

    def _prepare_hushing(self) -> None:
        try:
            self.hushing.prepare()
        except OSError as error:
            log(
                "this kernel cannot keep advertisements back (nf_tables: %s): when this node makes"
                " way for another holder, a third one may take the VIP for a moment"
                % (error.strerror or error)
            )

    def feed(self, event: Any) -> None:
        if isinstance(event, bool):
            # While it holds the VIP it is at work: the time to learn where its processes are.
            self.unit.processes()
            event = Taken(held_before()) if event else Lost()
        for action in self.guard.react(time.monotonic(), event):
            try:
                follow_up = self.act(action)
            except OSError as error:
                log("%s: %s" % (type(action).__name__, error.strerror or error))
            else:
                if follow_up is not None:
                    self.feed(follow_up)

    def act(self, action: Any) -> Any:
        """Carry out one action; returns the event that it leads to, if any."""
        return getattr(self, "_" + type(action).__name__.lower())(action)

    def _say(self, action: Say) -> None:
        self.wire.say(action.claim)

    def _ask(self, action: Ask) -> None:
        self.wire.ask(action.address, action.mac)

    def _announce(self, _: Announce) -> None:
        self.wire.announce()

    def _block(self, action: Block) -> None:
        overwrite(GUARD_FILE, "1\n" if action.value else "0\n")

    def _hush(self, action: Hush) -> None:
        self.hushing.hush(action.on)

    def _settled(self, _: Settled) -> None:
        overwrite(FRESH_FILE, "0\n")

    def _try(self, action: Try) -> None:
        self.wire.try_haproxy(action.address)

    def _watchown(self, action: WatchOwn) -> Any:
        self.wire.watch_own(action.on)
        return self.unit.state() if action.on else None

    def _watchpeers(self, action: WatchPeers) -> None:
        self.wire.watch_peers(action.on)

    def _findgateway(self, _: FindGateway) -> Gateway:
        return Gateway(self.wire.gateway())

    def _tell(self, action: Tell) -> None:
        """In the log, and for kubeha in a file."""
        log(action.text)
        if action.why is not None:
            write_state(action.why, action.other, action.text)

    def _end(self, _: End) -> None:
        processes = self.unit.processes()
        if processes:
            log("keepalived does not give the VIP up: killing it, %d processes" % len(processes))
        else:
            log("keepalived is gone, and the VIP was left behind: removing it")
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wire.remove_address()


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    interface, me = read_settings(SETTINGS)
    while True:
        try:
            wire = Wire(interface, me)
            break
        except OSError as error:
            log("%s: %s; trying again" % (interface, error.strerror or error))
            time.sleep(1.0)
    Loop(wire, me).run()
