"""Each rule on haproxy.cfg: a line that provokes it, and one that nearly does."""

from ipaddress import ip_address

import pytest
from lint.haproxy_files import BACKEND, GOOD, SERVERS, codes, edited, findings

from kubeha.checks.finding import Severity

PAGE = "listen stats\n    bind {bind}\n    mode {mode}\n    stats enable\n    stats uri /\n{more}\n"
SHARED = "default-server check check-ssl verify required ca-file /etc/ca.pem verifyhost kubernetes"
LINE = "server m1 198.51.100.11:6443 tcp-ut 5s"

# code -> edits of GOOD that provoke it and nothing else
PROVOKING = {
    "KH743": [
        ("balance roundrobin => balance source",),
        ("balance roundrobin => balance hash src",),
        ("balance roundrobin => balance roundrobin\n    stick on src",),
    ],
    "KH744": [
        ("timeout tunnel 4h => timeout tunnel 50s",),
        ("timeout tunnel 4h => timeout queue 5s", "timeout client 4h => timeout client 50000"),
        ("timeout tunnel 4h => timeout queue 5s", "timeout server 4h => timeout server 35s"),
    ],
    "KH745": [
        ("option httpchk GET /readyz => option ssl-hello-chk",),
        ("    option httpchk GET /readyz\n => ",),
        ("option httpchk GET /readyz => option tcp-check",),
    ],
    "KH746": [
        ("inter 1s fastinter 500ms fall 2 rise 3 => inter 10000 fall 2 rise 2",),
        ("inter 1s fastinter 500ms fall 2 => inter 1s fall 10",),
        ("inter 1s fastinter 500ms fall 2 => inter 9s fastinter 1s fall 2",),
    ],
    "KH747": [
        ("    option redispatch 1\n => ",),
        ("option redispatch 1 => no option redispatch",),
        (f"{BACKEND} => {BACKEND}    no option redispatch\n",),
        ("retries 3 => retries 0",),
    ],
    "KH748": [
        ("timeout connect 1s => timeout connect 5s",),
        ("option redispatch 1 => option redispatch", "timeout connect 1s => timeout connect 1500"),
        ("option redispatch 1 => option redispatch", "retries 3 => retries 20"),
    ],
    "KH749": [
        ("maxconn 8000 => maxconn 8000\n    nbproc 2",),
        ("GET /readyz => GET /readyz HTTP/1.1\\r\\nHost:\\ kubernetes",),
    ],
    "KH752": [
        ("fall 2 rise 3 => fall 2 rise 3 tcp-ut 5s",),
        ("retries 3 => retries 3\n    default-server tcp-ut 5s",),
    ],
    "KH753": [
        ("verifyhost kubernetes => verifyhost 198.51.100.10",),
        ("tcp-ut 5s => tcp-ut 5s verifyhost 2001:db8::1",),
    ],
    "KH754": [("bind :8443 => bind :6443",), ("bind :8443 => bind [::]:6443 v4v6",)],
    "KH755": [("bind :8443 => bind 198.51.100.11:6443",)],
    "KH756": [
        (f"{LINE} => {LINE} no-check",),
        (f"{SHARED} => default-server rise 3",),
    ],
    "KH757": [
        ("verify required ca-file /etc/ca.pem => verify none",),
        (f"{LINE} => {LINE} verify none",),
    ],
    "KH758": [(f"{BACKEND} => {BACKEND}    option ssl-hello-chk\n",)],
    "KH759": [
        ("maxconn 8000 => maxconn 500",),
        ("bind :8443 => bind :8443\n    maxconn 200",),
        (f"{LINE} => {LINE} maxconn 250 maxqueue 256",),
    ],
    "KH760": [
        ("    timeout connect 1s\n => ",),
        ("timeout connect 1s => timeout connect 0",),
        ("    timeout client 4h\n => ",),
        ("    timeout server 4h\n => ",),
    ],
    "KH761": [("    timeout check 2s\n => ",)],
    "KH762": [
        ("bind :8443 => mode http\n    bind :8443",),
        ("bind :8443 => mode http\n    bind :8443 ssl crt /etc/x.pem",),
    ],
    "KH763": [
        ("option tcplog => option httplog",),
        ("retries 3 => retries 3\n    option http-server-close",),
        (f"{BACKEND} => {BACKEND}    option forwardfor\n",),
    ],
    "KH764": [("check check-ssl => check",)],
    "KH765": [(f"{SERVERS} => {SERVERS.splitlines()[0]}\n",)],
    "KH766": [
        (
            "fall 2 rise 3 => fall 2 observe layer4 error-limit 3 on-error mark-down "
            "on-marked-down shutdown-sessions",
        )
    ],
    "KH767": [("    hard-stop-after 1h\n => ",)],
    "KH768": [("chroot /var/lib/haproxy => chroot /srv/empty",)],
    "KH769": [
        ("    user haproxy\n => ",),
        ("user haproxy => user root",),
        ("user haproxy => uid 0",),
    ],
    "KH770": [("    chroot /var/lib/haproxy\n => ",)],
    "KH771": [
        ("/run/haproxy/admin.sock => /run/other/admin.sock",),
        ("/run/haproxy/admin.sock => unix@/var/run/other/admin.sock",),
    ],
    "KH772": [
        ("socket /run/haproxy/admin.sock mode 660 => socket ipv4@0.0.0.0:9999",),
        ("socket /run/haproxy/admin.sock mode 660 => socket :9999",),
        ("mode 660 => mode 666",),
    ],
    "KH773": [("198.51.100.12 => 198.51.100.11",)],
    "KH741": [
        ("maxconn 8000 => maxconn '8000",),
        ("bind :8443 => bind :8443\n    use_backend none if TRUE",),
    ],
    "KH742": [("user haproxy => .if feature(OPENSSL)\n    user haproxy\n.endif",)],
}
# edits that nearly provoke that code, and nothing
NEARLY = {
    "KH743": [
        ("balance roundrobin => balance leastconn",),
        (
            "balance roundrobin => balance source",
            f"{SERVERS} => {SERVERS.splitlines()[0]} backup\n",
        ),
    ],
    "KH744": [
        ("timeout tunnel 4h => timeout tunnel 10m",),
        ("timeout client 4h => timeout client 50s",),
        ("timeout tunnel 4h => timeout queue 5s", "timeout client 4h => timeout client 1h"),
    ],
    "KH745": [("option httpchk GET /readyz => option httpchk\n    http-check send uri /readyz",)],
    "KH746": [("inter 1s fastinter 500ms fall 2 => inter 9s fastinter 500ms fall 2",)],
    "KH747": [("option redispatch 1 => option redispatch 2",)],
    "KH748": [
        ("timeout connect 1s => timeout connect 3s",),
        ("retries 3 => retries 20",),
        ("option redispatch 1 => option redispatch",),
    ],
    "KH749": [("maxconn 8000 => maxconn 8000\n    nbthread 2\n    # nbproc 2",)],
    "KH752": [("tcp-ut 5s => tcp-ut 5s #",)],
    "KH753": [("verifyhost kubernetes => verifyhost 10.kubernetes.example",)],
    "KH754": [("bind :8443 => bind :16443",), ("bind :8443 => bind 127.0.0.1:6443",)],
    "KH755": [("bind :8443 => bind 198.51.100.11:8443",)],
    "KH756": [
        (f"{LINE} => {LINE} no-check disabled",),
        (f"{LINE} => {LINE} track kube-masters/m2",),
    ],
    "KH757": [("verify required => verify none verify required",)],
    "KH758": [(f"{BACKEND} => {BACKEND}    option httpchk\n",)],
    "KH759": [("bind :8443 => bind :8443\n    maxconn 4000",), (f"{LINE} => {LINE} maxconn 0",)],
    "KH760": [("timeout connect 1s => timeout connect 900ms",)],
    "KH762": [
        (
            "mode tcp => mode http",
            "bind :8443 => mode tcp\n    bind :8443",
            f"{BACKEND} => {BACKEND}    mode tcp\n",
        )
    ],
    "KH763": [
        ("option tcplog => option httplog\n    no option httplog",),
        (
            "option tcplog => option httplog",
            "bind :8443 => option tcplog\n    bind :8443",
            f"{BACKEND} => {BACKEND}    option tcplog\n",
        ),
    ],
    "KH764": [
        ("check check-ssl => check", f"{BACKEND} => {BACKEND}    http-check connect ssl\n"),
        ("check check-ssl => check port 8080",),
        ("check check-ssl => check ssl",),
    ],
    "KH766": [
        ("fall 2 rise 3 => fall 2 observe layer4 error-limit 3 on-error mark-down",),
        ("fall 2 rise 3 => fall 2 on-marked-down shutdown-sessions",),
    ],
    "KH768": [("chroot /var/lib/haproxy => chroot /srv/empty", "/dev/log => 127.0.0.1:514")],
    "KH769": [("user haproxy => uid 110",)],
    "KH771": [("/run/haproxy/admin.sock => /var/lib/haproxy/admin.sock",)],
    "KH772": [
        ("socket /run/haproxy/admin.sock mode 660 => socket 127.0.0.1:9999",),
        ("mode 660 level admin => mode 666 level user",),
    ],
    "KH773": [("server m2 198.51.100.12 => server m2 198.51.100.11", "server m2 => # m2")],
    "KH741": [("bind :8443 => bind :8443\n    use_backend %[src,map(/etc/m)]",)],
    "KH742": [("user haproxy => .if streq(a,a)\n    user haproxy\n.endif",)],
}


