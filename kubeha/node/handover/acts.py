"""What is done to this node, each act noted in the journal before it is done."""

import functools
import sys
from typing import Callable, List, Optional

from kubeha.node.handover.files import (
    ASIDE,
    JOURNAL,
    LAST,
    LOWER,
    attempt,
    load,
    put,
    read,
    remove,
    save,
    save_last,
)
from kubeha.node.handover.kernel import connections, host_prefix, on_interface, run, strict
from kubeha.node.handover.terms import Json
from kubeha.node.handover.wanted import TABLE


class Acts:
    """What was done on this node, and the way back, in a journal that outlives the process."""

    def __init__(self) -> None:
        self.state = load(JOURNAL)
        for key, empty in (("sysctls", {}), ("address", None), ("table", None), ("aside", False)):
            self.state.setdefault(key, empty)
        self.state.setdefault("notes", [])
        self.rules: Optional[str] = None

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
        parts: List[Callable[[], None]] = [
            lambda: self.stand_aside(False),
            self.close_what_is_left,
            lambda: self.replace_table({}, None),
            self.remove_address,
        ]
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
