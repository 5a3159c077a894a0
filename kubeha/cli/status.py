"""`kubeha status`: who holds the VIP and what works, at a glance."""

import asyncio
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.model import Cluster


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    context: typer.Context,
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
    watch: bool = typer.Option(False, "-w", "--watch", help="Look again every second."),
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Show who holds the VIP, and the state of every node, fast."""
    from kubeha.checks.health import health
    from kubeha.checks.ignoring import ignoring
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.verdict import exit_code
    from kubeha.observe import glance
    from kubeha.report import status_json, status_view

    as_json = options.output(output)
    cluster = load(context, ignore=ignore)
    password = options.become_password(ask_become_pass)
    if watch:
        asyncio.run(_watch(cluster, password))
        return
    world = asyncio.run(glance(cluster, become_password=password))
    findings = ignoring(health(world), cluster.ignore)
    if as_json:
        out.show_json(status_json(world, findings))
    else:
        out.show(status_view(world, findings, out.width()))
    out.told_idle(findings, cluster.ignore)
    raise typer.Exit(exit_code(world, findings))


async def _watch(cluster: "Cluster", password: str | None) -> None:
    """The table, redrawn in place each second until Ctrl-C."""
    from rich.live import Live

    from kubeha.checks.health import health
    from kubeha.checks.ignoring import ignoring
    from kubeha.cli import output as out
    from kubeha.observe import glance
    from kubeha.report import status_view

    with Live(console=out.stdout(), auto_refresh=False) as live:
        while True:
            world = await glance(cluster, become_password=password)
            findings = ignoring(health(world), cluster.ignore)
            live.update(status_view(world, findings, out.width()), refresh=True)
            await asyncio.sleep(1.0)
