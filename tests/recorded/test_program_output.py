"""What programs really printed, and what we make of it: one case per pair of files.

`<parser>/<case>.txt` is the output as it was, `<case>.json` says where it was taken and what the
parser must return. Rewrite the latter after a deliberate change with `pytest --update-golden`, and
read the difference.
"""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest

from kubeha import facts, haproxy, keepalived
from kubeha.facts import wire

HERE = Path(__file__).parent
PARSERS = {
    "haproxy_stat": haproxy.api_servers,
    "haproxy_info": haproxy.parse_info,
    "haproxy_version": haproxy.parse_version,
    "keepalived_json": keepalived.parse_states,
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
CASES = sorted(path for path in HERE.glob("*/*.txt") if path.parent.name in PARSERS)


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
