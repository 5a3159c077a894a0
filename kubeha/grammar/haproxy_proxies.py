"""What each proxy of a haproxy.cfg really has: its own lines over those of its defaults.

HAProxy's manual, section 4: a proxy takes its settings from the `defaults` section that it names
with `from`, or else from the last one before it; `no option` takes an option back; `default-server`
lines count for the servers after them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubeha.grammar.haproxy import PROXIES, HaproxyFile, Section, Statement
from kubeha.grammar.haproxy_addresses import Address, address, seconds

# Words of `server` and `bind` lines without a value (sections 5.1, 5.2); all others take one.
_BARE = frozenset(
    "check agent-check check-ssl check-send-proxy check-via-socks4 backup ssl disabled enabled "
    "send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn non-stick stick allow-0rtt "
    "tfo ssl-reuse tls-tickets renegotiate no-verifyhost strict-maxconn "
    "force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 no-sslv3 no-tlsv10 no-tlsv11 "
    "no-tlsv12 no-tlsv13 no-agent-check no-backup no-check no-check-ssl no-check-send-proxy "
    "no-send-proxy no-send-proxy-v2 no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn no-ssl "
    "no-ssl-reuse no-tls-tickets no-tfo no-renegotiate no-stick "
    "transparent accept-proxy defer-accept v4v6 v6only generate-certificates strict-sni "
    "prefer-client-ciphers quic-force-retry no-ca-names".split()
)
# Of defaults that are taken from defaults; ours, for a file that means no good.
_DEEPEST_CHAIN = 100


@dataclass(frozen=True)
class Parameter:
    """A word of a `server`, `default-server` or `bind` line with its value and the line."""

    value: str
    statement: Statement


Parameters = Mapping[str, Parameter]


@dataclass(frozen=True)
class Bind:
    """One address of a `bind` line."""

    address: Address
    parameters: Parameters
    statement: Statement


@dataclass(frozen=True)
class Server:
    """A `server` line with what `default-server` gives it."""

    name: str
    address: Address
    parameters: Parameters
    statement: Statement

    def has(self, word: str) -> bool:
        """Whether the parameter is in force."""
        return word in self.parameters

    def value(self, word: str) -> str | None:
        """The parameter's value; None without it."""
        found = self.parameters.get(word)
        return found.value if found else None

    def duration(self, word: str, otherwise: float) -> float | None:
        """In seconds; None if what stands there is no duration."""
        value = self.value(word)
        return otherwise if value is None else seconds(value)

    @property
    def checked(self) -> bool:
        """Whether HAProxy ever learns that it is down: by a check or by another one's."""
        return self.has("check") or self.has("track")

    @property
    def backup(self) -> bool:
        """Whether it serves only when all the others are down."""
        return self.has("backup")


@dataclass(frozen=True)
class Proxy:
    """A frontend, backend or listen section over its defaults."""

    section: Section
    defaults: tuple[Section, ...] = ()  # the nearest first
    binds: tuple[Bind, ...] = ()
    servers: tuple[Server, ...] = ()

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def title(self) -> str:
        """`backend kube`, as it stands in the file."""
        return f"{self.section.kind} {self.name}"

    @property
    def line(self) -> int:
        return self.section.line

    @property
    def receives(self) -> bool:
        """Whether clients connect to it."""
        return self.section.kind in ("frontend", "listen")

    @property
    def sends(self) -> bool:
        """Whether it has servers."""
        return self.section.kind in ("backend", "listen")

    def all(self, *words: str) -> Iterator[Statement]:
        """Its own statements that begin so, then those of its defaults."""
        for section in (self.section, *self.defaults):
            yield from section.find(*words)

    def last(self, *words: str) -> Statement | None:
        """The statement in force where a later one replaces an earlier one."""
        for section in (self.section, *self.defaults):
            if found := list(section.find(*words)):
                return found[-1]
        return None

    def option(self, name: str) -> Statement | None:
        """The `option` line in force; None if there is none or `no option` took it back."""
        found = self.last("option", name)
        return found if found and not found.prefix else None

    @property
    def mode(self) -> str:
        """tcp unless it says otherwise."""
        found = self.last("mode")
        return found.words[1] if found and len(found.words) > 1 else "tcp"

    def timeout(self, name: str) -> Statement | None:
        """The `timeout NAME` line in force."""
        return self.last("timeout", name)

    def timeout_seconds(self, name: str) -> float | None:
        """Its value; None if there is none or it is not one."""
        found = self.timeout(name)
        return seconds(found.words[2]) if found and len(found.words) > 2 else None

    def targets(self) -> Iterator[tuple[str, Statement]]:
        """Names of the backends that it sends to, as far as they are written out."""
        for statement in (*self.all("default_backend"), *self.section.find("use_backend")):
            if statement.arguments and not statement.unknown:
                yield statement.arguments[0], statement


