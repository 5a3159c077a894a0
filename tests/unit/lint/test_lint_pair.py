"""A haproxy.cfg and a keepalived.conf of one node, and the files of several nodes."""

import pytest
from lint.haproxy_files import GOOD

from kubeha.checks.finding import Severity
from kubeha.lint import FileFinding
from kubeha.lint.sources import Grammar, Source
from kubeha.lint.whole import judge

KEEPALIVED = """global_defs {{
    vrrp_version {version}
}}
vrrp_script check_haproxy {{
    script "{script}"
    interval 1
    fall 2
}}
vrrp_instance kube {{
    state BACKUP
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int {interval}
    {cast}
    {authentication}
    virtual_ipaddress {{
        {vips}
    }}
    track_script {{
        check_haproxy
    }}
}}
"""
ADDRESSES = {"m1": "198.51.100.11", "m2": "198.51.100.12", "m3": "198.51.100.13"}


def unicast(node: str, peers: tuple[str, ...] | None = None) -> str:
    others = [each for each in ADDRESSES if each != node] if peers is None else peers
    inner = " ".join(f"\n{ADDRESSES[other]}" for other in others)
    return f"unicast_src_ip {ADDRESSES[node]}\nunicast_peer {{{inner}\n}}"


def keepalived(node: str, **changes: object) -> Source:
    settings = {
        "version": 3,
        "script": "/usr/bin/nc -z 127.0.0.1 8443",
        "vrid": 77,
        "priority": 200 - int(node[1]),
        "interval": 1,
        "cast": unicast(node),
        "authentication": "",
        "vips": "198.51.100.10/32",
    }
    text = KEEPALIVED.format(**(settings | changes))
    return Source(f"{node}/keepalived.conf", text, Grammar.KEEPALIVED, node)


def haproxy(node: str, *edits: tuple[str, str]) -> Source:
    text = GOOD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return Source(f"{node}/haproxy.cfg", text, Grammar.HAPROXY, node)


def together(*sources: Source) -> list[FileFinding]:
    """The findings of pairs and fleets only."""
    return [each for each in judge(sources) if each.code > "KH780"]


def pair(*edits: tuple[str, str], others: tuple[Source, ...] = (), **changes: object) -> list[str]:
    return [f.code for f in together(haproxy("m1", *edits), keepalived("m1", **changes), *others)]


def test_a_pair_that_fits() -> None:
    assert pair() == []


@pytest.mark.provokes("KH781")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("/usr/bin/nc -z 127.0.0.1 6443", ["KH781"]),
        ("/usr/bin/curl -sk https://localhost:6443/healthz", ["KH781"]),
        ("/bin/bash -c '</dev/tcp/127.0.0.1/9443'", ["KH781"]),
        ("/usr/bin/curl -sk https://localhost:8443/healthz", []),
        ("/usr/bin/curl -sk https://198.51.100.99:6443/healthz", []),
        ("/usr/bin/killall -0 haproxy", []),
    ],
)
def test_a_check_of_something_else(script: str, found: list[str]) -> None:
    """KH781 by the port that the script tests on this machine."""
    assert pair(script=script) == found


@pytest.mark.provokes("KH781")
def test_a_check_script_is_read_where_it_is_given() -> None:
    """KH781 from the text of kubeadm's check_apiserver.sh."""
    text = "#!/bin/sh\ncurl -sfk https://localhost:{}/healthz -o /dev/null || exit 1\n"
    path = "/etc/keepalived/check_apiserver.sh"
    scripts = [
        Source("m1/check_apiserver.sh", text.format(port), Grammar.SCRIPT, "m1")
        for port in (6443, 8443)
    ]
    assert pair(script=path) == []
    assert pair(script=path, others=(scripts[0],)) == ["KH781"]
    assert pair(script=path, others=(scripts[1],)) == []


