"""All files that were given -> every finding: each file, each node's pair, all nodes together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from kubeha.grammar.haproxy_addresses import Ip
from kubeha.grammar.haproxy_conditions import Version
from kubeha.grammar.keepalived import Parsed, parse
from kubeha.grammar.keepalived_lines import Read
from kubeha.grammar.virtual_router import virtual_routers
from kubeha.lint import FileFinding, fleet, haproxy, pair
from kubeha.lint.haproxy_subject import Subject, subject
from kubeha.lint.keepalived import lint_keepalived, views
from kubeha.lint.sources import Grammar, NodeFiles, Source, by_node, created


@dataclass(frozen=True)
class Programs:
    """What is known of the programs that will read the files; None: nothing."""

    haproxy: Version | None = None
    keepalived: Version | None = None


def judge(
    sources: Sequence[Source], programs: Programs | None = None, read: Read | None = None
) -> tuple[FileFinding, ...]:
    """Every finding on these files. `read` finds what a keepalived.conf includes.

    Raises UsageError if a node has two files of one kind; never anything for what is in them.
    """
    known = programs or Programs()
    keepaliveds: dict[str, Parsed] = {}
    subjects: dict[str, Subject] = {}
    found: list[FileFinding] = []
    nodes = by_node(sources)
    for files in nodes:
        parsed, read_haproxy = _read(files, known, read)
        if parsed is not None:
            keepaliveds[files.node] = parsed
        if read_haproxy is not None:
            subjects[files.node] = read_haproxy
            found += haproxy.judge(read_haproxy)
        if parsed is not None and read_haproxy is not None:
            found += pair.judge(pair.Pair(read_haproxy, parsed, _scripts(files)))
    found += lint_keepalived(_views(nodes, read), known.keepalived)
    if len(nodes) > 1:
        found += fleet.judge(keepaliveds, subjects)
    return tuple(replace(each, node=each.node or _node(nodes, each.file)) for each in found)


def _read(
    files: NodeFiles, known: Programs, read: Read | None
) -> tuple[Parsed | None, Subject | None]:
    """Both files of a node; keepalived's tells the machine's addresses to the other's rules."""
    parsed = None
    if files.keepalived is not None:
        parsed = parse(files.keepalived.text, files.keepalived.name, read=read)
    if files.haproxy is None:
        return parsed, None
    own = _own(parsed) if parsed else None
    return parsed, subject(
        files.haproxy.name,
        files.haproxy.text,
        version=known.haproxy,
        node=files.node,
        created=created(files.others),
        own=own,
    )


def _views(nodes: Sequence[NodeFiles], read: Read | None) -> list[Parsed]:
    """Every keepalived.conf, once for each machine that conditions in it name."""
    given = [files.keepalived for files in nodes if files.keepalived is not None]
    return [view for each in given for view in views(each.name, each.text, read)]


def _own(parsed: Parsed) -> frozenset[Ip] | None:
    """The machine's addresses as its keepalived.conf tells them."""
    told = {
        address
        for router in virtual_routers(parsed)
        for address in (router.unicast_src_ip, router.mcast_src_ip)
        if address is not None
    }
    return frozenset(told) or None


def _scripts(files: NodeFiles) -> dict[str, str]:
    return {
        PurePosixPath(each.name).name: each.text
        for each in files.others
        if each.grammar is Grammar.SCRIPT
    }


def _node(nodes: Sequence[NodeFiles], file: str) -> str:
    """Whose file it is."""
    for node in nodes:
        if any(each is not None and each.name == file for each in (node.haproxy, node.keepalived)):
            return node.node
    return ""
