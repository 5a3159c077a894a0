"""`kubeha check`: everything that would make an apply fail or do harm; touches nothing."""

import asyncio
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.cli.preparation import Prepared
    from kubeha.model import Cluster


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    context: typer.Context,
    output: str = options.Output,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Find what would make an apply fail or do harm. Nothing is touched."""
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.verdict import exit_code
    from kubeha.report import findings_summary, findings_text

    as_json = options.output(output)
    cluster = load(context)
    prepared = asyncio.run(_prepare(cluster, options.become_password(ask_become_pass)))
    if as_json:
        found = [finding.as_json() for finding in prepared.findings]
        out.show_json({"version": 1, "cluster": cluster.cluster, "findings": found})
    else:
        if prepared.findings:
            out.show(findings_text(prepared.findings))
        count = len(cluster.nodes)
        out.show(f"{cluster.cluster}: {count} nodes checked, {findings_summary(prepared.findings)}")
    raise typer.Exit(exit_code(prepared.world, prepared.findings))


async def _prepare(cluster: "Cluster", password: str | None) -> "Prepared":
    from kubeha.cli.preparation import prepare
    from kubeha.observe import open_fleet

    nodes = (*cluster.nodes, *cluster.clients)
    async with open_fleet(cluster, nodes, become_password=password) as fleet:
        return await prepare(cluster, fleet, become_password=password)
