"""`kubeha lint`: findings on hand-written haproxy.cfg and keepalived.conf."""

import asyncio
import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options
from kubeha.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from kubeha.grammar.haproxy_conditions import Version
    from kubeha.grammar.keepalived_lines import Read
    from kubeha.lint import FileFinding
    from kubeha.lint.sources import Source
    from kubeha.lint.whole import Programs
    from kubeha.model import Ignore as Ignored

# A configuration of ten thousand lines has less.
LARGEST_FILE = 1_000_000
_STDIN = "-"


Files = typer.Argument(
    None, metavar="[NODE=]FILE...", help="haproxy.cfg, keepalived.conf; - is standard input."
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lint")(lint)


def lint(
    context: typer.Context,
    files: list[str] | None = Files,
    deployed: bool = typer.Option(
        False, "--deployed", help="Judge what is on the load balancer nodes of the cluster file."
    ),
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
    haproxy_version: str = typer.Option(
        "", metavar="VERSION", help="Judge for this HAProxy, such as 2.6.12."
    ),
    keepalived_version: str = typer.Option(
        "", metavar="VERSION", help="Judge for this keepalived, such as 2.2.7."
    ),
    exit_zero: bool = typer.Option(False, "--exit-zero", help="Exit with 0 whatever is found."),
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Judge hand-written files: each, both of a node together, and all nodes' against each other.

    Files of one directory (m1/haproxy.cfg, m1/keepalived.conf) or of one NODE= are one node's.
    Units, tmpfiles.d files and check scripts may be named too: they tell what the node has.
    """
    from kubeha.cli import output as out
    from kubeha.lint import as_json
    from kubeha.lint.whole import Programs

    json_wanted = options.output(output)
    known = Programs(_version(haproxy_version), _version(keepalived_version))
    if bool(files) is deployed:
        raise UsageError(
            "nothing to judge" if not deployed else "--deployed takes no files",
            hint="name files, as in: kubeha lint haproxy.cfg keepalived.conf; or write --deployed",
        )
    looked = (
        _on_the_nodes(context, ignore, ask_become_pass)
        if deployed
        else _given(files or (), options.ignores(ignore))
    )
    found = _judge(looked, known)
    if json_wanted:
        out.show_json({"version": 1, "findings": [as_json(each) for each in found]})
    else:
        _print(found, looked.sources)
    raise typer.Exit(_exit_code(found, looked, exit_zero))


@dataclass(frozen=True)
class _Looked:
    """What there is to judge. `lost`: nodes that could not be asked."""

    sources: "tuple[Source, ...]"
    read: "Read"
    programs: "Programs"
    ignores: "tuple[Ignored, ...]"
    lost: int = 0


def _given(files: "Sequence[str]", ignores: "tuple[Ignored, ...]") -> _Looked:
    from kubeha.lint.whole import Programs

    sources = tuple(_sources(files))
    here = all(os.path.isabs(source.name) for source in sources)
    return _Looked(sources, _included if here else _beside, Programs(), ignores)


def _on_the_nodes(context: typer.Context, ignore: list[str], ask: bool) -> _Looked:
    """The nodes' own files; who cannot be asked, or lacks a file, is told on standard error."""
    from kubeha.cli.cluster_file import load
    from kubeha.deployed_files import deployed_files
    from kubeha.lint.sources import Grammar
    from kubeha.lint.whole import Programs

    cluster = load(context, ignore=ignore)
    password = options.become_password(ask)
    nodes, lost = asyncio.run(deployed_files(cluster, password))
    for gone in lost:
        print(f"{gone.name}: cannot be asked: {gone.reason}", file=sys.stderr)
    for node in nodes:
        for grammar in (Grammar.HAPROXY, Grammar.KEEPALIVED):
            if not any(source.grammar is grammar for source in node.sources):
                print(f"{node.node}: no {grammar.value} that can be read", file=sys.stderr)
    sources = tuple(source for node in nodes for source in node.sources)
    versions = {
        name: {node.versions.get(name, "") for node in nodes} for name in ("haproxy", "keepalived")
    }
    programs = Programs(_same(versions["haproxy"]), _same(versions["keepalived"]))
    return _Looked(sources, lambda _: [], programs, cluster.ignore, len(lost))


def _same(versions: set[str]) -> "Version | None":
    """The version that all nodes have, without Debian's epoch; None if they differ."""
    from kubeha.grammar.haproxy_conditions import version_of

    try:
        (version,) = versions
        return version_of(version.rpartition(":")[2])
    except ValueError:
        return None


def _judge(looked: _Looked, known: "Programs") -> "tuple[FileFinding, ...]":
    """What is said on the command line about versions counts over what the nodes have."""
    from kubeha.checks.ignoring import ignoring
    from kubeha.lint.whole import Programs, judge

    programs = Programs(
        known.haproxy or looked.programs.haproxy, known.keepalived or looked.programs.keepalived
    )
    return ignoring(judge(looked.sources, programs, looked.read), looked.ignores)


def _exit_code(found: "Sequence[FileFinding]", looked: _Looked, exit_zero: bool) -> ExitCode:
    from kubeha.checks.finding import Severity, counted

    if exit_zero:
        return ExitCode.OK
    if any(each.severity is not Severity.INFO for each in counted(found)):
        return ExitCode.DOES_NOT_HOLD
    return ExitCode.UNKNOWN if looked.lost else ExitCode.OK


def _print(found: "Sequence[FileFinding]", sources: "Sequence[Source]") -> None:
    from kubeha.blocks import findings_summary
    from kubeha.cli import output as out
    from kubeha.lint.text import findings_text

    if found:
        out.show(findings_text(found))
    nodes = len({source.node for source in sources})
    out.show(
        f"{len(sources)} file{'s' if len(sources) > 1 else ''} of {nodes} "
        f"node{'s' if nodes > 1 else ''}: {findings_summary(found)}"
    )


def _version(text: str) -> "Version | None":
    from kubeha.grammar.haproxy_conditions import version_of

    if not text:
        return None
    try:
        return version_of(text)
    except ValueError as error:
        raise UsageError(str(error), hint="write it like 2.6.12") from None


def _sources(arguments: Sequence[str]) -> "list[Source]":
    """What the arguments name. Raises UsageError with the reason why a file cannot be used."""
    named = [_split(argument) for argument in arguments]
    if [name for _, name in named].count(_STDIN) > 1:
        raise UsageError("standard input can be read once only")
    return [_source(node, name) for node, name in dict.fromkeys(named)]


def _split(argument: str) -> tuple[str | None, str]:
    """NODE and FILE; a file whose own name has a = may be written as ./FILE."""
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", argument, re.DOTALL)
    return (match[1], match[2]) if match else (None, argument)


def _source(node: str | None, name: str) -> "Source":
    from kubeha.lint.sources import Source, node_of, recognise

    shown = "standard input" if name == _STDIN else name
    text = _decode(
        shown, sys.stdin.buffer.read(LARGEST_FILE + 1) if name == _STDIN else _read(name)
    )
    grammar = recognise(shown, text)
    if grammar is None:
        raise UsageError(
            f"{shown}: neither a haproxy.cfg nor a keepalived.conf",
            hint="name it haproxy.cfg or keepalived.conf if it is one",
        )
    return Source(shown, text, grammar, node_of(name) if node is None else node)


def _read(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except IsADirectoryError:
        raise UsageError(
            f"{name}: is a directory",
            hint=f"name the files in it: kubeha lint {name.rstrip('/')}/haproxy.cfg "
            f"{name.rstrip('/')}/keepalived.conf",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name}: cannot be read: {reason}") from None


def _decode(name: str, content: bytes) -> str:
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{name}: larger than {LARGEST_FILE} bytes: no configuration file")
    if b"\0" in content:
        raise UsageError(f"{name}: a binary file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{name}:{line}: byte 0x{content[error.start]:02x} is not UTF-8",
            hint=f"convert it: iconv -f ISO-8859-1 -t UTF-8 {name}",
        ) from None


def _included(pattern: str) -> list[tuple[str, str]]:
    """What a keepalived.conf includes, as far as it is here, at most a hundred files."""
    found = []
    for name in sorted(glob.glob(pattern))[:100]:
        if os.path.isfile(name):
            found.append((name, _decode(name, _read(name))))
    return found


def _beside(pattern: str) -> list[tuple[str, str]]:
    """The same for files that were named by a relative path: /etc of this machine is not theirs."""
    return [] if os.path.isabs(pattern) else _included(pattern)
