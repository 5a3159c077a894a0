#!/usr/bin/python3 -ISE
# Written by kubeha. Changes made here are lost at the next apply.
"""Keeps connections alive while the VIP moves from one load balancer node to another.

Stays on the nodes as /etc/kubeha/handover. `join` reads a request (JSON) and sees that `serve` runs
as a transient service and has carried it out; `serve` undoes everything at the deadline, or when
the connections have ended; `undo` is what systemd runs after it, however it ended; `status`,
`drain` and `undrain` do what they say.

Who held the VIP before is a *former* holder. It keeps the VIP on its loopback interface and answers
no ARP for it, so that its sockets live on. Everybody else is a *relay*: a packet for the endpoint
that begins no connection, and of which this kernel knows only the listening socket, belongs to a
former holder and is passed on to it, unchanged, at layer 2. A node may be both.

No packet goes in circles: what is passed on is marked (DSCP 61), and what is marked is never passed
on again. Each former holder gets a copy; those that do not know it drop it if there are several,
and answer it with a RST if there is only one.

A connection that ended lately leaves its ports behind, in TIME-WAIT; where a client has used the
same port again meanwhile, for a connection to a former holder, a relay would answer in its place.
So relays forget such ends as they join.

Former holders send a frame at least each second, so that relays know that they are alive: 3.5 s of
silence and packets are no longer passed on, clients get a RST instead of nothing.

What was there before an act is in the journal before the act: undo puts exactly that back, and
leaves alone what somebody else has changed meanwhile.
"""

import errno
import fcntl
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

Json = Dict[str, Any]

DIRECTORY = "/run/kubeha"
REQUEST = DIRECTORY + "/handover.request"
JOURNAL = DIRECTORY + "/handover.json"
LAST = DIRECTORY + "/handover.last"
LOCK = DIRECTORY + "/handover.lock"
ASIDE = DIRECTORY + "/aside"
DRAIN = "/etc/kubeha/drain"
LOWER = "-127"
UNIT = "kubeha-handover.service"
TABLE = "kubeha_handover"

# Of the two in which DSCP leaves room for local use, the one that nobody is known to use.
MARK = 61
# IEEE 802 local experimental; no router passes it on.
ETHERTYPE = 0x88B5
MAGIC = b"kubeha-handover "
SILENCE = 3.5
# Who speaks again before this is passed packets again: a busy machine is not a dead one.
GONE = 20.0
# How long a former holder waits for the VIP to go, and how long it stays at the least afterwards:
# gratuitous ARP is repeated after one second.
PREPARED = 30.0
LEAST = 3.0
# What has not ended by itself then is ended by systemd.
MARGIN = 30.0
BOOTTIME = 7
STATES = ("established", "syn-recv", "close-wait", "fin-wait-1", "closing")


def now() -> float:
    """Seconds since boot, the same for every process, counted on while the machine sleeps."""
    return time.clock_gettime(BOOTTIME)


# ---- What has to be so. Pure.


def wanted(request: Json, me: str, formers: Json, home: bool = False) -> Json:
    """Acts for a node: sysctls (path -> least value), an address on lo, a ruleset or None.

    `home`: the VIP has come back to this former holder. The others' own clients may still have
    connections to it, so they go on passing packets to it.
    """
    v6 = ":" in request["vip"]
    others = [formers[name]["address"] for name in sorted(formers) if name != me]
    sysctls = {}
    if me in formers and not home and not v6:
        sysctls["/proc/sys/net/ipv4/conf/all/arp_ignore"] = 1
        sysctls["/proc/sys/net/ipv4/conf/all/arp_announce"] = 2
    if others and not v6:
        card = "/proc/sys/net/ipv4/conf/%s/" % request["interface"]
        sysctls[card + "accept_local"] = 1
        if me in formers and not home:
            # What comes from the VIP comes from an address on lo: not where it would be sent.
            sysctls[card + "rp_filter"] = 2
    rules = ruleset(request, others) if others else None
    return {"sysctls": sysctls, "address": me in formers and not home, "rules": rules}


