"""Hand-written keepalived.conf files for tests, and what lint says of them."""

from pathlib import Path

from kubeha.lint.keepalived import lint_keepalived, views

DATA = Path(__file__).parent / "data"
# Nothing to find: each rule's test changes one thing in it.
GOOD = """\
global_defs {
    router_id m1
    script_user nobody
    enable_script_security
    vrrp_version 3
    vrrp_garp_master_refresh 10
    vrrp_rt_priority 50
    vrrp_rlimit_rttime 1000000
    vrrp_startup_delay 0
}

vrrp_script check {
    script "/usr/local/bin/check-endpoint 8443"
    interval 1
    fall 2
    weight -60
}

vrrp_instance api {
    state BACKUP
    interface eth0
    virtual_router_id 77
    priority 200
    advert_int 0.2
    unicast_src_ip 198.51.100.11
    unicast_peer {
        198.51.100.12
        198.51.100.13
    }
    track_script {
        check
    }
    virtual_ipaddress {
        198.51.100.10/32 dev eth0
    }
}
"""


def changed(*changes: tuple[str, str]) -> str:
    """GOOD with these replacements; each must find its text."""
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def lint(*texts: str, version: tuple[int, ...] | None = None):
    """Findings on these files, called m1, m2, ..."""
    files = [(f"m{number}/keepalived.conf", text) for number, text in enumerate(texts, start=1)]
    return lint_keepalived([view for file in files for view in views(*file)], version)


def codes(*texts: str, version: tuple[int, ...] | None = None) -> list[str]:
    """Their codes, by file and line."""
    return [found.code for found in lint(*texts, version=version)]
