"""Which file is what, and whose."""

import pytest
from lint.haproxy_files import GOOD

from kubeha.errors import UsageError
from kubeha.lint.sources import Grammar, Source, by_node, created, node_of, recognise

KEEPALIVED = "global_defs {\n}\nvrrp_instance x {\n}\n"


@pytest.mark.parametrize(
    ("name", "text", "grammar"),
    [
        ("x", GOOD, Grammar.HAPROXY),
        ("keepalived.conf", GOOD, Grammar.HAPROXY),
        ("haproxy.cfg", KEEPALIVED, Grammar.KEEPALIVED),
        ("x", KEEPALIVED, Grammar.KEEPALIVED),
        ("x", "vrrp_instance x\n{\n}\n", Grammar.KEEPALIVED),
        ("x", "frontend f # c\n", Grammar.HAPROXY),
        ("haproxy.cfg", "nonsense\n", Grammar.HAPROXY),
        ("lb.cfg", "nonsense\n", Grammar.HAPROXY),
        ("m1.keepalived.conf", "", Grammar.KEEPALIVED),
        ("keepalived.env", "DAEMON_ARGS=-R\n", None),
        ("x.conf", "nonsense\n", None),
        ("x", "# c\n[Service]\nRestart=always\n", Grammar.UNIT),
        ("x", "d /run/haproxy 0755 root root -\n", Grammar.TMPFILES),
        ("check.sh", "#!/bin/sh\nexit 0\n", Grammar.SCRIPT),
        ("x", "", None),
    ],
)
def test_recognise(name: str, text: str, grammar: Grammar | None) -> None:
    assert recognise(name, text) is grammar


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("m1/haproxy.cfg", "m1"),
        ("m1/etc/haproxy/haproxy.cfg", "m1"),
        ("out/m1/etc/keepalived/keepalived.conf", "m1"),
        ("m1/etc/systemd/system/haproxy.service.d/10-kubeha.conf", "m1"),
        ("/etc/haproxy/haproxy.cfg", ""),
        ("/etc/keepalived/keepalived.conf", ""),
        ("haproxy.cfg", ""),
        ("haproxy-m1.cfg", "m1"),
        ("m1.keepalived.conf", "m1"),
        ("dir/keepalived_m2.conf", "m2"),
        ("../m3/haproxy.cfg", "m3"),
        ("-", ""),
    ],
)
def test_node_of(name: str, node: str) -> None:
    assert node_of(name) == node


def test_by_node() -> None:
    """In order; one file of each kind, any number of others."""

    def source(name: str, grammar: Grammar, node: str) -> Source:
        return Source(name, "", grammar, node)

    files = [
        source("a", Grammar.HAPROXY, "m2"),
        source("b", Grammar.HAPROXY, "m1"),
        source("c", Grammar.KEEPALIVED, "m2"),
        source("d", Grammar.UNIT, "m2"),
        source("e", Grammar.UNIT, "m2"),
    ]
    second, first = by_node(files)
    assert (second.node, first.node) == ("m2", "m1")
    assert second.keepalived == files[2]
    assert second.others == tuple(files[3:])
    with pytest.raises(UsageError, match="b and x are both a haproxy.cfg of node m1"):
        by_node([*files, source("x", Grammar.HAPROXY, "m1")])


def test_created() -> None:
    """Directories below /run; None where nothing tells."""
    unit = "[Service]\nRuntimeDirectory=haproxy other\n"
    tmpfiles = "# c\nd /var/run/one 0755\nD! /run/two\nf /run/three 0644\n"
    sources = [Source("u", unit, Grammar.UNIT), Source("t", tmpfiles, Grammar.TMPFILES)]
    assert created(sources) == {"/run/haproxy", "/run/other", "/run/one", "/run/two"}
    assert created([]) is created([Source("s", "", Grammar.SCRIPT)]) is None
