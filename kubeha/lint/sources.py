"""Which file is what, and of which node."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from kubeha.errors import UsageError
from kubeha.grammar import BYTE_ORDER_MARK
from kubeha.grammar.haproxy import SECTIONS


class Grammar(StrEnum):
    """What a file is read as."""

    HAPROXY = "haproxy.cfg"
    KEEPALIVED = "keepalived.conf"
    # Not judged, but they tell what the node has: directories, and what a check script tests.
    UNIT = "systemd unit"
    TMPFILES = "tmpfiles.d"
    SCRIPT = "script"


@dataclass(frozen=True)
class Source:
    """One file as it was given. `node` may be empty: the machine has no name."""

    name: str
    text: str
    grammar: Grammar
    node: str = ""


@dataclass(frozen=True)
class NodeFiles:
    """What belongs to one node."""

    node: str
    haproxy: Source | None = None
    keepalived: Source | None = None
    others: tuple[Source, ...] = field(default=())


_KEEPALIVED = re.compile(
    r"^[ \t]*(global_defs|vrrp_\w+|virtual_server(_group)?|track_file|static_\w+)\b[^\n{]*(\{|$)",
    re.M,
)
_SECTION = "|".join(sorted(SECTIONS - {"cache", "ring", "program"}))
_HAPROXY = re.compile(rf"^[ \t]*(?:{_SECTION})(?:[ \t]+[^\s{{]+)*[ \t]*(?:#.*)?$", re.M)
_UNIT = re.compile(r"^\[(Unit|Service|Install)\]\s*$", re.M)
_TMPFILES = re.compile(r"^[dDfLq][+!-]* +/\S+ ", re.M)
# Where the programs look for their files: what is above is the node.
_PLACES = ("haproxy", "keepalived", "etc", "systemd", "system", "tmpfiles.d", "haproxy.service.d")
_NOT_A_NODE = re.compile(r"haproxy|keepalived|\.(cfg|conf|txt|bak)\b", re.I)


def recognise(name: str, text: str) -> Grammar | None:
    """By what is in the file, and where that does not decide, by its name; None: neither tells."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    if text.startswith("#!"):
        return Grammar.SCRIPT
    if _UNIT.search(text):
        return Grammar.UNIT
    ours, theirs = len(_HAPROXY.findall(text)), len(_KEEPALIVED.findall(text))
    if ours != theirs:
        return Grammar.HAPROXY if ours > theirs else Grammar.KEEPALIVED
    return _by_name(name) or (Grammar.TMPFILES if _TMPFILES.search(text) else None)


def _by_name(name: str) -> Grammar | None:
    path = PurePosixPath(name.lower())
    if path.suffix not in ("", ".cfg", ".conf", ".txt"):
        return None
    if "keepalived" in path.name:
        return Grammar.KEEPALIVED
    return Grammar.HAPROXY if "haproxy" in path.name or path.suffix == ".cfg" else None


def node_of(name: str) -> str:
    """The node whose file this is, by its path; empty where the path names none.

    `m1/haproxy.cfg`, `m1/etc/haproxy/haproxy.cfg` and `haproxy-m1.cfg` are m1's.
    """
    path = PurePosixPath(name)
    own = _NOT_A_NODE.sub("", path.name).strip("-_. ")
    if own and _NOT_A_NODE.search(path.name) and ("haproxy" in name or "keepalived" in name):
        if re.search(r"haproxy|keepalived", path.name, re.I):
            return own
    above = [part for part in path.parts[:-1] if part not in ("/", ".", "..")]
    while above and above[-1] in _PLACES:
        above.pop()
    return above[-1] if above else ""


def by_node(sources: Sequence[Source]) -> tuple[NodeFiles, ...]:
    """The nodes in the order in which they were named.

    Raises UsageError if a node would have two files of one kind.
    """
    nodes: dict[str, NodeFiles] = {}
    for source in sources:
        before = nodes.get(source.node, NodeFiles(source.node))
        nodes[source.node] = _with(before, source)
    return tuple(nodes.values())


def _with(node: NodeFiles, source: Source) -> NodeFiles:
    present: Mapping[Grammar, Source | None] = {
        Grammar.HAPROXY: node.haproxy,
        Grammar.KEEPALIVED: node.keepalived,
    }
    if source.grammar not in present:
        return NodeFiles(node.node, node.haproxy, node.keepalived, (*node.others, source))
    if (first := present[source.grammar]) is not None:
        whose = f" of node {node.node}" if node.node else ""
        raise UsageError(
            f"{first.name} and {source.name} are both a {source.grammar.value}{whose}",
            hint=f"say which is whose: kubeha lint m1={first.name} m2={source.name}",
        )
    if source.grammar is Grammar.HAPROXY:
        return NodeFiles(node.node, source, node.keepalived, node.others)
    return NodeFiles(node.node, node.haproxy, source, node.others)


def created(others: Sequence[Source]) -> frozenset[str] | None:
    """Directories below /run that units and tmpfiles make at each boot; None: no such file."""
    units = [each.text for each in others if each.grammar is Grammar.UNIT]
    tmpfiles = [each.text for each in others if each.grammar is Grammar.TMPFILES]
    if not units and not tmpfiles:
        return None
    found = {
        f"/run/{name}"
        for text in units
        for line in re.findall(r"^RuntimeDirectory=(.*)$", text, re.M)
        for name in line.split()
    }
    for text in tmpfiles:
        found |= {
            path.removeprefix("/var") if path.startswith("/var/run/") else path
            for path in re.findall(r"^[dD][+!-]*[ \t]+(/\S+)", text, re.M)
        }
    return frozenset(found)