@pytest.mark.provokes("KH782")
@pytest.mark.parametrize(
    ("bind", "vips", "found"),
    [
        ("bind 198.51.100.11:8443", "198.51.100.10", ["KH782"]),
        ("bind 127.0.0.1:8443", "198.51.100.10", ["KH782"]),
        ("bind :8443", "2001:db8::10", ["KH782"]),
        ("bind [::]:8443 v6only", "198.51.100.10", ["KH782"]),
        ("bind [::]:8443", "198.51.100.10", []),
        ("bind [::]:8443 v6only", "2001:db8::10", []),
        ("bind 198.51.100.10:8443 transparent", "198.51.100.10", []),
        ("bind *:8443", "198.51.100.10", []),
        ('bind "$VIP:8443"', "198.51.100.10", []),
        ("bind vip.example:8443", "198.51.100.10", []),
        ("bind 127.0.0.1:8443,198.51.100.10:8443 transparent", "198.51.100.10", []),
    ],
)
def test_nobody_listens_on_the_vip(bind: str, vips: str, found: list[str]) -> None:
    """KH782 unless some bind covers the VIP, or may."""
    assert pair(("bind :8443", bind), vips=vips, cast="") == found


@pytest.mark.provokes("KH783")
def test_a_bind_that_needs_the_vip() -> None:
    """KH783 without transparent."""
    assert pair(("bind :8443", "bind 198.51.100.10:8443")) == ["KH783"]


@pytest.mark.provokes("KH784")
def test_the_vip_as_a_server() -> None:
    """KH784 once for each such line."""
    assert pair(("198.51.100.12:6443", "198.51.100.10:6443")) == ["KH784"]


def fleet(**changes: dict[str, object]) -> list[FileFinding]:
    return together(*(keepalived(node, **changes.get(node, {})) for node in ADDRESSES))


def test_a_fleet_that_agrees() -> None:
    assert fleet() == []
    assert together(*(haproxy(node) for node in ADDRESSES)) == []


PASS = "authentication {\n auth_type PASS\n auth_pass x\n}"
DIFFERENT = {
    "KH788": {"m2": {"version": 2}},
    "KH789": {"m2": {"vrid": 78}},
    "KH790": {"m2": {"vips": "198.51.100.10\n198.51.100.20"}},
    "KH791": {"m2": {"cast": ""}},
    "KH792": {"m2": {"cast": unicast("m2", ("m1",))}},
    "KH793": {
        "m1": {"version": 2, "authentication": PASS},
        "m2": {"version": 2, "authentication": PASS.replace("pass x", "pass y")},
        "m3": {"version": 2, "authentication": PASS},
    },
    "KH794": {
        "m1": {"version": 2},
        "m2": {"version": 2, "interval": 3},
        "m3": {"version": 2},
    },
    "KH795": {"m2": {"interval": 2}},
    "KH796": {"m2": {"priority": 199}},
}


@pytest.mark.provokes(*DIFFERENT)
@pytest.mark.parametrize("code", DIFFERENT)
def test_nodes_that_differ(code: str) -> None:
    """On a line of one of the nodes' files, with what each has."""
    found = fleet(**DIFFERENT[code])
    assert [each.code for each in found] == [code]
    assert found[0].line == 9
    assert "m2" in found[0].message + found[0].evidence
    assert "auth_pass" not in found[0].evidence


@pytest.mark.provokes("KH786", "KH787")
def test_endpoints_that_differ() -> None:
    """KH786 other API servers, KH787 another port: on the node that is alone with it."""
    servers = haproxy("m2", ("198.51.100.13:6443", "198.51.100.14:6443"))
    port = haproxy("m2", ("bind :8443", "bind :9443"))
    for other, code, severity in (
        (servers, "KH786", Severity.WARNING),
        (port, "KH787", Severity.ERROR),
    ):
        found = together(haproxy("m1"), other, haproxy("m3"))
        assert [(f.code, f.severity, f.node) for f in found] == [(code, severity, "m2")]
    # Order and names do not matter, nor what is bound for the machine itself.
    names = haproxy("m2", ("server m1", "server first"), ("bind :8443", "bind :8443\n bind ::1:7"))
    assert together(haproxy("m1"), names, haproxy("m3")) == []
