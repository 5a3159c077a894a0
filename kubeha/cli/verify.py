"""`kubeha verify`: is it really highly available now?"""

import asyncio
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.checks.finding import Finding
    from kubeha.model import Cluster
    from kubeha.observe import Fleet
    from kubeha.world import World


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Prove that the endpoint is highly available now: holder, services, API servers, clients."""
    from kubeha.blocks import findings_summary, hint
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.verdict import exit_code
    from kubeha.report import status_json, status_view

    as_json = options.output(output)
    cluster = load(context, ignore=ignore)
    world, findings = asyncio.run(_verify(cluster, options.become_password(ask_become_pass)))
    if as_json:
        out.show_json(status_json(world, findings))
    else:
        out.show(status_view(world, findings, out.width()))
        more = f" ({hint(findings)})" if findings else ""
        out.show(f"verify: {findings_summary(findings)}{more}")
    out.told_idle(findings, cluster.ignore)
    raise typer.Exit(exit_code(world, findings))


async def _verify(cluster: "Cluster", password: str | None) -> "tuple[World, tuple[Finding, ...]]":
    from kubeha.observe import open_fleet

    nodes = (*cluster.nodes, *cluster.clients)
    async with open_fleet(cluster, nodes, become_password=password) as fleet:
        return await examine(cluster, fleet)


async def examine(cluster: "Cluster", fleet: "Fleet") -> "tuple[World, tuple[Finding, ...]]":
    """Everything that verify looks at, and what it found."""
    from kubeha.checks.health import drift, thorough
    from kubeha.checks.ignoring import ignoring
    from kubeha.observe import ask_again, survey
    from kubeha.plan import make_plan, wanted

    world = await survey(cluster, fleet, full=True, listen=True)
    world = await ask_again(cluster, fleet, world)
    facts = {each.name: each for each in world.load_balancers}
    desired = {name: node for name, node in wanted(world).items() if name in facts}
    plan = make_plan(cluster, desired, facts)
    changed = {change.node: [file.path for file in change.files] for change in plan.changes}
    return world, ignoring((*thorough(world), *drift(changed)), cluster.ignore)
