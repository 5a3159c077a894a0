"""Rules on how connections find an API server and how long they may live.

Figures: measured with HAProxy 1.8 to 3.4; docs/linting.md says how.
"""

from collections.abc import Iterator
from dataclasses import replace

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Severity
from kubeha.grammar.haproxy import Statement
from kubeha.grammar.haproxy_proxies import Bind, Proxy
from kubeha.lint import FileFinding, once_a_line
from kubeha.lint.haproxy_subject import Subject, number, shown

# kubelet's streamingConnectionIdleTimeout is 4 h; a watch may be silent for minutes.
SHORTEST_IDLE = 600.0
# What a new connection may lose on a dead server before it tries the next one.
LONGEST_STALL = 3.0
# HAProxy's default (section 4.2, "retries").
_RETRIES = 3
# Below this, a few dozen nodes with their watches fill it.
LEAST_CONNECTIONS = 1000
_HTTP_OPTIONS = ("http-server-close", "forwardfor", "httplog", "http-keep-alive", "httpclose")


def balance_source(subject: Subject) -> Iterator[FileFinding]:
    """KH743: clients behind one address all hash to one server, and to the dead one again."""
    for proxy in subject.api_backends:
        if len(proxy.servers) < 2:
            continue
        balance = proxy.last("balance")
        if balance and balance.arguments[:2] in (("source",), ("hash", "src")):
            yield subject.at(
                kinds.BALANCE_SOURCE,
                balance,
                f"{proxy.title} chooses the server by the client's address: clients behind one "
                f"address (NAT, another proxy) all use one API server, also a dead one again",
                "write instead: balance leastconn",
            )
        for stick in proxy.section.find("stick", "on", "src"):
            yield subject.at(
                kinds.BALANCE_SOURCE,
                stick,
                f"{proxy.title} sends a client's address to the same server for ever",
                "take the line out: any API server can answer any client",
            )


@once_a_line
def idle_timeout(subject: Subject) -> Iterator[FileFinding]:
    """KH744: once connected, `timeout tunnel` counts, or else the shorter of client and server."""
    for backend in subject.api_backends:
        for feeder in subject.fed[backend.name]:
            found = _idle(feeder, backend)
            if not found or found[0] >= SHORTEST_IDLE:
                continue
            yield subject.at(
                kinds.IDLE_TIMEOUT,
                found[1],
                f"{backend.title} cuts a connection that is silent for {found[0]:g} s, such as an "
                f"idle watch, kubectl exec or logs -f",
                f"add to {backend.title} or to defaults: timeout tunnel 4h (keepalives find dead "
                f"peers: option clitcpka, option srvtcpka)",
            )


def _idle(frontend: Proxy, backend: Proxy) -> tuple[float, Statement] | None:
    """How long silence may last, and the line that says so; None without a limit."""
    if backend.mode == "tcp" and (tunnel := backend.timeout("tunnel")):
        lasting = backend.timeout_seconds("tunnel")
        return (lasting, tunnel) if lasting is not None else None
    limits = []
    for proxy, name in ((frontend, "client"), (backend, "server")):
        statement, lasting = proxy.timeout(name), proxy.timeout_seconds(name)
        if statement and lasting:
            limits.append((lasting, statement.line, statement))
    if not limits:
        return None
    shortest = min(limits)
    return shortest[0], shortest[2]


def redispatch(subject: Subject) -> Iterator[FileFinding]:
    """KH747, KH748: whether and how soon a connection leaves a dead server."""
    for proxy in subject.api_backends:
        if len(proxy.servers) < 2:
            continue
        option, retries = proxy.option("redispatch"), number(proxy.last("retries"))
        attempts = _RETRIES if retries is None else retries
        if option is None or attempts == 0:
            yield subject.at(
                kinds.NO_REDISPATCH,
                option or proxy.last("option", "redispatch") or proxy.section,
                f"{proxy.title} tries a dead server again and again until the checks find it",
                "add: option redispatch 1 (and leave retries at 3): each retry goes to another "
                "server",
            )
        else:
            yield from _slow(subject, proxy, option, attempts)


