"""What is asked of a node and what it answers, as frozen values.

Pure data, so that facts and plans can speak of it. How it travels is the business of `host`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# `expect` of a write: the file must not be there yet.
ABSENT = "absent"
# `expect` of a removal: an empty directory; one that is not empty is left alone.
DIRECTORY = "directory"

SampleKind = Literal["version", "read", "stream", "watch"]


@dataclass(frozen=True)
class Command:
    """A program to run on a node: no shell sees `argv`. `timeout` is in seconds."""

    argv: tuple[str, ...]
    timeout: float = 10.0


@dataclass(frozen=True)
class Completed:
    """How a program on a node ended.

    `status` is its exit status, negative for the signal that killed it, None if it never ended by
    itself. `error` says why there is no status (not found, not allowed, time-out), else None.
    Output is text (UTF-8, what is not becomes U+FFFD) and is cut after 4 MiB per stream.
    """

    status: int | None
    stdout: str
    stderr: str
    error: str | None
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0


@dataclass(frozen=True)
class FileState:
    """One path of a node, as it was seen.

    `exists` without `content` means that it could not be read as a file: `error` says why
    (unreadable, a directory, too big). `sha256` is of the bytes, `content` is their text.
    `link` is where a symbolic link points to; the other fields then describe its target.
    """

    path: str
    exists: bool
    content: str | None = None
    sha256: str | None = None
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    error: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Collected:
    """One look at a node. `clock` is its wall clock in seconds since 1970.

    `clock_offset`: how far it is ahead of ours, in seconds, by the moment when the answer came.

    `answers`: what node/look.py found, by kind of question and by the question's name.
    """

    commands: Mapping[str, Completed]
    files: Mapping[str, FileState]
    systemd: bool
    python: str
    clock: float
    answers: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    clock_offset: float | None = None


@dataclass(frozen=True)
class FileWrite:
    """A file to put in place.

    `expect` is the SHA-256 of what it replaces, ABSENT, or None for whatever there is. A file
    that is already as wanted is left alone, whatever was expected: an interrupted change can be
    made again. `keep` is a path that receives a copy of what is replaced, with its mode and owner.
    """

    path: str
    content: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    expect: str | None = None
    keep: str | None = None


@dataclass(frozen=True)
class FileRemoval:
    """A file to take away; `expect` as in FileWrite, or DIRECTORY for an empty directory."""

    path: str
    expect: str | None = None


@dataclass(frozen=True)
class FileOutcome:
    """What became of one path.

    `before` is the SHA-256 of what was there or ABSENT; `kept` the path of the copy, if one was
    made; `created` the directories that had to be made, outermost first.
    """

    path: str
    changed: bool
    before: str
    kept: str | None = None
    created: tuple[str, ...] = ()


@dataclass(frozen=True)
class Credentials:
    """What a client of the API server needs, as PEM text; secrets stay out of `repr`."""

    ca: str
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Load:
    """One kind of client.

    version, read: a new connection for each request, `rate` a second (0.01 to 200), none waiting
    for another. stream, watch: `connections` long-lived ones (1 to 500); a stream sends a request
    every `interval` seconds. `timeout` is how long a client waits for one answer, in seconds.
    `path` overrides what is asked for.
    """

    kind: SampleKind
    rate: float = 10.0
    connections: int = 1
    interval: float = 1.0
    timeout: float = 10.0
    path: str | None = None


@dataclass(frozen=True)
class SampleRequest:
    """Clients of one endpoint: for `duration` seconds (at most 3600) or `limit` attempts.

    The server has to prove by `credentials.ca` that it is `server_name` (default: the address).
    """

    address: str
    port: int
    credentials: Credentials
    loads: tuple[Load, ...]
    duration: float = 60.0
    limit: int = 500_000
    server_name: str | None = None


Event = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A machine to send VRRP probes to; `mac` is its own, if that is known."""

    number: int
    address: str
    interface: str
    mac: str | None


@dataclass(frozen=True)
class PassageRequest:
    """What one node asks and sends on the wire (node/passage.py).

    `me`: its number and address; `ask_for`: interface -> addresses to ask for by ARP or NDP;
    `targets`: name -> address and port to connect to; `mark`: 14 bytes in hex, in every probe;
    `timeout`: seconds for the questions.
    """

    me: Mapping[str, Any]
    peers: tuple[Peer, ...]
    ask_for: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, tuple[str, int]]
    vrid: int
    mark: str
    timeout: float = 0.9


@dataclass(frozen=True)
class PassageAnswer:
    """What came of it: MACs by address, (outcome, words) by target, sizes by sender's number."""

    neighbours: Mapping[str, Sequence[str]]
    connections: Mapping[str, Sequence[str]]
    arrived: Mapping[str, Sequence[str]]
    sent: Mapping[str, Mapping[str, Any]]
