"""What the rules on a haproxy.cfg look at: the file, its proxies, and what they lead to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kubeha.checks.finding import Kind
from kubeha.grammar.haproxy import HaproxyFile, Section, Statement, parse
from kubeha.grammar.haproxy_addresses import Ip
from kubeha.grammar.haproxy_conditions import Version
from kubeha.grammar.haproxy_proxies import Bind, Proxy, Server, proxies
from kubeha.grammar.secrets import masked
from kubeha.lint import FileFinding, at

# kubeadm's, and MicroK8s's: nothing else uses them by custom.
API_PORTS = (6443, 16443)
_API_NAME = re.compile(r"kube|k8s|k3s|api-?server|control-?plane|master", re.IGNORECASE)


@dataclass(frozen=True)
class Subject:
    """One haproxy.cfg, and what the node's other files tell about the machine (None: nothing).

    `created`: directories that they make at each boot; `own`: addresses of the machine.
    """

    file: str
    parsed: HaproxyFile
    version: Version | None = None
    node: str = ""
    created: frozenset[str] | None = None
    own: frozenset[Ip] | None = None

    @cached_property
    def proxies(self) -> tuple[Proxy, ...]:
        """Frontends, backends and listens over their defaults."""
        return proxies(self.parsed)

    @cached_property
    def by_name(self) -> dict[str, Proxy]:
        """Those that a frontend can send to."""
        return {proxy.name: proxy for proxy in self.proxies if proxy.sends}

    @cached_property
    def fed(self) -> dict[str, tuple[Proxy, ...]]:
        """Name of a backend -> who receives connections for it; a listen also feeds itself."""
        found: dict[str, list[Proxy]] = {proxy.name: [] for proxy in self.proxies if proxy.sends}
        for proxy in self.proxies:
            if not proxy.receives:
                continue
            names = {name for name, _ in proxy.targets()}
            names |= {proxy.name} if proxy.sends and proxy.servers else set()
            for name in names:
                if name in found:
                    found[name].append(proxy)
        return {name: tuple(feeders) for name, feeders in found.items()}

    @cached_property
    def api_backends(self) -> tuple[Proxy, ...]:
        """The backends and listens that lead clients to API servers.

        By their servers' port, or by the name of the section; where neither tells, every one in
        TCP mode, for which other sense has such a file.
        """
        routed = tuple(p for p in self.proxies if p.sends and p.servers and self.fed[p.name])
        known = tuple(p for p in routed if self._names_api(p))
        return known or tuple(p for p in routed if p.mode == "tcp")

    def _names_api(self, proxy: Proxy) -> bool:
        ports = any(server.address.has_port(port) for server in proxy.servers for port in API_PORTS)
        names = (proxy.name, *(feeder.name for feeder in self.fed[proxy.name]))
        return ports or any(_API_NAME.search(name) for name in names)

    @cached_property
    def api_frontends(self) -> tuple[Proxy, ...]:
        """The frontends and listens through which clients come to them."""
        lines = {feeder.line for proxy in self.api_backends for feeder in self.fed[proxy.name]}
        return tuple(proxy for proxy in self.proxies if proxy.receives and proxy.line in lines)

    @cached_property
    def api_binds(self) -> tuple[Bind, ...]:
        """Where clients connect for the API."""
        return tuple(bind for proxy in self.api_frontends for bind in proxy.binds)

    def api_servers(self) -> Iterator[tuple[Proxy, Server]]:
        """Every server line that leads to an API server."""
        for proxy in self.api_backends:
            for server in proxy.servers:
                yield proxy, server

    @property
    def globals(self) -> tuple[Section, ...]:
        """Its global sections: HAProxy takes several as one."""
        return self.parsed.of_kind("global")

    def setting(self, *words: str) -> Statement | None:
        """The last global statement that begins so."""
        found = [each for section in self.globals for each in section.find(*words)]
        return found[-1] if found else None

    def at(
        self, kind: Kind, where: Statement | Section | int, message: str, fix: str
    ) -> FileFinding:
        """A finding on a line of the file, which is its evidence, without its password."""
        if isinstance(where, int):
            return at(kind, self.file, where, message, fix, node=self.node)
        return at(kind, self.file, where.line, message, fix, masked(where.text), self.node)


def subject(
    file: str,
    text: str,
    *,
    version: Version | None = None,
    node: str = "",
    created: frozenset[str] | None = None,
    own: frozenset[Ip] | None = None,
) -> Subject:
    """Read a file. Never raises."""
    return Subject(file, parse(text, version=version), version, node, created, own)


def number(statement: Statement | None, index: int = 1) -> int | None:
    """The word as a whole number; None if it is none."""
    if statement is None or len(statement.words) <= index:
        return None
    word = statement.words[index]
    return int(word) if re.fullmatch(r"[0-9]{1,18}", word) else None


def shown(statement: Statement | None) -> str:
    """The words of a statement, without comment and indentation."""
    return " ".join(statement.words) if statement else ""