def cases(table: dict[str, list[tuple[str, ...]]]) -> list[object]:
    """A parameter set a case, named by its code and what it changes."""
    return [
        pytest.param(code, edits, id=f"{code}-{number}")
        for code, several in table.items()
        for number, edits in enumerate(several)
    ]


def test_a_file_without_fault() -> None:
    assert findings(GOOD) == ()
    assert findings(GOOD, (2, 6, 12)) == ()


@pytest.mark.provokes(*PROVOKING)
@pytest.mark.parametrize(("code", "edits"), cases(PROVOKING))
def test_a_fault_is_found_and_nothing_else(code: str, edits: tuple[str, ...]) -> None:
    """The finding names a line of the file, and shows it."""
    text = edited(*edits)
    found = findings(text)
    assert {each.code for each in found} == {code}
    for each in found:
        assert each.line and each.fix and each.message
        if each.code != "KH742":
            assert each.evidence == text.splitlines()[each.line - 1].strip()


@pytest.mark.parametrize(("code", "edits"), cases(NEARLY))
def test_what_is_nearly_a_fault_is_none(code: str, edits: tuple[str, ...]) -> None:
    assert code not in codes(edited(*edits))


@pytest.mark.provokes("KH750", "KH751")
def test_statistics_page() -> None:
    """KH750 open, KH751 with orders; none on loopback, in TCP mode, or with settings alone."""

    def page(bind: str, mode: str = "http", more: str = "") -> list[str]:
        return codes(GOOD + PAGE.format(bind=bind, mode=mode, more=more))

    auth, admin = "    stats auth admin:123456", "    stats admin if TRUE"
    assert page("0.0.0.0:10080") == ["KH750"]
    assert page(":10080", more=auth) == ["KH750"]
    assert page("*:10080", more=f"{auth}\n{admin}") == ["KH751"]
    assert page("127.0.0.1:10080", more=admin) == []
    assert page("[::1]:10080", more=admin) == []
    assert page("/run/haproxy/page.sock", more=admin) == []
    assert page(":10080", mode="tcp") == []


