"""All files that were given -> every finding: each file, each node's pair, all nodes together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from kubeha.grammar.haproxy_addresses import Ip
from kubeha.grammar.haproxy_conditions import Version
from kubeha.grammar.keepalived import Parsed
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
    """Every finding on these files, by file and line. `read` finds what a keepalived.conf includes.

    Raises UsageError if a node has two files of one kind; never anything for what is in them.
    """
    known = programs or Programs()
    nodes = by_node(sources)
    parsed = {each.node: _views(each, read) for each in nodes if each.keepalived}
    subjects = {
        each.node: _subject(each, each.haproxy, known, parsed.get(each.node, ()))
        for each in nodes
        if each.haproxy
    }
    found = list(
        lint_keepalived([view for each in parsed.values() for view in each], known.keepalived)
    )
    for files in nodes:
        if files.node in subjects:
            found += haproxy.judge(subjects[files.node])
            for view in parsed.get(files.node, ()):
                found += pair.judge(pair.Pair(subjects[files.node], view, _scripts(files)))
    found += fleet.judge(_named(parsed), subjects)
    return _ordered(found, sources)


def _views(files: NodeFiles, read: Read | None) -> tuple[Parsed, ...]:
    """Its keepalived.conf as each machine takes it: one with conditions is several nodes'."""
    assert files.keepalived is not None
    return views(files.keepalived.name, files.keepalived.text, read)


def _named(parsed: Mapping[str, Sequence[Parsed]]) -> dict[str, Parsed]:
    """Node -> file; a file that is several nodes' stands under each of their ids."""
    return {
        node if len(own) == 1 else f"{node}@{view.config_id}": view
        for node, own in parsed.items()
        for view in own
    }


def _subject(
    files: NodeFiles, source: Source, known: Programs, keepalived: Sequence[Parsed]
) -> Subject:
    """A haproxy.cfg; keepalived's file tells the machine's addresses to its rules."""
    return subject(
        source.name,
        source.text,
        version=known.haproxy,
        node=files.node,
        created=created(files.others),
        own=_own(keepalived),
    )


def _own(views: Sequence[Parsed]) -> frozenset[Ip] | None:
    """The machine's addresses as its keepalived.conf tells them."""
    told = {
        address
        for view in views
        for router in virtual_routers(view)
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


def _ordered(found: Sequence[FileFinding], sources: Sequence[Source]) -> tuple[FileFinding, ...]:
    """In the order of the files; each with the node whose file it is, and none twice."""
    numbers = {source.name: number for number, source in enumerate(sources)}
    nodes = {source.name: source.node for source in sources}
    placed = [replace(each, node=each.node or nodes.get(each.file, "")) for each in found]
    return tuple(
        sorted(
            dict.fromkeys(placed),
            key=lambda f: (numbers.get(f.file, len(numbers)), f.file, f.line, f.code),
        )
    )
