"""Rules on the haproxy.cfg and the keepalived.conf of one node, taken together."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kubeha.checks import finding as kinds
from kubeha.grammar.haproxy_addresses import Ip
from kubeha.grammar.haproxy_proxies import Bind
from kubeha.grammar.keepalived import Parsed, Statement, script_words
from kubeha.grammar.virtual_router import VirtualRouter, virtual_routers
from kubeha.lint import FileFinding, at, once_a_line
from kubeha.lint.haproxy_subject import Subject

# `localhost:8443`, `/dev/tcp/127.0.0.1/8443`, `nc -z localhost 8443`
_LOCAL_PORT = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[?::1\]?|0\.0\.0\.0)(?:[:/]|[ \t]+)([0-9]{2,5})\b"
)


@dataclass(frozen=True)
class Pair:
    """Both files of a node. `scripts`: the texts of its check scripts, by their base names."""

    haproxy: Subject
    keepalived: Parsed
    scripts: Mapping[str, str]

    @property
    def routers(self) -> tuple[VirtualRouter, ...]:
        """keepalived's instances."""
        return virtual_routers(self.keepalived)

    @property
    def vips(self) -> dict[Ip, VirtualRouter]:
        """Every VIP and the instance that has it."""
        return {
            vip.address: router
            for router in self.routers
            for vip in (*router.vips, *router.excluded_vips)
        }


def judge(pair: Pair) -> tuple[FileFinding, ...]:
    """Every finding on the two together."""
    return tuple(found for rule in RULES for found in rule(pair))


def script_elsewhere(pair: Pair) -> Iterator[FileFinding]:
    """KH781: the check decides who holds the VIP, and looks at something else than HAProxy."""
    bound = [bind for proxy in pair.haproxy.proxies for bind in proxy.binds]
    if not bound or any(bind.statement.unknown for bind in bound):
        return
    followed = {t.name for router in pair.routers for t in router.tracks if t.kind == "script"}
    for script in pair.keepalived.all("vrrp_script"):
        if script.word() not in followed:
            continue
        wrong = [
            port
            for port in _ports(pair, script)
            if not any(bind.address.has_port(port) for bind in bound)
        ]
        if wrong:
            listens = ", ".join(sorted({bind.address.text for bind in bound}))
            yield at(
                kinds.SCRIPT_ELSEWHERE,
                script.place.file,
                script.place.line,
                f"vrrp_script {script.word()} tests port {wrong[0]}, but HAProxy listens on "
                f"{listens}: the VIP does not follow HAProxy's health",
                "test HAProxy's own port: an API server that fails is HAProxy's business",
                script.text,
                pair.haproxy.node,
            )


def _ports(pair: Pair, script: Statement) -> list[int]:
    """The ports of this machine that a check script tests, as far as its text is known."""
    command = script.last("script")
    if command is None:
        return []
    words = script_words(command)[1:]
    text = " ".join(words)
    if words:
        text += "\n" + pair.scripts.get(PurePosixPath(words[0]).name, "")
    code = "\n".join(line.partition(" #")[0] for line in text.splitlines() if line[:1] != "#")
    return [int(port) for port in _LOCAL_PORT.findall(code)]


def vip_not_bound(pair: Pair) -> Iterator[FileFinding]:
    """KH782: the VIP comes up on the node, and nobody listens on it."""
    binds = pair.haproxy.api_binds
    if not binds or any(_unknown(bind) for bind in binds):
        return
    for router in pair.routers:
        if not router.vips or any(_covers(b, vip.address) for b in binds for vip in router.vips):
            continue
        vip = router.vips[0]
        yield pair.haproxy.at(
            kinds.VIP_NOT_BOUND,
            binds[0].statement,
            f"keepalived's VIP is {vip.address} ({router.place}), but HAProxy listens on "
            f"{', '.join(bind.address.text for bind in binds)} only",
            f"write instead: bind {_wildcard(vip.address)}:{binds[0].address.first_port or 8443}"
            f"{' v6only' if vip.address.version == 6 else ''}",
        )


def _wildcard(vip: Ip) -> str:
    return "" if vip.version == 4 else "[::]"


def _unknown(bind: Bind) -> bool:
    """A name or a variable: where it leads is not in the file."""
    where = bind.address
    return not (where.ip or where.wildcard or where.local)


def _covers(bind: Bind, vip: Ip) -> bool:
    """Whether connections to the VIP arrive there. `*` and nothing stand for IPv4 only."""
    where = bind.address
    if where.ip == vip:
        return True
    if not where.wildcard:
        return False
    if where.ip is None or where.ip.version == 4:
        return vip.version == 4
    return vip.version == 6 or "v6only" not in bind.parameters


def bind_needs_vip(pair: Pair) -> Iterator[FileFinding]:
    """KH783: an address that the machine does not have cannot be bound without ado."""
    for bind in pair.haproxy.api_binds:
        if bind.address.ip is None or "transparent" in bind.parameters:
            continue
        if bind.address.ip in pair.vips:
            port = bind.address.first_port or 8443
            yield pair.haproxy.at(
                kinds.BIND_NEEDS_VIP,
                bind.statement,
                f"HAProxy does not start on a node that does not have {bind.address.ip} at that "
                f"moment, unless net.ipv4.ip_nonlocal_bind is 1 there",
                f"write instead: bind {_wildcard(bind.address.ip)}:{port} "
                f"(any address), or add transparent to the line",
            )


@once_a_line
def vip_as_server(pair: Pair) -> Iterator[FileFinding]:
    """KH784: connections go round in a circle, or all to the holder."""
    for backend, server in pair.haproxy.api_servers():
        if server.address.ip in pair.vips:
            yield pair.haproxy.at(
                kinds.VIP_AS_SERVER,
                server.statement,
                f"server {server.name} of {backend.title} is the VIP itself: it leads to whoever "
                f"holds the VIP, not to one API server",
                f"write a node's own address: server {server.name} NODE:6443 check",
            )


RULES = (script_elsewhere, vip_not_bound, bind_needs_vip, vip_as_server)
