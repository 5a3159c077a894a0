"""Rulesets of any shape never end in a traceback, and never in a false alarm."""

import json
from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kubeha.facts.iptables_rules import parse_iptables
from kubeha.facts.nft_rules import parse_nft
from kubeha.facts.packet_filter import (
    TCP,
    UNKNOWN,
    VRRP,
    Chain,
    Packet,
    Rule,
    Table,
    Verdict,
    dropped,
)

RECORDED = Path(__file__).parents[1] / "recorded"
RULESETS = [path.read_text() for path in sorted(RECORDED.glob("nft_ruleset/*.txt"))]
SAVES = [path.read_text() for path in sorted(RECORDED.glob("iptables_save/*.txt"))]
HERE, THERE = ip_address("198.51.100.12"), ip_address("198.51.100.11")
PACKETS = (
    Packet(TCP, THERE, HERE, 8443, "eth0"),
    Packet(VRRP, THERE, HERE, None, None),
    Packet(VRRP, HERE, THERE, None, "eth0", ("output", "postrouting")),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def judged(tables: tuple[Table, ...] | None) -> None:
    for packet in PACKETS:
        dropped(tables or (), packet)


@given(st.sampled_from(RULESETS), st.data())
def test_a_ruleset_with_one_wrong_value(text: str, data: st.DataObject) -> None:
    try:
        tree = json.loads(text)
    except ValueError:
        assert parse_nft(text) is None
        return
    branch = tree["nftables"][data.draw(st.integers(0, len(tree["nftables"]) - 1))]
    while isinstance(branch, dict | list) and branch:
        keys = list(branch) if isinstance(branch, dict) else list(range(len(branch)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(branch[key], dict | list) or data.draw(st.booleans()):
            branch[key] = data.draw(VALUES)
            break
        branch = branch[key]
    judged(parse_nft(json.dumps(tree)))


def test_a_chain_without_a_name_and_a_statement_of_nothing_are_not_understood() -> None:
    chain = {"family": "inet", "table": "filter", "name": "input", "hook": "input"}
    rule = {"family": "inet", "table": "filter", "chain": "input", "expr": [{}]}
    for odd in ([{"chain": {**chain, "name": None}}], [{"chain": chain}, {"rule": rule}]):
        assert parse_nft(json.dumps({"nftables": odd})) is None


@given(st.sampled_from(SAVES), st.integers(0, 8000), st.text(max_size=20))
def test_a_save_with_something_in_the_middle(text: str, where: int, word: str) -> None:
    judged(parse_iptables(text[:where] + word + text[where:], "ip"))


@given(st.text())
def test_any_text(text: str) -> None:
    judged(parse_nft(text))
    judged(parse_iptables(f"*filter\n{text}\nCOMMIT\n", "ip"))


RULES = st.builds(
    Rule,
    st.just(()) | st.just((UNKNOWN,)),
    st.sampled_from(Verdict),
    st.sampled_from(["a", "b", "c", "nowhere"]),
)
CHAINS = st.lists(RULES, max_size=4).map(tuple)


@given(CHAINS, CHAINS, CHAINS, st.sampled_from([Verdict.ACCEPT, Verdict.DROP]))
def test_a_way_to_accept_is_never_overlooked(
    a: tuple[Rule, ...], b: tuple[Rule, ...], c: tuple[Rule, ...], policy: Verdict
) -> None:
    """Against a walk that takes every doubtful rule one way or the other, all ways tried."""
    chains = {"a": Chain("a", a, "input", policy), "b": Chain("b", b), "c": Chain("c", c)}
    drop = dropped((Table("nft", "inet", "t", chains),), PACKETS[0])
    ends = every_end(chains, "a", 0)
    if drop is not None:
        assert not ends & {"accept", "lost"} and (policy is Verdict.DROP or "fall" not in ends)


def every_end(chains: dict[str, Chain], name: str, depth: int) -> set[str]:
    """How a packet can leave a chain; "lost" where chains lead in circles or nowhere."""
    if name not in chains or depth > 5:
        return {"lost"}
    ends: set[str] = set()
    for rule in chains[name].rules:
        after = one_rule(chains, rule, depth)
        if rule.matches:
            after |= {"fall"}
        ends |= after - {"fall"}
        if "fall" not in after:
            return {"fall" if end == "return" else end for end in ends}
    return {"fall" if end == "return" else end for end in ends} | {"fall"}


def one_rule(chains: dict[str, Chain], rule: Rule, depth: int) -> set[str]:
    match rule.verdict:
        case Verdict.NOTHING:
            return {"fall"}
        case Verdict.UNKNOWN:
            return {"accept", "drop", "fall"}
        case Verdict.JUMP:
            return every_end(chains, rule.target, depth + 1)
        case Verdict.GOTO:
            ends = every_end(chains, rule.target, depth + 1)
            return {"return" if end == "fall" else end for end in ends}
        case verdict:
            return {verdict.value}
