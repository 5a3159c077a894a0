"""All parsers over one look at a node -> `NodeFacts`, or `Unreachable`.

What was not asked for or could not be read is None, never a comfortable default: "we do not
know" and "it is not there" are different facts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kubeha import paths
from kubeha.facts import machine
from kubeha.facts.answers import Fetched, parse_fetched
from kubeha.facts.control_plane import ControlPlane, parse_control_plane
from kubeha.facts.debian import (
    Os,
    conffile_digest,
    parse_conffiles,
    parse_dpkg,
    parse_free,
    parse_os_release,
)
from kubeha.facts.guard import SteppedAside, parse_guard
from kubeha.facts.journal import JournalLine, parse_journal
from kubeha.facts.machine import Machine
from kubeha.facts.moving import Carried, parse_carried
from kubeha.facts.network import (
    InterfaceAddress,
    Link,
    Listener,
    parse_addresses,
    parse_links,
    parse_listeners,
)
from kubeha.facts.units import Unit, parse_units
from kubeha.model import IPAddress
from kubeha.remote import Collected, Completed, FileState


@dataclass(frozen=True)
class Unreachable:
    """A node that could not be asked: an answer, not an error."""

    name: str
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """All that was seen on one node, at one moment.

    `clock_offset`: seconds by which its clock is ahead of the operator's, less than a second wrong.
    `clock`: its wall clock, in seconds since 1970.
    """

    name: str
    os: Os | None
    systemd: bool
    packages: Mapping[str, str]
    units: Mapping[str, Unit]
    addresses: tuple[InterfaceAddress, ...] | None
    listeners: tuple[Listener, ...] | None
    files: Mapping[str, FileState]
    conffiles: Mapping[str, str]
    free_bytes: Mapping[str, int]
    haproxy_stat: str | None = None
    haproxy_info: str | None = None
    keepalived_json: str | None = None
    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    etc_writable: bool | None = None
    unanswered: tuple[str, ...] = ()
    links: tuple[Link, ...] | None = None
    clock_offset: float | None = None
    clock: float | None = None
    control_plane: ControlPlane | None = None
    machine: Machine | None = None
    keepalived_journal: tuple[JournalLine, ...] | None = None

    def holds(self, vip: IPAddress) -> bool | None:
        """Is the VIP on one of this node's network cards? None if they are not known.

        On the loopback interface it is while connections of a former holder live on: nobody else
        reaches it there.
        """
        if self.addresses is None:
            return None
        return any(s.address.ip == vip and s.interface != "lo" for s in self.addresses)

    @property
    def drained(self) -> bool:
        """Has this node been told to stay away from the VIP? The drain file's value is below 0."""
        text = (self.text_of(paths.DRAIN_FILE) or "0").strip()
        return text.startswith("-") and text[1:].isdigit()

    @property
    def carried(self) -> Carried | None:
        """What a planned move has left on this former holder; None where there is nothing."""
        return parse_carried(self.name, self.text_of(paths.HANDOVER_JOURNAL))

    @property
    def stepped_aside(self) -> SteppedAside | None:
        """Why the guard keeps the VIP away from this node, if it does."""
        return parse_guard(self.text_of(paths.GUARD_STATE))

    def interface_for(self, vip: IPAddress) -> str | None:
        """The interface whose subnet contains the VIP; the VIP itself (/32) does not count."""
        for seen in self.addresses or ():
            if seen.address.ip != vip and vip in seen.address.network:
                return seen.interface
        return None

    def text_of(self, path: str) -> str | None:
        """Content of a file, None if it is not there or was not read."""
        state = self.files.get(path)
        return state.content if state and state.exists else None

    def is_pristine(self, path: str) -> bool:
        """Is this file still exactly what its Debian package put there?"""
        text = self.text_of(path)
        shipped = self.conffiles.get(path)
        if text is None or shipped is None:
            return False
        return conffile_digest(text) == shipped


Observed = NodeFacts | Unreachable


def output(completed: Completed | None) -> str:
    """Standard output of a command that ran, or the empty string."""
    return completed.stdout if completed is not None and completed.error is None else ""


def node_facts(name: str, seen: Collected) -> NodeFacts:
    """All parsers over one look at a node; the commands are named as in `observe`."""
    commands = seen.commands
    release = seen.files.get("/etc/os-release")
    sockets = seen.answers.get("socket", {})
    dumps = seen.answers.get("keepalived", {})
    fetched = seen.answers.get("fetch", {})
    listeners = commands.get("listeners")
    journal = commands.get("keepalived_journal")
    return NodeFacts(
        name=name,
        os=parse_os_release(release.content) if release and release.content else None,
        systemd=seen.systemd,
        packages=parse_dpkg(output(commands.get("packages"))),
        units=parse_units(output(commands.get("units"))),
        addresses=parse_addresses(output(commands.get("addresses"))),
        listeners=parse_listeners(listeners.stdout) if listeners and listeners.ok else None,
        files=seen.files,
        conffiles=parse_conffiles(output(commands.get("conffiles"))),
        free_bytes=parse_free(output(commands.get("free"))),
        haproxy_stat=_text(sockets.get("stat")),
        haproxy_info=_text(sockets.get("info")),
        keepalived_json=_text(dumps.get("state")),
        fetched={key: parse_fetched(answer) for key, answer in fetched.items()},
        etc_writable=commands["etc"].ok if "etc" in commands else None,
        machine=machine.parse(seen),
        unanswered=tuple(unanswered(commands)),
        links=parse_links(output(commands.get("addresses"))),
        clock_offset=seen.clock_offset,
        clock=seen.clock,
        keepalived_journal=parse_journal(journal.stdout) if journal and journal.ok else None,
        control_plane=parse_control_plane(seen.answers.get("control_plane", {}).get("state")),
    )


# Without these nothing can be planned; dpkg-query's and test's exit statuses are answers.
_NEEDED = ("addresses", "units", "listeners", "free")


def unanswered(commands: Mapping[str, Completed]) -> Iterator[str]:
    """What could not be asked, and why: one line for each."""
    for name in _NEEDED:
        done = commands.get(name)
        if done is not None and not done.ok:
            words = done.error or done.stderr.strip() or f"exit status {done.status}"
            yield f"{name}: {words}"


def _text(answer: Mapping[str, object] | None) -> str | None:
    """The text of an answer, None if there was an error."""
    if answer is None or answer.get("error"):
        return None
    return str(answer.get("text", ""))
