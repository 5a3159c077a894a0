"""A node made of plain data: answers what it was given, logs what was asked of it.

Not a mock: it carries out file writes and service commands on its own state, so that a rollout can
be followed to its end, and it can be told to fail at its Nth request. Unknown commands fail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from worlds import missing, sha256, text_file, unit

from kubeha.errors import HostError
from kubeha.facts import InterfaceAddress, NodeFacts, conffile_digest
from kubeha.model import Node
from kubeha.paths import HAPROXY_CONFIG
from kubeha.remote import (
    ABSENT,
    DIRECTORY,
    Collected,
    Command,
    Completed,
    FileOutcome,
    FileRemoval,
    FileState,
    FileWrite,
)

SHIPPED = "global\n    log /dev/log local0\n"
DONE = Completed(0, "", "", None, 0.0)


class FakeHost:
    """One node. `fail_at`: the number of the request (from 1) that fails."""

    def __init__(self, node: Node, facts: NodeFacts, fail_at: int = 0) -> None:
        self.node = node
        self.facts = facts
        self.fail_at = fail_at
        self.log: list[str] = []
        self.masked: dict[str, str] = {}
        self.refuses: str = ""
        self.after_start: Callable[[FakeHost, str], None] = lambda host, unit: None

    def _request(self, what: str) -> None:
        self.log.append(what)
        if len(self.log) == self.fail_at:
            raise HostError("the connection was lost in the middle", node=self.node.name)

    async def collect(
        self, commands: Mapping[str, Command], files: Sequence[str] = ()
    ) -> Collected:
        self._request(f"collect {' '.join(files)}")
        states = {path: self.facts.files.get(path, missing(path)) for path in files}
        listing = "".join(f" {path} {digest}\n" for path, digest in self.facts.conffiles.items())
        answers = {name: replace(DONE, stdout=listing) for name in commands}
        return Collected(answers, states, True, "3.11.2", 0.0)

    async def write(self, files: Sequence[FileWrite]) -> tuple[FileOutcome, ...]:
        self._request(f"write {' '.join(file.path for file in files)}")
        new = dict(self.facts.files)
        for file in files:
            there = new.get(file.path)
            digest = there.sha256 if there and there.exists else ABSENT
            if file.expect not in (None, digest):
                raise HostError(f"{file.path} is not what the plan has seen", node=self.node.name)
            new[file.path] = FileState(
                file.path, True, file.content, sha256(file.content),
                file.mode, file.owner, file.group,
            )  # fmt: skip
        self.facts = replace(self.facts, files=new)
        return ()

    async def remove(self, paths: Sequence[FileRemoval]) -> tuple[FileOutcome, ...]:
        self._request(f"remove {' '.join(path.path for path in paths)}")
        gone = {each.path: missing(each.path) for each in paths if each.expect != DIRECTORY}
        self.facts = replace(self.facts, files={**self.facts.files, **gone})
        return ()

    async def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self._request(" ".join(argv))
        if self.refuses and self.refuses in " ".join(argv):
            return replace(DONE, status=1, stderr="refused")
        match list(argv):
            case ["systemctl", *words]:
                self._systemctl(words)
            case ["apt-get", *words]:
                self._apt(words)
            case ["dpkg-query", *_]:
                installed = self.facts.packages.items()
                listing = "".join(f"{name}\t{version}\tii \n" for name, version in installed)
                return replace(DONE, stdout=listing)
            case ["dpkg" | "mkdir" | "systemd-tmpfiles" | "haproxy" | "keepalived", *_]:
                pass
            case _:
                raise AssertionError(f"unknown command: {argv}")
        return DONE

    def _systemctl(self, words: list[str]) -> None:
        match words:
            case ["start" | "restart" | "reload" | "reload-or-restart" as verb, name]:
                assert name not in self.masked, f"{name} is masked"
                self._set(name, active=True, new=verb in ("start", "restart"))
                self.after_start(self, f"{verb} {name}")
            case ["stop", name]:
                self._set(name, active=False)
                if name == "keepalived.service":
                    self.drop_vip()
                    self.facts = replace(self.facts, keepalived_json=None)
            case ["mask" | "unmask" as verb, "--runtime", *names]:
                self._mask(verb, names)
            case ["enable", "-q", name]:
                self._set(name, state="enabled")
            case ["disable", "-q", name]:
                self._set(name, state="disabled")
            case ["daemon-reload"]:
                pass
            case _:
                raise AssertionError(f"unknown command: systemctl {words}")

    def _apt(self, words: list[str]) -> None:
        if "install" in words:
            self._install(words[-2:])
        elif "purge" in words:
            names = words[words.index("purge") + 1 :]
            left = {k: v for k, v in self.facts.packages.items() if k not in names}
            units = {} if "haproxy" in names else self.facts.units
            # dpkg: a purge takes a package's conffiles, whatever is in them.
            gone = {path: missing(path) for path in self.facts.conffiles}
            files = {**self.facts.files, **gone}
            self.facts = replace(self.facts, packages=left, units=units, files=files, conffiles={})
        else:
            assert words[-1] == "update", f"unknown command: apt-get {words}"

    def _install(self, names: Sequence[str]) -> None:
        """The packages, what they depend on, and HAProxy's conffile unless there is one already."""
        packages = {**self.facts.packages, **{name: "1.0" for name in names}, "libnl-3-200": "3.7"}
        files = dict(self.facts.files)
        if not files.get(HAPROXY_CONFIG, missing(HAPROXY_CONFIG)).exists:
            files[HAPROXY_CONFIG] = text_file(HAPROXY_CONFIG, SHIPPED)
        conffiles = {HAPROXY_CONFIG: conffile_digest(SHIPPED)}
        self.facts = replace(self.facts, packages=packages, files=files, conffiles=conffiles)

    def _mask(self, verb: str, names: Sequence[str]) -> None:
        if verb == "mask":
            for name in names:
                self.masked[name] = self._state(name)
                self._set(name, state="masked-runtime")
            return
        for name in set(names) & set(self.masked):
            self._set(name, state=self.masked.pop(name))

    def _state(self, name: str) -> str:
        return self.facts.units[name].unit_file_state if name in self.facts.units else "disabled"

    def _set(
        self, name: str, *, active: bool | None = None, state: str | None = None, new: bool = False
    ) -> None:
        was = self.facts.units.get(name) or unit(name, active=False, state="disabled")
        now = unit(
            name,
            active=was.active if active is None else active,
            state=was.unit_file_state if state is None else state,
            instance=str(len(self.log)) if new else was.invocation_id,
        )
        self.facts = replace(self.facts, units={**self.facts.units, name: now})

    def take_vip(self, vip: str) -> None:
        address = InterfaceAddress("eth0", ip_interface(f"{vip}/32"))
        self.facts = replace(self.facts, addresses=(*(self.facts.addresses or ()), address))

    def drop_vip(self) -> None:
        own = (self.facts.addresses or ())[:1]
        self.facts = replace(self.facts, addresses=own)
