"""`kubeha init`: writes a first cluster file."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from kubeha.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("init")(init)


def init(
    context: typer.Context,
    nodes: Annotated[
        list[str],
        typer.Argument(metavar="NAME=ADDRESS...", help="Control plane nodes, the primary first."),
    ],
    cluster: Annotated[str, typer.Option(help="Name of the cluster.")],
    vip: Annotated[str, typer.Option(metavar="ADDRESS", help="Floating address of the endpoint.")],
    port: Annotated[int, typer.Option(help="TCP port of the endpoint.")] = 8443,
    load_balancer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS", help="A dedicated load balancer node; may be repeated."
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to write ('-': stdout) instead of -f."
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file if it exists.")
    ] = False,
) -> None:
    """Write a commented cluster file from addresses."""
    from kubeha.config import render_initial

    text = render_initial(
        cluster,
        vip,
        [_pair(node) for node in nodes],
        port=port,
        load_balancers=[_pair(node) for node in load_balancer or ()],
    )
    path = output or context.obj["file"]
    if path == "-":
        sys.stdout.write(text)
        return
    _write(Path(path), text, force=force)
    print(f"wrote {path}; next: kubeha check", file=sys.stderr)


def _pair(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and address):
        raise UsageError(f"{text}: not NAME=ADDRESS", hint="such as m1=198.51.100.11")
    return name, address


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write the whole file or none of it; an existing one only with `force`."""
    if not force and os.path.lexists(path):
        raise UsageError(f"{path} exists already", hint="overwrite it with --force")
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
