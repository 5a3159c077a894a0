"""Rules on how HAProxy learns that an API server is down.

Which check sees what was measured with HAProxy 2.4 to 3.4; docs/linting.md has the table.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from kubeha.checks import finding as kinds
from kubeha.grammar.haproxy import Statement
from kubeha.grammar.haproxy_proxies import Proxy, Server
from kubeha.lint import FileFinding, once_a_line
from kubeha.lint.haproxy_subject import API_PORTS, Subject

# Until a dead server takes no connections any more; HAProxy's own defaults make 6 s of it.
LONGEST_DETECTION = 10.0
# HAProxy's defaults (section 5.2).
_INTER, _FALL = 2.0, 3
# `option` lines that say what a check is; the last one of a proxy counts (section 4.2).
_KINDS = (
    "httpchk",
    "tcp-check",
    "ssl-hello-chk",
    "external-check",
    "ldap-check",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "smtpchk",
    "spop-check",
)
_GOOD_CHECK = "option httpchk GET /readyz"
_GOOD_SERVER = (
    "check check-ssl verify required ca-file /etc/haproxy/kube-ca.pem verifyhost kubernetes"
)


def check_kinds(proxy: Proxy) -> list[tuple[str, Statement]]:
    """The proxy's own kinds of check in order, or else those of its defaults; the last counts."""
    for section in (proxy.section, *proxy.defaults):
        found = [
            (statement.words[1], statement)
            for statement in section.find("option")
            if len(statement.words) > 1 and statement.words[1] in _KINDS and not statement.prefix
        ]
        if found:
            return found
    return []


def asks_over_http(proxy: Proxy) -> bool:
    """Whether its check is an HTTP request."""
    found = check_kinds(proxy)
    return bool(found) and found[-1][0] == "httpchk"


def check_is_encrypted(proxy: Proxy, server: Server) -> bool:
    """Whether the server's check speaks TLS."""
    connects = [s for s in proxy.all("http-check", "connect") if "ssl" in s.words]
    return server.has("check-ssl") or server.has("ssl") or bool(connects)


def unchecked(subject: Subject) -> Iterator[FileFinding]:
    """KH756: a server without check or track is used for ever, dead or not."""
    for proxy in subject.api_backends:
        found = [s for s in proxy.servers if not s.checked and not s.has("disabled")]
        if found:
            yield subject.at(
                kinds.UNCHECKED,
                found[0].statement,
                f"{proxy.title} never checks {_names(found)}: dead or not, it gets connections",
                f"write instead: {_good_line(found[0])}",
            )


def tcp_only(subject: Subject) -> Iterator[FileFinding]:
    """KH745: a TCP or TLS check calls an API server good that has lost its etcd or hangs."""
    for proxy in subject.api_backends:
        checked = [server for server in proxy.servers if server.has("check")]
        if not checked or asks_over_http(proxy):
            continue
        found = check_kinds(proxy)
        if found and found[-1][0] == "external-check":
            continue
        how = f"by {found[-1][0]}" if found else "by their TCP port"
        yield subject.at(
            kinds.TCP_CHECK,
            found[-1][1] if found else checked[0].statement,
            f"{proxy.title} judges API servers {how} alone: one that is not ready (etcd lost, "
            f"starting, shutting down) still gets connections",
            f"add: {_GOOD_CHECK}, and write on each server line: {_GOOD_SERVER}",
        )


def replaced(subject: Subject) -> Iterator[FileFinding]:
    """KH758: `option httpchk` and `option ssl-hello-chk` do not add up."""
    for proxy in subject.api_backends:
        found = check_kinds(proxy)
        if len({kind for kind, _ in found}) > 1:
            last = found[-1]
            others = ", ".join(sorted({kind for kind, _ in found} - {last[0]}))
            yield subject.at(
                kinds.CHECK_REPLACED,
                last[1],
                f"{proxy.title}: option {last[0]} replaces option {others}, which is never used",
                f"keep one: {_GOOD_CHECK}",
            )


def plain(subject: Subject) -> Iterator[FileFinding]:
    """KH764: the API server answers 400 to plain HTTP, so that every server goes DOWN."""
    for proxy in subject.api_backends:
        if not asks_over_http(proxy):
            continue
        found = [s for s in proxy.servers if s.has("check") and _asked_in_the_clear(proxy, s)]
        if found:
            yield subject.at(
                kinds.PLAIN_CHECK,
                found[0].statement,
                f"{proxy.title} asks {_names(found)} over plain HTTP; an API server answers 400 to "
                f"that, and HAProxy takes it for down",
                f"write instead: {_good_line(found[0])}",
            )