def ruleset(request: Json, others: List[str]) -> str:
    """Replaces our table as a whole: nft carries out a file at once or not at all."""
    family = "ip6" if ":" in request["vip"] else "ip"
    unknown = (
        "%s daddr %s tcp dport %d tcp flags & (syn | ack) != syn socket wildcard 1 %s dscp"
        % (family, request["vip"], request["port"], family)
    )
    copies = " ".join('dup to %s device "%s"' % (each, request["interface"]) for each in others)
    lines = ["%s != %d %s dscp set %d counter %s drop" % (unknown, MARK, family, MARK, copies)]
    # Somebody else may know it, and a RST from here would end it.
    lines.append("%s %d counter drop" % (unknown, MARK))
    return (
        "add table {f} {t}\ndelete table {f} {t}\ntable {f} {t} {{\n"
        "  chain pre {{\n    type filter hook prerouting priority -150; policy accept;\n"
        "    {rules}\n  }}\n}}\n"
    ).format(f=family, t=TABLE, rules="\n    ".join(lines))


def merged(formers: Json, asked: Json, at: float, prepared: float = PREPARED) -> Json:
    """Former holders known so far and those of a request, as {name: {id, address, until, ...}}.

    The same move asked for again changes nothing; a later move of the same node begins anew.
    """
    result = {name: one for name, one in formers.items() if one["until"] > at}
    for name, one in asked.items():
        known = formers.get(name)
        if known is None or known["id"] != one["id"]:
            # Counted anew from the moment when the VIP goes; until then there is time to prepare.
            until = at + prepared + one["seconds"]
            new = {"id": one["id"], "address": one["address"], "until": until}
            result[name] = dict(new, since=at, seconds=one["seconds"])
    return result


def why_over(
    state: Json,
    holding: Optional[bool],
    count: Optional[int],
    at: float,
    prepared: float = PREPARED,
    others: bool = False,
) -> Optional[str]:
    """Why this former holder has nothing more to do, or None. `state` is its own entry.

    `others`: there are other former holders. Then one that has the VIP again stays one of them.
    """
    if at >= state["until"]:
        return "deadline"
    left = state.get("left")
    if left is None:
        return "stayed" if holding and at > state["since"] + prepared else None
    if holding:
        return None if others else "returned"
    return "ended" if count == 0 and at > left + LEAST else None


def longest(request: Json) -> float:
    """For how long the service has something to do for this request, at the most."""
    patience = request.get("prepared", PREPARED)
    ends = [one["seconds"] + patience for one in request["formers"].values()]
    return float(max([*ends, request.get("aside", 0), 30.0]))


def speaking(formers: Json, heard: Dict[str, float], me: str, at: float) -> Json:
    """Former holders without those that have fallen silent; never heard yet is not silent."""
    return {
        name: one
        for name, one in formers.items()
        if name == me or at <= heard.get(name, at) + SILENCE
    }


def frame(mac: bytes, vip: str, name: str, move: str, rest: float) -> bytes:
    """What a former holder tells everybody; `rest`: seconds that it will go on, 0: it is over."""
    said = json.dumps({"vip": vip, "name": name, "id": move, "rest": rest}, sort_keys=True)
    body = MAGIC + said.encode()
    return b"\xff" * 6 + mac + ETHERTYPE.to_bytes(2, "big") + body.ljust(46, b" ")


