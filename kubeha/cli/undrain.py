"""`kubeha undrain NODE`: the node may have the VIP again."""

import asyncio
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.model import Cluster


def register(app: typer.Typer) -> None:
    app.command("undrain")(undrain)


def undrain(
    context: typer.Context,
    node: str = typer.Argument(metavar="NODE", help="The load balancer node."),
    output: str = options.Output,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Let a drained node have the VIP again. The VIP does not move by that."""
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load

    as_json = options.output(output)
    cluster = load(context)
    changed = asyncio.run(_undrain(cluster, node, options.become_password(ask_become_pass)))
    if as_json:
        out.show_json({"version": 1, "node": node, "changed": changed})
    else:
        words = "may have the VIP again" if changed else "was not drained"
        out.show(f"{node} {words}; the VIP stays where it is.")


async def _undrain(cluster: "Cluster", name: str, password: str | None) -> bool:
    """Whether anything had to be changed."""
    from kubeha.facts import NodeFacts
    from kubeha.moves import Unknown, node_named
    from kubeha.moving import undrain as undo
    from kubeha.observe import observe, open_fleet

    node = node_named(cluster, name)
    async with open_fleet(cluster, [node], become_password=password) as fleet:
        seen = (await observe(cluster, fleet))[name]
        if not isinstance(seen, NodeFacts):
            raise Unknown(f"cannot be asked: {seen.reason}", node=name, hint=seen.hint)
        if not seen.drained:
            return False
        await undo(fleet, name)
        return True