def _slow(
    subject: Subject, proxy: Proxy, option: Statement, attempts: int
) -> Iterator[FileFinding]:
    every = number(option, 2)
    connect = proxy.timeout("connect")
    each = proxy.timeout_seconds("connect")
    if connect is None or each is None:
        return
    # Without a number, and with -1, only the last retry goes elsewhere (section 4.2).
    tries = attempts if not every else min(every, attempts)
    if tries * each > LONGEST_STALL:
        yield subject.at(
            kinds.SLOW_REDISPATCH,
            connect,
            f"{proxy.title} lets a new connection wait {tries * each:g} s on a dead server "
            f"({tries} x {shown(connect)}) before it tries another one",
            "write instead: timeout connect 1s, and option redispatch 1",
        )


@once_a_line
def limits(subject: Subject) -> Iterator[FileFinding]:
    """KH759: watches hold their connection for hours; what is over the limit waits in a queue."""
    found = [("the whole process", subject.setting("maxconn"))]
    found += [(proxy.title, proxy.last("maxconn")) for proxy in subject.api_frontends]
    for who, statement in found:
        most = number(statement)
        if statement and most is not None and most < LEAST_CONNECTIONS:
            if subject.api_backends:
                yield _low(subject, statement, who, most, "maxconn 8000")
    for proxy, server in subject.api_servers():
        value = server.parameters.get("maxconn")
        if value and value.value.isdecimal() and 0 < int(value.value) < LEAST_CONNECTIONS:
            fix = f"take maxconn {value.value} out of the line"
            yield _low(subject, value.statement, proxy.title, int(value.value), fix)


def _low(subject: Subject, where: Statement, who: str, most: int, fix: str) -> FileFinding:
    return subject.at(
        kinds.LOW_LIMIT,
        where,
        f"{who} is limited to {most} connections: watches stay for hours and fill that, and the "
        f"rest waits until it times out",
        fix if fix.startswith("take") else f"write instead: {fix}",
    )


def timeouts(subject: Subject) -> Iterator[FileFinding]:
    """KH760, KH761: what is not limited piles up."""
    for backend in subject.api_backends:
        feeders = subject.fed[backend.name]
        wanted = [(backend, name) for name in ("connect", "server")]
        wanted += [(feeder, "client") for feeder in feeders]
        for proxy, name in wanted:
            if proxy.timeout(name) is None or proxy.timeout_seconds(name) == 0:
                yield subject.at(
                    kinds.NO_TIMEOUT,
                    proxy.timeout(name) or proxy.section,
                    f"{proxy.title} has no timeout {name}: connections to what vanished stay "
                    f"for ever",
                    f"add: timeout {name} {'1s' if name == 'connect' else '4h'}",
                )
        if backend.timeout("check") is None and any(s.has("check") for s in backend.servers):
            yield subject.at(
                kinds.NO_CHECK_TIMEOUT,
                backend.section,
                f"{backend.title} has no timeout check: an API server that accepts and never "
                f"answers is waited for as long as inter",
                "add: timeout check 2s",
            )


def http_mode(subject: Subject) -> Iterator[FileFinding]:
    """KH762: an HTTP proxy cannot read TLS, and one that ends TLS loses client certificates."""
    for backend in subject.api_backends:
        for feeder in subject.fed[backend.name]:
            if feeder.mode != "http" or not feeder.binds:
                continue
            ends_tls = any("ssl" in bind.parameters for bind in feeder.binds)
            what = (
                "ends TLS: client certificates (kubelet, admin) never reach the API server"
                if ends_tls
                else "expects plain HTTP, but clients of the API speak TLS: every request fails"
            )
            yield subject.at(
                kinds.HTTP_MODE,
                feeder.last("mode") or feeder.section,
                f"{feeder.title} {what}",
                "write instead: mode tcp (in the frontend and in the backend)",
            )
            break


