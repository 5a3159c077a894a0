"""What programs really printed, and what we make of it: one case per pair of files.

`<parser>/<case>.txt` is the output as it was, `<case>.json` says where it was taken and what the
parser must return. Rewrite the latter after a deliberate change with `pytest --update-golden`, and
read the difference.
"""

import json
from dataclasses import asdict, is_dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from kubeha import facts, haproxy, keepalived
from kubeha.facts import (
    automation,
    iptables_rules,
    journal,
    kernel,
    machine,
    nft_rules,
    programs,
    wire,
)
from kubeha.facts.packet_filter import TCP, VRRP, Packet, dropped

HERE = Path(__file__).parent
PARSERS = {
    "haproxy_stat": haproxy.api_servers,
    "haproxy_info": haproxy.parse_info,
    "haproxy_version": haproxy.parse_version,
    "keepalived_json": keepalived.parse_states,
    "keepalived_journal": lambda text: journal.events(facts.parse_journal(text)),
    "keepalived_version": keepalived.parse_version,
    "keepalived_conf": lambda text: [
        keepalived.identity(text),
        [str(address) for address in keepalived.virtual_addresses(text)],
    ],
    "systemctl_show": facts.parse_units,
    "ip_address": lambda text: [facts.parse_addresses(text), facts.parse_links(text)],
    "vrrp_frames": lambda text: [
        wire.advert("eth0", bytes.fromhex(line)) for line in text.splitlines()
    ],
    "dpkg_query": lambda text: [facts.parse_dpkg(text), sorted(facts.parse_present(text))],
    "conffiles": facts.parse_conffiles,
    "ss_listeners": facts.parse_listeners,
    "df": facts.parse_free,
    "os_release": facts.parse_os_release,
}
PARSERS |= {
    "nft_ruleset": lambda text: judged(nft_rules.parse_nft(text)),
    "iptables_save": lambda text: judged(iptables_rules.parse_iptables(text, "ip")),
    "apt_config": lambda text: [
        automation.parse_config(text).get(key)
        for key in ("APT::Periodic::Unattended-Upgrade", "Unattended-Upgrade::Origins-Pattern::")
    ],
    "needrestart": lambda text: [
        automation.parse_mode(text), automation.parse_overrides(text),
    ],
    "apt_print_uris": lambda text: machine.parse_candidates(text, machine.PACKAGES),
    "proc_settings": kernel.parse_settings,
    "systemd_version": programs.parse_systemd_version,
}  # fmt: skip
CASES = sorted(path for path in HERE.glob("*/*.txt") if path.parent.name in PARSERS)


def judged(tables):
    """What a firewall does with what the endpoint needs: packet -> the rule that drops it."""
    if tables is None:
        return None
    here, there = ip_address("198.51.100.12"), ip_address("198.51.100.11")
    packets = {
        "tcp 8443": Packet(TCP, there, here, 8443, "eth0"),
        "tcp 6443": Packet(TCP, there, here, 6443, "eth0"),
        "tcp 22": Packet(TCP, there, here, 22, "eth0"),
        "vrrp": Packet(VRRP, there, here, None, "eth0"),
        "vrrp from a stranger": Packet(VRRP, ip_address("203.0.113.9"), here, None, "eth0"),
        "vrrp multicast": Packet(VRRP, there, ip_address("224.0.0.18"), None, "eth0"),
        "vrrp out": Packet(VRRP, here, there, None, "eth0", ("output", "postrouting")),
    }
    found = {name: dropped(tables, packet) for name, packet in packets.items()}
    return {name: str(drop) for name, drop in found.items() if drop}


def plain(value):
    """A parser's result as JSON has it."""
    return json.loads(json.dumps(value, default=lambda v: asdict(v) if is_dataclass(v) else str(v)))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_output(path, update_golden):
    result = plain(PARSERS[path.parent.name](path.read_text()))
    record = path.with_suffix(".json")
    if update_golden:
        taken = json.loads(record.read_text())["taken"] if record.exists() else "?"
        record.write_text(json.dumps({"taken": taken, "expected": result}, indent=2) + "\n")
    assert result == json.loads(record.read_text())["expected"]


def test_every_parser_has_a_good_and_a_broken_case():
    names = {parser: [path for path in CASES if path.parent.name == parser] for parser in PARSERS}
    assert all(len(paths) >= 2 for paths in names.values()), names


def test_every_case_says_where_it_was_taken():
    assert all(len(json.loads(p.with_suffix(".json").read_text())["taken"]) > 10 for p in CASES)