@pytest.mark.provokes("KH750")
def test_no_password_is_shown() -> None:
    page = PAGE.format(bind=":1", mode="http", more="    stats auth admin:sec'ret")
    for found in findings(GOOD + page):
        assert "sec'ret" not in str(found)
    assert sorted(codes(GOOD + page)) == ["KH741", "KH750"]


@pytest.mark.provokes("KH749")
def test_with_a_version_a_refused_keyword_is_an_error() -> None:
    """KH749: known to be refused, known to be accepted, or not known."""
    text = edited("maxconn 8000 => maxconn 8000\n    nbproc 2")
    assert [f.severity for f in findings(text)] == [Severity.WARNING]
    assert [f.severity for f in findings(text, (2, 6))] == [Severity.ERROR]
    assert findings(text, (2, 4)) == ()
    newer = edited("retries 3 => retries 3\n    clitcpka-idle 30s")
    assert codes(newer) == codes(newer, (2, 4)) == []
    assert codes(newer, (1, 8, 27)) == ["KH749"]


@pytest.mark.provokes("KH754")
def test_a_port_in_common_is_judged_by_the_machines_address() -> None:
    """KH754: an error on the node of such a server, nothing on another machine."""
    text = edited("bind :8443 => bind :6443")
    here, elsewhere = ip_address("198.51.100.11"), ip_address("198.51.100.99")
    assert [f.severity for f in findings(text, own=frozenset({here}))] == [Severity.ERROR]
    assert findings(text, own=frozenset({elsewhere})) == ()


@pytest.mark.provokes("KH771")
def test_run_directory_is_silent_only_where_it_is_known_to_be_made() -> None:
    """KH771: not known, known not to be made, known to be made."""
    assert [f.code for f in findings(GOOD, created=None)] == ["KH771"]
    assert [f.code for f in findings(GOOD, created=frozenset())] == ["KH771"]
    assert findings(GOOD) == ()


def test_only_what_leads_to_api_servers_is_judged() -> None:
    """Another service in the same file may hash and check as it likes."""
    other = """
listen database
    mode tcp
    bind :5432
    balance source
    server db1 198.51.100.31:5432
"""
    assert findings(GOOD + other) == ()
    alone = other.replace("database", "kubernetes")
    assert "KH756" in codes(GOOD + alone)


def test_defaults_that_count_for_a_proxy() -> None:
    """Named with from, or else the last one before it."""
    second = "\ndefaults slow from first\n    timeout tunnel 30s\n"
    named = GOOD.replace("defaults\n", "defaults first\n")
    assert codes(named + second) == []
    assert codes(named.replace(BACKEND, second + BACKEND)) == ["KH744"]
    chosen = named.replace(BACKEND, second + "\nbackend kube-masters from first\n")
    assert codes(chosen) == []