def read_frame(data: bytes, vip: str) -> Optional[Tuple[str, str, float]]:
    """(name, id, rest) of a former holder's frame about this VIP; None if it is not that."""
    if not data[14:].startswith(MAGIC):
        return None
    try:
        said = json.loads(data[14 + len(MAGIC) :].decode())
        if said["vip"] != vip:
            return None
        return str(said["name"]), str(said["id"]), float(said["rest"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def believable(rest: float, seconds: float, prepared: float = PREPARED) -> bool:
    """Could a former holder of a move with this deadline go on for so long? NaN could not."""
    return 0.0 <= rest <= seconds + max(prepared, PREPARED)


# ---- What it is done with.


def run(argv: List[str], text: Optional[str] = None, timeout: float = 10.0) -> Tuple[int, str, str]:
    """(exit status, standard output, what it complained of)."""
    try:
        done = subprocess.run(
            argv,
            input=text.encode() if text is not None else None,
            stdin=None if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
        )
    except FileNotFoundError:
        return 127, "", "%s: there is no such program" % argv[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, "", "%s: %s" % (argv[0], error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode().strip()


def read(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def put(path: str, text: Any) -> None:
    """In place, for keepalived watches it; never emptied first, for the disk may be full."""
    data = ("%s\n" % text).encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, data)
        if not path.startswith("/proc/"):
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def load(path: str) -> Json:
    """A state file of ours; {} where there is none that is whole."""
    try:
        state = json.loads(read(path) or "{}")  # type: Json
    except ValueError:
        return {}
    return state


def save(path: str, state: Json) -> None:
    """Whole or not at all, and on its way before the act that it tells of."""
    beside = path + ".new"
    with open(beside, "w") as file:
        json.dump(state, file, sort_keys=True)
    os.rename(beside, path)


def attempt(act: Callable[[], None]) -> str:
    """Do it; returns what went wrong, or ""."""
    try:
        act()
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def save_last(state: Json) -> None:
    """What was done, for whoever asks: nothing depends on it, so a full /run ends nothing."""
    failure = attempt(lambda: save(LAST, state))
    if failure:
        print("cannot note what was done: %s" % failure, file=sys.stderr, flush=True)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def strict(path: str) -> bool:
    """Is the reverse path filter of this card strict? The higher of two settings counts."""
    everywhere = path.replace(path.split("/")[-2], "all")
    return max(int(read(path) or 0), int(read(everywhere) or 0)) == 1


def host_prefix(vip: str) -> str:
    return "%s/%d" % (vip, 128 if ":" in vip else 32)


def on_interface(vip: str, interface: str) -> Optional[bool]:
    """Is the address there? None if that cannot be found out."""
    status, out, _ = run(["ip", "-o", "address", "show", "dev", interface, "to", host_prefix(vip)])
    return bool(out.strip()) if status == 0 else None


def sockets(
    request: Json, states: Tuple[str, ...] = STATES, kill: bool = False
) -> Optional[List[str]]:
    """The endpoint's sockets on this node; with `kill`, reset them: those that could be."""
    words = [word for state in states for word in ("state", state)]
    vip = "[%s]" % request["vip"] if ":" in request["vip"] else request["vip"]
    which = ["src", vip, "and", "sport", "=", ":%d" % request["port"]]
    status, out, _ = run(["ss"] + (["-K"] if kill else []) + ["-H", "-t", "-n"] + words + which)
    return out.splitlines() if status == 0 else None


def connections(request: Json, close: bool = False) -> Optional[int]:
    """How many connections of the endpoint this kernel has; with `close`, reset them first."""
    if close:
        sockets(request, kill=True)
    found = sockets(request)
    return None if found is None else len(found)


def unable(request: Json, me: str) -> Optional[str]:
    """Why this node cannot take part, or None. The kernel is asked, and nothing is changed."""
    others = {name: one for name, one in request["formers"].items() if name != me}
    rules = wanted(request, me, others or {"": {"address": request["vip"]}})["rules"]
    status, _, complaint = run(["nft", "-c", "-f", "-"], rules)
    if status == 127:
        return "there is no nft (package nftables)"
    if status != 0:
        reason = complaint.splitlines()[0] if complaint else "status %d" % status
        return "its kernel or its nft cannot pass packets on: " + reason[:200]
    return None


class Acts:
    """What was done on this node, and the way back, in a journal that outlives the process."""

    def __init__(self) -> None:
        self.state = load(JOURNAL)
        for key, empty in (("sysctls", {}), ("address", None), ("table", None), ("aside", False)):
            self.state.setdefault(key, empty)
        self.state.setdefault("notes", [])
        self.rules = None  # type: Optional[str]

    def save(self) -> None:
        """Before an act: without it, the act is not done."""
        save(JOURNAL, self.state)

    def record(self) -> None:
        """After an act: a journal that tells of too much does no harm, so a full /run does none."""
        failure = attempt(self.save)
        if failure:
            self.note("cannot write the journal: %s" % failure)

    def note(self, text: str) -> None:
        if text not in self.state["notes"]:
            self.state["notes"].append(text)
            print(text, file=sys.stderr, flush=True)

    def apply(self, request: Json, want: Json) -> None:
        """From whatever is so now to what is wanted: what protects comes first and goes last."""
        for path, least in sorted(want["sysctls"].items()):
            self.raise_sysctl(path, least)
        if want["address"]:
            self.add_address(request)
        if want["rules"] != self.rules or (want["rules"] is None and self.state["table"]):
            self.replace_table(request, want["rules"])
        if not want["address"]:
            self.remove_address()
        for path in sorted(set(self.state["sysctls"]) - set(want["sysctls"])):
            self.restore_sysctl(path)

    def raise_sysctl(self, path: str, least: int) -> None:
        was = read(path)
        if path in self.state["sysctls"] or was is None or int(was) >= least:
            return
        if path.endswith("/rp_filter") and not strict(path):
            return
        self.state["sysctls"][path] = {"was": was, "set": str(least)}
        self.save()
        put(path, least)

    def restore_sysctl(self, path: str) -> None:
        one, there = self.state["sysctls"][path], read(path)
        if there == one["set"]:
            put(path, one["was"])
        elif there is not None and there != one["was"]:
            self.note(
                "%s: somebody has set it to %s meanwhile (it was %s): left alone"
                % (path, there, one["was"])
            )
        del self.state["sysctls"][path]
        self.record()

    def add_address(self, request: Json) -> None:
        vip = request["vip"]
        if self.state["address"] or on_interface(vip, "lo"):
            return
        self.state["address"] = vip
        self.state["endpoint"] = {key: request[key] for key in ("vip", "port", "interface")}
        self.save()
        # Deprecated: never chosen as the source of a new connection.
        more = ["nodad", "preferred_lft", "0"] if ":" in vip else []
        status, _, complaint = run(["ip", "address", "add", host_prefix(vip), "dev", "lo"] + more)
        if status != 0:
            raise OSError("ip address add %s dev lo: %s" % (vip, complaint))

    def close_what_is_left(self) -> None:
        """Reset old connections while this kernel still has the address that a RST comes from."""
        left = self.state.get("endpoint")
        if self.state["address"] and left and not on_interface(left["vip"], left["interface"]):
            connections(left, close=True)

    def remove_address(self) -> None:
        vip = self.state["address"]
        if vip is None:
            return
        if on_interface(vip, "lo"):
            status, _, complaint = run(["ip", "address", "del", host_prefix(vip), "dev", "lo"])
            if status != 0:
                raise OSError("ip address del %s dev lo: %s" % (vip, complaint))
            self.forget_where_it_was(vip)
        self.state["address"] = None
        self.record()

    def forget_where_it_was(self, vip: str) -> None:
        """While the VIP was here, the kernel did not hear who has it now."""
        left = self.state.get("endpoint")
        if left:
            run(["ip", "neighbour", "flush", "to", vip, "dev", left["interface"]])

    def replace_table(self, request: Json, rules: Optional[str]) -> None:
        if rules is not None:
            self.state["table"] = "ip6" if ":" in request["vip"] else "ip"
            self.save()
            status, _, complaint = run(["nft", "-f", "-"], rules)
            if status != 0:
                raise OSError("nft: %s" % complaint[:300])
        elif self.state["table"]:
            run(["nft", "delete", "table", self.state["table"], TABLE])
            self.state["table"] = None
            self.record()
        self.rules = rules

    def stand_aside(self, aside: bool) -> None:
        """Give the VIP to others, or stop doing so."""
        if aside and not self.state["aside"]:
            self.state["aside"] = True
            self.save()
            put(ASIDE, LOWER)
        elif not aside and self.state["aside"]:
            if read(ASIDE) == LOWER:
                put(ASIDE, "0")
            self.state["aside"] = False
            self.record()

    def undo(self) -> None:
        """Everything; each part is tried, whatever became of the others.

        The journal stays while anything of it is left to be undone.
        """
        parts = [
            lambda: self.stand_aside(False),
            self.close_what_is_left,
            lambda: self.replace_table({}, None),
            self.remove_address,
        ]  # type: List[Callable[[], None]]
        for path in sorted(self.state["sysctls"]):
            parts.append(functools.partial(self.restore_sysctl, path))
        failures = [failure for failure in map(attempt, parts) if failure]
        for failure in failures:
            self.note("undo: %s" % failure)
        if self.state["notes"]:
            save_last(dict(load(LAST), notes=self.state["notes"]))
        if failures:
            self.record()
        else:
            remove(JOURNAL)


# ---- The service.


class Service:
    """One node's part in one or several moves."""

    def __init__(self) -> None:
        self.acts = Acts()
        self.request = {}  # type: Json
        self.formers = {}  # type: Json
        self.heard = {}  # type: Dict[str, float]
        self.aside_until = 0.0
        self.generation = None  # type: Optional[int]
        self.count = None  # type: Optional[int]
        self.home = False
        self.started = now()
        self.link = None  # type: Optional[socket.socket]

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
        stopped = []  # type: List[int]
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


def notify(text: str) -> None:
    """sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        try:
            end.sendto(text.encode(), address)
        except OSError as error:
            print("sd_notify: %s" % error, file=sys.stderr, flush=True)


# ---- The commands.


def join(request: Json) -> Json:
    """Carry a request out by the service; returns the state once it is so, or why it cannot be."""
    os.makedirs(DIRECTORY, exist_ok=True)
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        why = unable(request, request["me"]) if request["formers"] else None
        if why is not None:
            return dict(status(), able=False, why=why)
        request["generation"] = load(REQUEST).get("generation", 0) + 1
        save(REQUEST, request)
        return arrive(request["generation"], longest(request) + MARGIN)


def arrive(generation: int, seconds: float) -> Json:
    """Wait until the service has taken the request; start it where it does not run."""
    limit, asked, words = now() + 8.0, 0.0, ""
    while now() < limit:
        seen = status()
        if seen.get("generation") == generation:
            return dict(seen, able=True, why="")
        last = load(LAST)
        if last.get("generation") == generation:
            words = last.get("failed", "")
            return dict(status(), able=not words, why=words)
        active = run(["systemctl", "is-active", UNIT])[1].strip()
        if active in ("inactive", "failed", "unknown", ""):
            words = start(seconds)
        elif active == "active" and now() > asked + 0.5:
            asked = now()
            run(["systemctl", "kill", "--kill-who=main", "--signal=HUP", UNIT])
        time.sleep(0.02)
    return dict(status(), able=False, why="its service did not take the request: %s" % words)


def start(seconds: float) -> str:
    """The service, and what undoes all of it however it ends. Returns a complaint, or ""."""
    me = os.path.abspath(__file__)
    properties = (
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=15",
        "RuntimeMaxSec=%d" % seconds,
        "TimeoutStopSec=20",
        "OOMScoreAdjust=-900",
        "ExecStopPost=%s undo" % me,
    )
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + UNIT]
    argv += ["--description=Connections of the Kubernetes endpoint while the VIP moves"]
    argv += ["--setenv=KUBEHA_SECONDS=%d" % (seconds - MARGIN)]
    argv += ["--property=" + each for each in properties]
    code, _, complaint = run(argv + [me, "serve"], timeout=20.0)
    return complaint if code else ""


def status() -> Json:
    """What this node does for moves now."""
    seen = load(JOURNAL)
    at = now()
    for one in seen.get("formers", {}).values():
        one["rest"] = max(0.0, one["until"] - at)
    return dict(seen, active=bool(seen), last=load(LAST))


def main(argv: List[str]) -> int:
    command = argv[1] if len(argv) == 2 else ""
    if command == "join":
        print(json.dumps(join(json.load(sys.stdin))))
    elif command == "status":
        print(json.dumps(status()))
    elif command == "serve":
        return serve()
    elif command == "undo":
        Acts().undo()
    elif command in ("drain", "undrain"):
        put(DRAIN, LOWER if command == "drain" else "0")
    else:
        print("usage: handover join | status | serve | undo | drain | undrain", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
