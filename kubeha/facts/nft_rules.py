"""`nft -j list ruleset` -> tables of rules (libnftables-json(5)).

What iptables-nft put there shows as opaque `xt` expressions: nothing can be told of those here,
`iptables-save` shows them in full.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from kubeha.facts.packet_filter import (
    PROTOCOLS,
    TCP,
    UNKNOWN,
    Chain,
    Match,
    Rule,
    Table,
    Verdict,
)

_FAMILIES = ("ip", "ip6", "inet", "netdev")
_VERDICTS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.DROP,
    "return": Verdict.RETURN,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "queue": Verdict.UNKNOWN,
}
# Statements after which the next one of the rule is looked at whatever they find.
_HARMLESS = frozenset(
    ("counter", "log", "mangle", "notrack", "ct helper", "comment", "meter", "last", "secmark")
)
_META = {
    "l4proto": "protocol",
    "nfproto": "family",
    "protocol": "family",
    "iifname": "in",
    "iif": "in",
    "oif": "out",
    "oifname": "out",
}
_WORDS = ("state", "status", "in", "out", "destination type")
_FAMILY_NUMBERS = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}


@dataclass
class _Named:
    """What the rules of one table may refer to: chains in their order, sets and maps by name."""

    chains: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    sets: dict[str, Sequence[Any] | None] = field(default_factory=dict)


def parse_nft(text: str) -> tuple[Table, ...] | None:
    """Every table; None if it is not that JSON (cut off, an error message)."""
    try:
        objects = json.loads(text)["nftables"]
        return tuple(_tables(objects))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError):
        return None


def _tables(objects: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    found: dict[tuple[str, str], _Named] = {}
    for each in objects:
        for kind, thing in each.items():
            if kind in ("chain", "rule", "set", "map") and thing["family"] in _FAMILIES:
                table = found.setdefault((thing["family"], _name(thing, "table")), _Named())
                _remember(table, kind, thing)
    for (family, name), table in found.items():
        chains = {key: _chain(chain, table) for key, chain in table.chains.items()}
        yield Table("nft", family, name, chains)


def _remember(table: _Named, kind: str, thing: Mapping[str, Any]) -> None:
    if kind == "chain":
        table.chains[_name(thing)] = thing
    elif kind == "rule":
        table.rules.setdefault(_name(thing, "chain"), []).append(thing)
    else:
        # What comes and goes by itself may be there or not when it matters.
        changing = set(thing.get("flags", ())) & {"dynamic", "timeout"}
        table.sets[_name(thing)] = None if changing else thing.get("elem", ())


def _name(thing: Mapping[str, Any], key: str = "name") -> str:
    """Raises TypeError for what no nft prints; whoever reads the name later counts on a text."""
    name = thing[key]
    if not isinstance(name, str):
        raise TypeError(f"{key} is {name!r}")
    return name


def _kind(thing: Mapping[str, Any]) -> tuple[str, Any]:
    """What nft's JSON wraps most things in: an object whose one key says what its value is.

    Raises ValueError for an empty one. Not StopIteration, which would end a generator above.
    """
    (kind, what), *_ = thing.items()
    return kind, what


def _chain(chain: Mapping[str, Any], table: _Named) -> Chain:
    rules = [rule for each in table.rules.get(chain["name"], ()) for rule in _rules(each, table)]
    decides = chain.get("type") == "filter"
    policy = Verdict.DROP if chain.get("policy") == "drop" else Verdict.ACCEPT
    device = chain.get("dev", "")
    return Chain(
        chain["name"],
        tuple(rules),
        str(chain.get("hook", "")) if decides else "",
        policy,
        device if isinstance(device, str) else "",
    )


def _rules(rule: Mapping[str, Any], table: _Named) -> Iterator[Rule]:
    """A rule, or several for a verdict map: one for each of its elements."""
    matches: list[Match] = []
    words = [_words(statement) for statement in rule["expr"]]
    text = f"{' '.join(filter(None, words))} (handle {rule.get('handle', '?')})"
    for statement in rule["expr"]:
        kind, value = _kind(statement)
        if kind == "match":
            matches += _match(value, table)
        elif kind in _VERDICTS:
            target = str(value["target"]) if kind in ("jump", "goto") else ""
            yield Rule(tuple(matches), _VERDICTS[kind], target, text)
        elif kind == "vmap":
            yield from _verdict_map(value, tuple(matches), table, text)
        elif kind == "xt" and value.get("type") == "target":
            yield Rule(tuple(matches), Verdict.UNKNOWN, text=text)
        elif kind not in _HARMLESS:
            matches.append(UNKNOWN)


def _verdict_map(
    vmap: Mapping[str, Any], matches: tuple[Match, ...], table: _Named, text: str
) -> Iterator[Rule]:
    elements = _elements(vmap["data"], table)
    fields = _field(vmap["key"])
    if elements is None or fields is None:
        yield Rule((*matches, UNKNOWN), Verdict.UNKNOWN, text=text)
        return
    for key, outcome in elements:
        kind, value = _kind(outcome)
        target = str(value["target"]) if kind in ("jump", "goto") else ""
        verdict = _VERDICTS.get(kind, Verdict.NOTHING)
        yield Rule((*matches, *_compare(fields, [key], False)), verdict, target, text)


def _elements(right: Any, table: _Named) -> Sequence[Any] | None:
    """The elements of a set, named ("@name") or in place; None where they are not known."""
    if isinstance(right, str) and right.startswith("@"):
        return table.sets.get(right[1:])
    if isinstance(right, dict) and "set" in right:
        elements = right["set"]
        return elements if isinstance(elements, list) else None
    return right if isinstance(right, list) else [right]


def _match(match: Mapping[str, Any], table: _Named) -> list[Match]:
    fields = _field(match["left"])
    elements = _elements(match["right"], table)
    if fields is None or elements is None or match["op"] not in ("==", "!=", "in"):
        # What does not concern the protocol at all is certain to fail, whatever it compares.
        return [*(fields[:-1] if fields else _only_protocol(match["left"])), UNKNOWN]
    return _compare(fields, elements, match["op"] == "!=")


def _field(left: Mapping[str, Any]) -> tuple[Match | str, ...] | None:
    """What an expression needs to be there (its protocol), and last the field that it compares."""
    kind, what = _kind(left)
    if kind == "meta":
        name = _META.get(what["key"])
        return (name,) if name else None
    if kind == "ct":
        return (what["key"],) if what["key"] in ("state", "status") else None
    if kind == "fib":
        plain = what.get("result") == "type" and what.get("flags") in ("daddr", ["daddr"])
        return ("destination type",) if plain else None
    if kind != "payload":
        return None
    protocol, name = what.get("protocol"), what.get("field")
    if protocol in ("ip", "ip6") and name in _ADDRESSES:
        return (_version(protocol), _ADDRESSES[name])
    if protocol in ("ip", "ip6") and name in ("protocol", "nexthdr"):
        return (_version(protocol), "protocol")
    if name == "dport" and protocol in ("tcp", "th"):
        return (Match("protocol", ((TCP, TCP),)), "port")
    return None


_ADDRESSES = {"saddr": "source", "daddr": "destination"}


def _version(protocol: str) -> Match:
    number = _FAMILY_NUMBERS[protocol]
    return Match("family", ((number, number),))


def _only_protocol(left: Mapping[str, Any]) -> list[Match]:
    """`udp dport` and the like match no packet of another protocol, whatever their values."""
    inner = left.get("&", [left])[0] if "&" in left else left
    payload = inner.get("payload") if isinstance(inner, dict) else None
    name = payload.get("protocol") if isinstance(payload, dict) else None
    if name in ("ip", "ip6"):
        return [_version(name)]
    number = PROTOCOLS.get(str(name))
    return [Match("protocol", ((number, number),))] if number else []


def _compare(fields: tuple[Match | str, ...], elements: Sequence[Any], no: bool) -> list[Match]:
    *needed, name = fields
    first = [match for match in needed if isinstance(match, Match)]
    if not isinstance(name, str):
        return [*first, UNKNOWN]
    ranges: list[tuple[int, int]] = []
    words: list[str] = []
    for element in elements:
        value = _plain(element)
        if name in _WORDS:
            if not isinstance(value, str):
                return [*first, UNKNOWN]
            words.append(value)
        elif (pair := _range(name, value)) is not None:
            ranges.append(pair)
        else:
            return [*first, UNKNOWN]
    return [*first, Match(name, tuple(ranges), tuple(words), no)]


def _plain(element: Any) -> Any:
    """An element without its counter, comment or time to live."""
    if isinstance(element, dict) and "elem" in element:
        return _plain(element["elem"]["val"])
    return element


def _range(name: str, value: Any) -> tuple[int, int] | None:
    """The numbers that a value stands for; None if it is not understood."""
    if isinstance(value, dict):
        if "range" in value:
            low, high = (_number(name, one) for one in value["range"])
            return (low, high) if low is not None and high is not None else None
        if "prefix" in value and name in ("source", "destination"):
            prefix = value["prefix"]
            network = ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
            return int(network.network_address), int(network.broadcast_address)
        return None
    number = _number(name, value)
    return (number, number) if number is not None else None


def _number(name: str, value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if name in ("source", "destination"):
        try:
            return int(ip_address(value)) if isinstance(value, str) else None
        except ValueError:
            return None
    if isinstance(value, int):
        return value
    if name == "family":
        return _FAMILY_NUMBERS.get(value)
    if name == "protocol":
        return PROTOCOLS.get(value)
    return None


def _words(statement: Mapping[str, Any]) -> str:
    """A statement about as nft would print it, for people."""
    kind, value = _kind(statement)
    if kind == "match":
        sign = "" if value["op"] in ("==", "in") else f"{value['op']} "
        return f"{_said(value['left'])} {sign}{_said(value['right'])}"
    if kind == "vmap":
        return f"{_said(value['key'])} vmap {_said(value['data'])}"
    if kind in ("jump", "goto"):
        return f"{kind} {value['target']}"
    if kind == "reject" and isinstance(value, dict) and "expr" in value:
        return f"reject with {value.get('type', '')} {_said(value['expr'])}"
    return kind if kind in _VERDICTS or kind == "log" else ""


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"{{ {', '.join(_said(one) for one in value)} }}"
    if not isinstance(value, dict):
        return str(value)
    kind, what = _kind(value)
    if kind == "payload" and isinstance(what, dict):
        return f"{what.get('protocol', '')} {what.get('field', '')}".strip()
    if kind in ("meta", "ct"):
        return f"{kind} {what['key']}"
    if kind == "prefix":
        return f"{what['addr']}/{what['len']}"
    if kind == "range":
        return f"{_said(what[0])}-{_said(what[1])}"
    if kind == "elem":
        return _said(what["val"])
    return _said(what) if kind == "set" else kind
