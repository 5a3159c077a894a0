"""What drain and handover do alike: a planned move of the VIP, and what is said of it."""

import asyncio
from dataclasses import dataclass

import typer

from kubeha.cli import options
from kubeha.cli import output as out
from kubeha.cli.cluster_file import load
from kubeha.errors import ExitCode
from kubeha.model import Cluster
from kubeha.moves import Means, MoveResult, elsewhere, node_named, told
from kubeha.moving import move as carry_out
from kubeha.observe import open_fleet


@dataclass(frozen=True)
class Wish:
    """From where, or where to."""

    away_from: str | None = None
    to: str | None = None
    means: Means = Means.ASIDE


def move(
    context: typer.Context, wish: Wish, *, deadline: str, wait: bool, output: str, ask: bool
) -> None:
    """Move, tell how it goes on standard error, and the result on standard output."""
    as_json = options.output(output)
    seconds = options.deadline(deadline)
    cluster = load(context)
    node_named(cluster, wish.to or wish.away_from or "")
    password = options.become_password(ask)
    result = asyncio.run(_move(cluster, wish, seconds, wait, password))
    if as_json:
        out.show_json(result.as_json())
    else:
        out.show(told(cluster, result, drained=wish.away_from))
    if elsewhere(wish.to, result.holder):
        raise typer.Exit(ExitCode.DOES_NOT_HOLD)


async def _move(
    cluster: Cluster, wish: Wish, deadline: float, wait: bool, password: str | None
) -> MoveResult:
    nodes = cluster.load_balancer_nodes
    async with open_fleet(cluster, nodes, become_password=password) as fleet:
        return await carry_out(
            cluster,
            fleet,
            away_from=wish.away_from,
            to=wish.to,
            means=wish.means,
            deadline=deadline,
            wait=wait,
            tell=out.progress,
        )