@once_a_line
def http_options(subject: Subject) -> Iterator[FileFinding]:
    """KH763: HAProxy ignores them, with a warning, where the mode is tcp."""
    for proxy in (*subject.api_frontends, *subject.api_backends):
        for name in _HTTP_OPTIONS:
            option = proxy.option(name)
            if name == "httplog" and (not proxy.receives or _logs_tcp(proxy)):
                continue
            if option and proxy.mode == "tcp":
                instead = "write instead: option tcplog" if name == "httplog" else "take it out"
                yield subject.at(
                    kinds.HTTP_OPTION,
                    option,
                    f"option {name} does nothing in {proxy.title}: its mode is tcp",
                    instead,
                )


def _logs_tcp(proxy: Proxy) -> bool:
    """Whether the proxy's own lines have replaced the httplog of its defaults."""
    return any(proxy.section.find("option", "tcplog"))


def shared_port(subject: Subject) -> Iterator[FileFinding]:
    """KH754, KH755: HAProxy and an API server cannot listen on the same port of one machine."""
    servers = {
        (server.address.ip, server.address.first_port): (backend, server)
        for backend, server in reversed(list(subject.api_servers()))
    }
    ports = {port: found for (_, port), found in servers.items() if port is not None}
    for bind in {bind.address.text: bind for bind in reversed(subject.api_binds)}.values():
        where = bind.address
        if where.ip and (found := servers.get((where.ip, where.first_port))):
            backend, server = found
            yield subject.at(
                kinds.SERVER_LOOP,
                server.statement,
                f"server {server.name} of {backend.title} is what HAProxy itself binds: it "
                f"would connect to itself without end",
                f"write the API server's own address: server {server.name} NODE:6443 check",
            )
        port = where.first_port if where.first_port in ports else None
        if where.first_port != where.last_port:
            port = next((port for port in ports if where.has_port(port)), None)
        if not where.wildcard:
            continue
        if port is not None and (told := _taken(subject, ports[port][0], bind, port)):
            yield told


def _taken(subject: Subject, backend: Proxy, bind: Bind, port: int) -> FileFinding | None:
    """KH754: sure where another file tells the machine's address, unsure otherwise."""
    fix = "write instead: bind :8443"
    if subject.own is not None:
        here = [s for s in backend.servers if s.address.ip in subject.own]
        if not here:
            return None
        message = (
            f"HAProxy binds port {port} on every address, and server {here[0].name} on this very "
            f"machine needs it too: one of the two cannot start"
        )
        return replace(
            subject.at(kinds.PORT_SHARED, bind.statement, message, fix), severity=Severity.ERROR
        )
    return subject.at(
        kinds.PORT_SHARED,
        bind.statement,
        f"HAProxy binds port {port} on every address: if an API server of {backend.title} runs on "
        f"this machine, one of the two cannot start",
        f"{fix} (on machines of its own HAProxy may keep the port: then ignore this)",
    )


def few_servers(subject: Subject) -> Iterator[FileFinding]:
    """KH765, KH773: servers that do not add to each other."""
    for proxy in subject.api_backends:
        first: dict[tuple[str, int | None], str] = {}
        plain = [server for server in proxy.servers if not server.backup]
        if len({server.address.text for server in proxy.servers}) == 1:
            yield subject.at(
                kinds.ONE_SERVER,
                proxy.servers[0].statement,
                f"{proxy.title} leads to one API server only: when it is down, so is the endpoint",
                "add a server line for each control plane node",
            )
        for server in plain:
            where = (server.address.host, server.address.first_port)
            if not server.statement.unknown and where in first:
                yield subject.at(
                    kinds.SAME_SERVER,
                    server.statement,
                    f"{proxy.title}: servers {first[where]} and {server.name} are both "
                    f"{server.address.text}",
                    "write the address of another control plane node",
                )
            first.setdefault(where, server.name)


RULES = (
    balance_source,
    idle_timeout,
    redispatch,
    limits,
    timeouts,
    http_mode,
    http_options,
    shared_port,
    few_servers,
)
