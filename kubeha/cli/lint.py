"""`kubeha lint`: findings on hand-written haproxy.cfg and keepalived.conf; no node is asked."""

import glob
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options
from kubeha.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from kubeha.grammar.haproxy_conditions import Version
    from kubeha.lint import FileFinding
    from kubeha.lint.sources import Source

# A configuration of ten thousand lines has less.
LARGEST_FILE = 1_000_000
_STDIN = "-"


Files = typer.Argument(
    ..., metavar="[NODE=]FILE...", help="haproxy.cfg, keepalived.conf; - is standard input."
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lint")(lint)


def lint(
    files: list[str] = Files,
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
    haproxy_version: str = typer.Option(
        "", metavar="VERSION", help="Judge for this HAProxy, such as 2.6.12."
    ),
    keepalived_version: str = typer.Option(
        "", metavar="VERSION", help="Judge for this keepalived, such as 2.2.7."
    ),
    exit_zero: bool = typer.Option(False, help="Exit with 0 whatever is found."),
) -> None:
    """Judge hand-written files: each, both of a node together, and all nodes' against each other.

    Files of one directory (m1/haproxy.cfg, m1/keepalived.conf) or of one NODE= are one node's.
    Units, tmpfiles.d files and check scripts may be named too: they tell what the node has.
    """
    from kubeha.checks.finding import counted
    from kubeha.checks.ignoring import ignoring
    from kubeha.cli import output as out
    from kubeha.lint import as_json
    from kubeha.lint.whole import Programs, judge

    json_wanted = options.output(output)
    ignores = options.ignores(ignore)
    programs = Programs(_version(haproxy_version), _version(keepalived_version))
    sources = _sources(files)
    here = all(os.path.isabs(source.name) for source in sources)
    found = ignoring(judge(sources, programs, _included if here else _beside), ignores)
    if json_wanted:
        out.show_json({"version": 1, "findings": [as_json(each) for each in found]})
    else:
        _print(found, sources)
    bad = any(each.severity.value != "info" for each in counted(found))
    raise typer.Exit(ExitCode.DOES_NOT_HOLD if bad and not exit_zero else ExitCode.OK)


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
        return content.decode("utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8")
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
