"""`kubeha status`: who holds the VIP and what works, at a glance."""

import asyncio
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.checks.finding import Finding
    from kubeha.model import Cluster
    from kubeha.world import World


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(
    context: typer.Context,
    output: str = options.Output,
    watch: bool = typer.Option(False, "-w", "--watch", help="Look again every second."),
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Show who holds the VIP, and the state of every node, fast."""
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.verdict import exit_code
    from kubeha.report import status_json, status_view

    as_json = options.output(output)
    cluster = load(context)
    password = options.become_password(ask_become_pass)
    if watch:
        asyncio.run(_watch(cluster, password))
        return
    world, findings = asyncio.run(_look(cluster, password))
    if as_json:
        out.show_json(status_json(world, findings))
    else:
        out.show(status_view(world, findings))
    raise typer.Exit(exit_code(world, findings))


async def _look(cluster: "Cluster", password: str | None) -> "tuple[World, tuple[Finding, ...]]":
    from kubeha.checks.health import health
    from kubeha.observe import open_fleet, survey

    nodes = (*cluster.nodes, *cluster.clients)
    async with open_fleet(cluster, nodes, become_password=password, timeout=5.0) as fleet:
        world = await survey(cluster, fleet, full=False)
    return world, health(world)


async def _watch(cluster: "Cluster", password: str | None) -> None:
    """The table, redrawn in place each second until Ctrl-C."""
    from rich.live import Live

    from kubeha.checks.health import health
    from kubeha.cli import output as out
    from kubeha.observe import open_fleet, survey
    from kubeha.report import status_view

    nodes = (*cluster.nodes, *cluster.clients)
    with Live(console=out.stdout(), auto_refresh=False) as live:
        while True:
            async with open_fleet(cluster, nodes, become_password=password, timeout=3.0) as fleet:
                world = await survey(cluster, fleet, full=False)
            live.update(status_view(world, health(world)), refresh=True)
            await asyncio.sleep(1.0)
