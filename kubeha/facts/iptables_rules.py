"""`iptables-save` -> tables of rules (iptables-save(8), iptables-extensions(8))."""

import re
import shlex
from ipaddress import ip_network

from kubeha.facts.packet_filter import PROTOCOLS, UNKNOWN, Chain, Match, Rule, Table, Verdict

_HOOKS = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}
# Tables whose drops count; nat decides nothing, and the others are rarely more than marks.
_TABLES = ("filter", "raw", "mangle")
# Targets that let the packet go on to the next rule.
_HARMLESS = frozenset(
    "LOG NFLOG ULOG MARK CONNMARK SECMARK CONNSECMARK TRACE CT NOTRACK SET TCPMSS DSCP TOS TTL HL"
    " CHECKSUM CLASSIFY AUDIT".split()
)
_VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.DROP,
    "RETURN": Verdict.RETURN,
}
_CHAIN_LINE = re.compile(r":(?P<name>\S+) (?P<policy>\S+)")
# Options that say nothing by themselves: `-m MODULE`, comments.
_SILENT = frozenset(("-m", "--match", "--comment"))


def parse_iptables(text: str, family: str) -> tuple[Table, ...]:
    """The tables in the output of iptables-save (`family` ip) or ip6tables-save (ip6).

    A table that was cut off before its COMMIT is left out: rules that matter may be missing.
    """
    tables = []
    for block in re.split(r"^\*", text, flags=re.MULTILINE)[1:]:
        name, _, body = block.partition("\n")
        if name.strip() in _TABLES and re.search("^COMMIT$", body, re.MULTILINE):
            tables.append(_table(name.strip(), body, family))
    return tuple(tables)


def _table(name: str, body: str, family: str) -> Table:
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for line in body.splitlines():
        if found := _CHAIN_LINE.match(line):
            policies[found["name"]] = found["policy"]
            rules.setdefault(found["name"], [])
        elif line.startswith("-A ") and len(words := _words(line)) > 1:
            rules.setdefault(words[1], []).append(_rule(words[2:], line, policies))
    program = "iptables" if family == "ip" else "ip6tables"
    chains = {chain: _chain(chain, found, policies) for chain, found in rules.items()}
    return Table(program, family, name, chains)


def _chain(name: str, rules: list[Rule], policies: dict[str, str]) -> Chain:
    policy = Verdict.DROP if policies.get(name) == "DROP" else Verdict.ACCEPT
    # A chain of a user's has "-" for a policy, even where it is called INPUT in another table.
    hook = _HOOKS.get(name, "") if policies.get(name, "-") != "-" else ""
    return Chain(name, tuple(rules), hook, policy)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _rule(words: list[str], line: str, chains: dict[str, str]) -> Rule:
    """One -A line. Everything after -j or -g belongs to the target."""
    matches: list[Match] = []
    negated = False
    index = 0
    while index < len(words):
        word = words[index]
        if word in ("-j", "-g", "--jump", "--goto"):
            target = words[index + 1] if index + 1 < len(words) else ""
            return _with_target(tuple(matches), target, word in ("-g", "--goto"), line, chains)
        if word == "!":
            negated = True
            index += 1
            continue
        values = _values(words[index + 1 :])
        if word not in _SILENT:
            matches.append(_match(word, values, negated))
        negated = False
        index += 1 + len(values)
    return Rule(tuple(matches), Verdict.NOTHING, text=line)


def _values(words: list[str]) -> list[str]:
    """What belongs to an option: everything up to the next option."""
    taken: list[str] = []
    for word in words:
        if taken and (word.startswith("-") or word == "!"):
            break
        if word.startswith("-") or word == "!":
            break
        taken.append(word)
    return taken


def _with_target(
    matches: tuple[Match, ...], target: str, goto: bool, line: str, chains: dict[str, str]
) -> Rule:
    if target in chains:
        return Rule(matches, Verdict.GOTO if goto else Verdict.JUMP, target, line)
    if target in _HARMLESS:
        return Rule(matches, Verdict.NOTHING, text=line)
    return Rule(matches, _VERDICTS.get(target, Verdict.UNKNOWN), text=line)


def _match(option: str, values: list[str], negated: bool) -> Match:
    """A condition; UNKNOWN for what is not understood."""
    if len(values) != 1:
        return UNKNOWN
    try:
        if name := _NUMBERS.get(option):
            ranges = tuple(_READ[name](value) for value in values[0].split(","))
            return Match(name, ranges, negated=negated)
    except ValueError:
        return UNKNOWN
    if name := _PATTERNS.get(option):
        return Match(name, words=(_pattern(values[0]),), negated=negated)
    if name := _WORDS.get(option):
        return Match(name, words=tuple(values[0].lower().split(",")), negated=negated)
    return UNKNOWN


def _protocol(value: str) -> tuple[int, int]:
    if value == "all":
        return 0, 255
    number = PROTOCOLS.get(value) or int(value)
    return number, number


def _network(value: str) -> tuple[int, int]:
    network = ip_network(value, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def _pattern(value: str) -> str:
    """iptables ends a prefix of names with "+"; the characters of fnmatch are none of a name's."""
    return f"{value[:-1]}*" if value.endswith("+") else value


def _ports(value: str) -> tuple[int, int]:
    low, colon, high = value.partition(":")
    return int(low or 0), int(high or 65535) if colon else int(low)


_NUMBERS = {
    "-p": "protocol",
    "--protocol": "protocol",
    "-s": "source",
    "--source": "source",
    "-d": "destination",
    "--destination": "destination",
    "--dport": "port",
    "--dports": "port",
    "--destination-ports": "port",
}
_READ = {"protocol": _protocol, "source": _network, "destination": _network, "port": _ports}
_PATTERNS = {"-i": "in", "--in-interface": "in", "-o": "out", "--out-interface": "out"}
_WORDS = {"--ctstate": "state", "--state": "state", "--dst-type": "destination type"}
