"""The service: one node's part in moves, from a request to the end of the connections."""

import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Dict, List, Optional

from kubeha.node.handover.acts import Acts
from kubeha.node.handover.files import LAST, REQUEST, load, save_last
from kubeha.node.handover.formers import believable, merged, speaking, why_over
from kubeha.node.handover.frames import ETHERTYPE, frame, read_frame
from kubeha.node.handover.kernel import connections, now, on_interface, sockets
from kubeha.node.handover.systemd import notify
from kubeha.node.handover.terms import GONE, MARGIN, PREPARED, SILENCE, Json
from kubeha.node.handover.wanted import wanted


class Service:
    """One node's part in one or several moves."""

    def __init__(self) -> None:
        self.acts = Acts()
        self.request: Json = {}
        self.formers: Json = {}
        self.heard: Dict[str, float] = {}
        self.aside_until = 0.0
        self.generation: Optional[int] = None
        self.count: Optional[int] = None
        self.home = False
        self.started = now()
        self.link: Optional[socket.socket] = None

    def read_request(self) -> None:
        request = load(REQUEST)
        if not request or request["generation"] == self.generation:
            return
        self.request, self.generation = request, request["generation"]
        patience = request.get("prepared", PREPARED)
        before = {name: one["id"] for name, one in self.formers.items()}
        self.formers = merged(self.formers, request["formers"], now(), patience)
        for name, one in self.formers.items():
            if before.get(name) != one["id"]:
                # What was heard of an earlier move says nothing of this one.
                self.heard.pop(name, None)
        for name, move in request.get("over", {}).items():
            if self.formers.get(name, {}).get("id") == move:
                del self.formers[name]
        if "aside" in request:
            self.aside_until = now() + request["aside"]
        if self.link is None and self.formers:
            self.link = self.listen()
        if any(before.get(name) != one["id"] for name, one in self.formers.items()):
            self.forget_the_ended()

    def forget_the_ended(self) -> None:
        """Nothing in TIME-WAIT here may take packets of a connection that a former holder has.

        Linux closes such sockets by request since 6.0 (tcp_abort).
        """
        ended = ("time-wait",)
        if sockets(self.request, ended) and sockets(self.request, ended, kill=True) == []:
            self.acts.note(
                "this kernel keeps the ports of ended connections for a minute: a client that"
                " has used one of them again may lose that connection"
            )

    @property
    def me(self) -> str:
        return str(self.request["me"])

    def listen(self) -> socket.socket:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        link.bind((self.request["interface"], ETHERTYPE))
        link.setblocking(False)
        return link

    def tell(self, over: bool = False, times: int = 1) -> None:
        """Tell that this former holder is there, or that it is one no longer."""
        mine = self.formers.get(self.me)
        if mine is None or self.link is None:
            return
        mac = self.link.getsockname()[4]
        for _ in range(times):
            try:
                rest = 0.0 if over else max(0.1, mine["until"] - now())
                data = frame(mac, self.request["vip"], self.me, mine["id"], rest)
                self.link.send(data)
            except OSError as error:
                print("cannot tell the others: %s" % error, file=sys.stderr, flush=True)

    def keep_telling(self) -> None:
        """By a thread: on a busy machine each look takes seconds, and silence ends connections.

        A look that hangs for ever is the watchdog's to end.
        """
        while True:
            if self.request:
                self.tell()
            time.sleep(0.5)

    def hear(self) -> None:
        while self.link is not None:
            try:
                data = self.link.recv(2048)
            except OSError:
                return
            heard = read_frame(data, self.request["vip"])
            if heard is None or heard[0] == self.me or heard[0] not in self.formers:
                continue
            name, move, rest = heard
            known, patience = self.formers[name], self.request.get("prepared", PREPARED)
            if known["id"] != move or not believable(rest, known["seconds"], patience):
                continue
            self.heard[name] = now()
            known["until"] = now() + rest
            if not rest:
                del self.formers[name]

    def forget_the_dead(self) -> None:
        at = now()
        for name, one in list(self.formers.items()):
            if name == self.me:
                continue
            silent = at - self.heard.get(name, at)
            if silent > SILENCE:
                self.acts.note("%s has fallen silent: its connections are ended" % name)
            # A little later than it does so itself: it resets what is left.
            if silent > GONE or at > one["until"] + 2.0:
                del self.formers[name]
                self.heard.pop(name, None)

    def look_at_myself(self) -> None:
        """Has this former holder given the VIP away, and what is left of its connections?"""
        mine = self.formers.get(self.me)
        if mine is None:
            self.count = None
            return
        holding = on_interface(self.request["vip"], self.request["interface"])
        self.count = connections(self.request)
        if holding is False and "left" not in mine:
            mine["left"], mine["carried"] = now(), self.count
            mine["until"] = now() + mine["seconds"]
        patience = self.request.get("prepared", PREPARED)
        self.home = "left" in mine and holding is True
        why = why_over(mine, holding, self.count, now(), patience, len(self.formers) > 1)
        if why is not None:
            self.end(mine, why)

    def end(self, mine: Json, why: str) -> None:
        closed = 0
        if why == "deadline" and "left" in mine and not self.home:
            before = self.count or 0
            self.count = connections(self.request, close=True) if before else 0
            closed = before
            if self.count:
                self.acts.note("this kernel does not close connections: the new holder resets them")
        said = {"id": mine["id"], "why": why, "carried": mine.get("carried"), "closed": closed}
        save_last(said)
        self.tell(over=True, times=3)
        del self.formers[self.me]

    def step(self) -> None:
        self.read_request()
        # At once: who dies without having been heard is missed at the deadline only.
        self.tell()
        self.hear()
        self.forget_the_dead()
        self.look_at_myself()
        heard = speaking(self.formers, self.heard, self.me, now())
        want = wanted(self.request, self.me, heard, self.home)
        self.acts.apply(self.request, want)
        self.acts.stand_aside(now() < self.aside_until)
        self.acts.state.update(
            generation=self.generation,
            me=self.me,
            formers=self.formers,
            connections=self.count,
            at=now(),
        )
        self.acts.record()

    def over(self) -> bool:
        """Nothing is left to do, and nobody has asked for more meanwhile."""
        busy = self.formers or now() < self.aside_until
        return not busy and load(REQUEST).get("generation") == self.generation

    def serve(self) -> None:
        alarm, wake = socket.socketpair()
        for end in (alarm, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        stopped: List[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        notify("STATUS=starting")
        threading.Thread(target=self.keep_telling, daemon=True).start()
        first = True
        while not stopped:
            self.step()
            notify(("READY=1\n" if first else "") + self.pulse())
            first = False
            if self.over():
                break
            self.rest(alarm)
        self.tell(over=True, times=3)
        self.acts.undo()
        save_last(dict(load(LAST), generation=self.generation))

    def pulse(self) -> str:
        """A sign of life for systemd, and more time where a later move has asked for it."""
        ends = [one["until"] for one in self.formers.values()]
        later = max(ends or [0.0]) > self.started + float(os.environ.get("KUBEHA_SECONDS", "0"))
        return "WATCHDOG=1" + ("\nEXTEND_TIMEOUT_USEC=%d" % (MARGIN * 1e6) if later else "")

    def rest(self, alarm: socket.socket) -> None:
        """Until something is heard, but not long: while it is about to move, hardly at all."""
        mine = self.formers.get(self.me)
        brief = self.aside_until > now() or (mine is not None and "left" not in mine)
        until = now() + (0.1 if brief else 0.5 if mine is not None else 1.0)
        ends = [one["until"] for one in self.formers.values()]
        until = min([until] + [end for end in ends if end > now()])
        watch = [alarm] + ([self.link] if self.link is not None else [])
        ready, _, _ = select.select(watch, [], [], max(0.0, until - now()))
        if alarm in ready:
            alarm.recv(4096)


def serve() -> int:
    """The service to its end; what it could not do is kept for whoever asked for it."""
    service = Service()
    try:
        service.serve()
    except (OSError, ValueError, KeyError) as error:
        words = "%s: %s" % (type(error).__name__, error)
        save_last({"generation": service.generation, "failed": words})
        print(words, file=sys.stderr, flush=True)
        return 1
    return 0
