"""A haproxy.cfg without fault, and what to write instead of its lines."""

from kubeha.grammar.haproxy_conditions import Version
from kubeha.lint.haproxy import judge
from kubeha.lint.haproxy_subject import subject

GOOD = """global
    log /dev/log local0
    chroot /var/lib/haproxy
    user haproxy
    group haproxy
    maxconn 8000
    hard-stop-after 1h
    stats socket /run/haproxy/admin.sock mode 660 level admin

defaults
    mode tcp
    log global
    option tcplog
    option redispatch 1
    retries 3
    timeout connect 1s
    timeout check 2s
    timeout client 4h
    timeout server 4h
    timeout tunnel 4h

frontend kube-api
    bind :8443
    default_backend kube-masters

backend kube-masters
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 1s fastinter 500ms fall 2 rise 3
    default-server check check-ssl verify required ca-file /etc/ca.pem verifyhost kubernetes
    server m1 198.51.100.11:6443 tcp-ut 5s
    server m2 198.51.100.12:6443 tcp-ut 5s
    server m3 198.51.100.13:6443 tcp-ut 5s
"""
BACKEND = "\nbackend kube-masters\n"
SERVERS = "".join(line + "\n" for line in GOOD.splitlines() if line.startswith("    server "))


def edited(*edits: str) -> str:
    """GOOD with `old => new` replacements; both are parts of lines, `\\n` parts them."""
    text = GOOD
    for edit in edits:
        old, new = edit.split(" => ")
        assert old in text, old
        text = text.replace(old, new)
    return text


def codes(text: str, version: Version | None = None) -> list[str]:
    """Codes of the findings, each once, in the order of the lines."""
    return list(dict.fromkeys(found.code for found in findings(text, version)))


def findings(text: str, version: Version | None = None, **known: object):
    """The findings on a file whose /run/haproxy something makes."""
    created = {"created": frozenset({"/run/haproxy"}), **known}
    return judge(subject("haproxy.cfg", text, version=version, **created))