def proxies(file: HaproxyFile) -> tuple[Proxy, ...]:
    """Every proxy of the file over its defaults, in order."""
    found: list[Proxy] = []
    named: dict[str, Section] = {}
    latest: Section | None = None
    for section in file.sections:
        if section.kind == "defaults":
            latest = section
            if section.name:
                named[section.name] = section
        elif section.kind in PROXIES:
            nearest = named.get(section.parent) if section.parent else latest
            found.append(_proxy(section, _chain(nearest, named)))
    return tuple(found)


def _chain(nearest: Section | None, named: Mapping[str, Section]) -> tuple[Section, ...]:
    """A defaults section and those it is itself taken from."""
    chain: dict[int, Section] = {}
    while nearest and nearest.line not in chain and len(chain) < _DEEPEST_CHAIN:
        chain[nearest.line] = nearest
        nearest = named.get(nearest.parent) if nearest.parent else None
    return tuple(chain.values())


def _proxy(section: Section, defaults: tuple[Section, ...]) -> Proxy:
    return Proxy(
        section,
        defaults,
        tuple(_binds(section)) if section.kind != "backend" else (),
        tuple(_servers(section, defaults)) if section.kind != "frontend" else (),
    )


def _binds(section: Section) -> Iterator[Bind]:
    for statement in section.find("bind"):
        if statement.arguments:
            parameters = parameters_of(statement, 2)
            for one in statement.arguments[0].split(","):
                yield Bind(address(one), parameters, statement)


def _servers(section: Section, defaults: tuple[Section, ...]) -> Iterator[Server]:
    given: dict[str, Parameter] = {}
    for each in reversed(defaults):
        for statement in each.find("default-server"):
            _merge(given, parameters_of(statement, 1))
    for statement in section.statements:
        if statement.keyword == "default-server":
            _merge(given, parameters_of(statement, 1))
        elif statement.keyword == "server" and len(statement.words) > 2:
            merged = dict(given)
            _merge(merged, parameters_of(statement, 3))
            yield Server(statement.words[1], address(statement.words[2]), merged, statement)


def parameters_of(statement: Statement, start: int) -> dict[str, Parameter]:
    """The words from `start` on, each with its value ('' for those that take none)."""
    found: dict[str, Parameter] = {}
    words = list(statement.words[start:])
    while words:
        word = words.pop(0)
        takes = word not in _BARE and bool(words)
        # The last of several counts; and `check no-check` is in this order.
        found.pop(word, None)
        found[word] = Parameter(words.pop(0) if takes else "", statement)
    return found


def _merge(into: dict[str, Parameter], more: Parameters) -> None:
    """Later words over earlier ones; `no-check` takes `check` back."""
    for word, parameter in more.items():
        into.pop(word, None)
        opposite = word[3:] if word.startswith("no-") else ""
        if opposite in into and opposite in _BARE:
            del into[opposite]
        into[word] = parameter