def _asked_in_the_clear(proxy: Proxy, server: Server) -> bool:
    port = server.value("port") or str(server.address.first_port)
    tls = port.isdecimal() and int(port[:6]) in API_PORTS
    return tls and not check_is_encrypted(proxy, server)


def _names(servers: list[Server]) -> str:
    return ("server " if len(servers) == 1 else "servers ") + ", ".join(s.name for s in servers)


def _good_line(server: Server) -> str:
    return f"server {server.name} {server.address.text} {_GOOD_SERVER}"


@once_a_line
def slow_detection(subject: Subject) -> Iterator[FileFinding]:
    """KH746: inter and fall decide for how long connections still go to a dead server."""
    for proxy in subject.api_backends:
        for server in proxy.servers:
            lasting = detection_seconds(server)
            where = server.parameters.get("inter") or server.parameters.get("fall")
            if not server.has("check") or not where or lasting is None:
                continue
            if lasting >= LONGEST_DETECTION:
                yield subject.at(
                    kinds.SLOW_DETECTION,
                    where.statement,
                    f"{proxy.title} notices a dead server only after {lasting:g} s "
                    f"(inter x fall); until then it gets connections",
                    "write instead of inter, fall and rise: inter 1s fastinter 500ms downinter 1s "
                    "fall 2 rise 3",
                )


def detection_seconds(server: Server) -> float | None:
    """From the last good check to DOWN, at most, without timeouts. None if it cannot be told.

    The first failed check comes within `inter`, those after it every `fastinter`.
    """
    inter = server.duration("inter", _INTER)
    fast = server.duration("fastinter", inter if inter is not None else _INTER)
    fall = server.value("fall") or str(_FALL)
    if inter is None or fast is None or not fall.isdecimal():
        return None
    return inter + (int(fall[:9]) - 1) * fast


@once_a_line
def default_tcp_ut(subject: Subject) -> Iterator[FileFinding]:
    """KH752: src/cfgparse-tcp.c keeps it only where there is an address already."""
    for proxy in subject.proxies:
        for statement in proxy.all("default-server"):
            if "tcp-ut" in statement.words[1:]:
                yield subject.at(
                    kinds.DEFAULT_TCP_UT,
                    statement,
                    "HAProxy (1.8 to 3.4) ignores tcp-ut in default-server, without a word",
                    "take it out, and write tcp-ut 5s on each server line",
                )


@once_a_line
def verifyhost(subject: Subject) -> Iterator[FileFinding]:
    """KH753: HAProxy compares names only, also when the address is in the certificate."""
    for proxy, server in subject.api_servers():
        found = server.parameters.get("verifyhost")
        if found and _is_address(found.value):
            yield subject.at(
                kinds.VERIFYHOST_ADDRESS,
                found.statement,
                f"{proxy.title}: verifyhost compares with the certificate's names only, never "
                f"with its addresses: every check fails (L6RSP), and the server is DOWN",
                "write instead: verifyhost kubernetes",
            )


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


@once_a_line
def verify_none(subject: Subject) -> Iterator[FileFinding]:
    """KH757: whoever answers at that address is taken for an API server of this cluster."""
    for proxy, server in subject.api_servers():
        found = server.parameters.get("verify")
        if not found or found.value != "none":
            continue
        if server.has("check") and check_is_encrypted(proxy, server):
            yield subject.at(
                kinds.VERIFY_NONE,
                found.statement,
                f"{proxy.title}: with verify none a check believes any certificate: a server of "
                f"another cluster on that address is UP",
                "write instead of verify none: verify required "
                "ca-file /etc/haproxy/kube-ca.pem verifyhost kubernetes "
                "(a copy of /etc/kubernetes/pki/ca.crt)",
            )


@once_a_line
def cut_redispatch(subject: Subject) -> Iterator[FileFinding]:
    """KH766: mark-down closes the sessions that were about to be sent elsewhere."""
    for proxy, server in subject.api_servers():
        error, down = server.parameters.get("on-error"), server.parameters.get("on-marked-down")
        if not (error and down and server.has("observe")) or error.value != "mark-down":
            continue
        if down.value == "shutdown-sessions":
            yield subject.at(
                kinds.CUT_REDISPATCH,
                error.statement,
                f"{proxy.title}: the first failed connection marks the server down, and "
                f"shutdown-sessions then ends those that were about to be tried elsewhere",
                "take out: on-marked-down shutdown-sessions",
            )


RULES = (
    unchecked,
    tcp_only,
    replaced,
    plain,
    slow_detection,
    default_tcp_ut,
    verifyhost,
    verify_none,
    cut_redispatch,
)
