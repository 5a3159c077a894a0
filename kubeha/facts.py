"""Raw observations of a node -> `NodeFacts`, or `Unreachable`. Observed state only.

What was not asked for or could not be read is None, never a comfortable default: "we do not
know" and "it is not there" are different facts.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from kubeha import paths
from kubeha.model import IPAddress
from kubeha.remote import Collected, Completed, FileState


@dataclass(frozen=True)
class Unreachable:
    """A node that could not be asked: an answer, not an error."""

    name: str
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Os:
    """What /etc/os-release says."""

    id: str
    like: tuple[str, ...]
    version: str
    pretty_name: str

    @property
    def debian_family(self) -> bool:
        return self.id == "debian" or "debian" in self.like


@dataclass(frozen=True)
class InterfaceAddress:
    """One address on one interface, with its prefix."""

    interface: str
    address: IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class Unit:
    """Properties of a systemd unit, as `systemctl show` prints them."""

    name: str
    load_state: str
    active_state: str
    sub_state: str
    unit_file_state: str
    main_pid: int
    invocation_id: str

    @property
    def active(self) -> bool:
        return self.active_state == "active"

    @property
    def enabled(self) -> bool:
        return self.unit_file_state == "enabled"

    @property
    def masked(self) -> bool:
        """By somebody, for good: not our business to undo."""
        return self.unit_file_state == "masked"

    @property
    def our_mask(self) -> bool:
        """Until the next boot, as an install that was interrupted leaves it."""
        return self.unit_file_state == "masked-runtime"


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket."""

    address: str
    port: int
    program: str


@dataclass(frozen=True)
class Fetched:
    """The answer to one HTTPS GET made on a node (node/look.py)."""

    status: int | None
    body: str
    date: str
    certificate: str | None
    error_kind: str
    error: str
    seconds: float

    @property
    def reason(self) -> str:
        """Why this is not a 200, in a few words; empty if it is one."""
        if self.error_kind:
            return f"{self.error_kind}: {self.error}"
        return "" if self.status == 200 else f"HTTP {self.status}"


@dataclass(frozen=True)
class NodeFacts:
    """All that was seen on one node, at one moment."""

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

    def holds(self, vip: IPAddress) -> bool | None:
        """Is the VIP on one of this node's interfaces? None if the interfaces are not known."""
        if self.addresses is None:
            return None
        return any(seen.address.ip == vip for seen in self.addresses)

    @property
    def drained(self) -> bool:
        """Has this node been told to stay away from the VIP? The drain file's value is below 0."""
        text = (self.text_of(paths.DRAIN_FILE) or "0").strip()
        return text.startswith("-") and text[1:].isdigit()

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


def conffile_digest(text: str) -> str:
    """MD5, as dpkg keeps it of conffiles; nothing here relies on its strength."""
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def parse_os_release(text: str) -> Os:
    """os-release(5): shell-like assignments, values optionally quoted."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith("#"):
            values[key] = value.strip().strip("\"'")
    return Os(
        id=values.get("ID", ""),
        like=tuple(values.get("ID_LIKE", "").split()),
        version=values.get("VERSION_ID", ""),
        pretty_name=values.get("PRETTY_NAME") or values.get("ID", "unknown"),
    )


def parse_addresses(text: str) -> tuple[InterfaceAddress, ...] | None:
    """`ip -j address show`: every IPv4 and IPv6 address; None if it is not that JSON."""
    try:
        links = json.loads(text)
        return tuple(
            InterfaceAddress(
                # ip(8) calls a veth "eth0@if5" in text but names the peer apart in JSON.
                link["ifname"],
                ip_interface(f"{address['local']}/{address['prefixlen']}"),
            )
            for link in links
            for address in link.get("addr_info", ())
            if "local" in address
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def parse_dpkg(text: str) -> dict[str, str]:
    r"""`dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n'`: what is installed.

    The second letter of the status tells: `ii` and `hi` (held) are, `iF` (half configured), `rc`
    (only configuration left) and `un` are not.
    """
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2][1:2] == "i"}


def parse_present(text: str) -> frozenset[str]:
    """From the same listing, every package of which there is more than its configuration."""
    rows = (line.split("\t") for line in text.splitlines())
    return frozenset(row[0] for row in rows if len(row) == 3 and row[2][1:2] not in ("n", "c", ""))


def parse_conffiles(text: str) -> dict[str, str]:
    r"""`dpkg-query -W -f '${Conffiles}\n'`: path -> MD5 digest of what the package shipped."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[0].startswith("/")}


_LISTENER = re.compile(r'users:\(\("(?P<program>[^"]+)"')


def parse_listeners(text: str) -> tuple[Listener, ...]:
    """`ss -H -l -n -t -p`: state, queues, local address:port, peer, users."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 5 or ":" not in fields[3]:
            continue
        address, _, port = fields[3].rpartition(":")
        if port.isdigit():
            user = _LISTENER.search(line)
            found.append(Listener(address, int(port), user["program"] if user else ""))
    return tuple(found)


def parse_units(text: str) -> dict[str, Unit]:
    """`systemctl show UNIT... -p ...`: KEY=VALUE lines, a block for each unit."""
    units = (_unit(block) for block in text.split("\n\n"))
    return {unit.name: unit for unit in units if unit.name}


def _unit(block: str) -> Unit:
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    pid = values.get("MainPID", "0")
    return Unit(
        name=values.get("Id", ""),
        load_state=values.get("LoadState", ""),
        active_state=values.get("ActiveState", ""),
        sub_state=values.get("SubState", ""),
        unit_file_state=values.get("UnitFileState", ""),
        main_pid=int(pid) if pid.isdigit() else 0,
        invocation_id=values.get("InvocationID", ""),
    )


def parse_free(text: str) -> dict[str, int]:
    """`df -P -B1 PATH...`: mount point -> bytes free for an ordinary user."""
    free: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and fields[3].isdigit():
            free[fields[5]] = int(fields[3])
    return free


def parse_fetched(answer: Mapping[str, object]) -> Fetched:
    """One answer of node/look.py's fetch."""
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    status = answer.get("status")
    certificate = answer.get("certificate")
    seconds = answer.get("seconds")
    return Fetched(
        status=status if isinstance(status, int) else None,
        body=str(answer.get("body", "")),
        date=str(answer.get("date", "")),
        certificate=certificate if isinstance(certificate, str) else None,
        error_kind=str(error.get("kind", "")),
        error=str(error.get("message", "")),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


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
        unanswered=tuple(unanswered(commands)),
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
