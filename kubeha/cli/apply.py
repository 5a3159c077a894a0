"""`kubeha apply`: check, plan, confirm, staged rollout, verify."""

import asyncio
import sys
from typing import TYPE_CHECKING

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.cli.preparation import Prepared
    from kubeha.model import Cluster
    from kubeha.observe import Fleet


def register(app: typer.Typer) -> None:
    app.command("apply")(apply)


def apply(
    context: typer.Context,
    yes: bool = typer.Option(False, "-y", "--yes", help="Do not ask before changing anything."),
    adopt: bool = typer.Option(
        False, "--adopt", help="Replace configuration that kubeha did not write; a copy is kept."
    ),
    ignore: list[str] = options.Ignore,
    no_diff: bool = typer.Option(False, "--no-diff", help="Leave the files' contents out."),
    deadline: str = options.Deadline,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Check, plan, ask, then roll out node by node and verify."""
    from kubeha.cli.cluster_file import load

    seconds = options.deadline(deadline)
    cluster = load(context, ignore=ignore, warn=False)
    password = options.become_password(ask_become_pass)
    doing = _apply(cluster, password, yes=yes, adopt=adopt, diff=not no_diff, deadline=seconds)
    raise typer.Exit(asyncio.run(doing))


async def _apply(
    cluster: "Cluster",
    password: str | None,
    *,
    yes: bool,
    adopt: bool,
    diff: bool,
    deadline: float,
) -> int:
    from kubeha.cli import output as out
    from kubeha.cli.preparation import prepare
    from kubeha.errors import ExitCode
    from kubeha.observe import open_fleet
    from kubeha.report import plan_text

    nodes = (*cluster.nodes, *cluster.clients)
    async with open_fleet(cluster, nodes, become_password=password) as fleet:
        prepared = await prepare(cluster, fleet, adopt=adopt, become_password=password)
        out.findings(prepared.findings, cluster.ignore)
        refuse(prepared)
        assert prepared.plan is not None
        out.show(plan_text(prepared.plan, diff=diff))
        if not prepared.plan.empty:
            if not yes and not _confirmed(cluster.cluster):
                out.stderr().print("Nothing was changed.")
                return ExitCode.INTERRUPTED
            await roll_out(cluster, fleet, prepared, deadline)
        return await _verify(cluster, fleet)


def refuse(prepared: "Prepared") -> None:
    """Raises before anything is touched if preflight speaks against it."""
    from kubeha.cli.preparation import Refused
    from kubeha.errors import HostError

    lost = prepared.world.unreachable
    balancers = {node.name for node in prepared.world.cluster.nodes}
    gone = [node for node in lost if node.name in balancers]
    if gone:
        raise HostError(
            f"{', '.join(node.name for node in gone)} cannot be asked; nothing was touched",
            hint="make every node reachable, then run kubeha apply again",
        )
    errors = [found for found in prepared.errors if found.node not in {n.name for n in lost}]
    if errors or prepared.plan is None:
        codes = ", ".join(sorted({found.code for found in errors}))
        raise Refused(
            f"preflight found errors ({codes}); nothing was touched",
            hint="do what each finding says, then run kubeha apply again",
        )


def _confirmed(cluster: str) -> bool:
    """Ask on the terminal; without one, only --yes goes on."""
    from kubeha.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for confirmation: standard input is not a terminal",
            hint="review the plan above, then use: kubeha apply --yes",
        )
    try:
        return typer.confirm(f"Apply this plan to {cluster}?", err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


async def roll_out(
    cluster: "Cluster", fleet: "Fleet", prepared: "Prepared", deadline: float
) -> None:
    """Carry out the plan, telling each step."""
    from kubeha.cli import output as out
    from kubeha.listening import listen_for_vip
    from kubeha.moves import Refused
    from kubeha.moving import NotMoved, move
    from kubeha.observe import observe
    from kubeha.rollout import Rollout, patience

    async def move_away(node: str, wait: bool) -> None:
        try:
            await move(
                cluster, fleet, away_from=node, deadline=deadline, wait=wait, tell=out.progress
            )
        except (Refused, NotMoved) as failure:
            # There is nobody else, or the running keepalived does not know how to stand aside:
            # what has to be started anew is, as it would be without a move.
            out.progress(node, f"no planned move: {failure.message}; it goes on without")

    assert prepared.plan is not None
    await Rollout(
        cluster,
        prepared.plan,
        fleet.hosts,
        prepared.facts,
        look=lambda names: observe(cluster, fleet, only=names),
        listen=lambda seen: listen_for_vip(cluster, fleet.hosts, seen),
        progress=out.progress,
        patience=patience(cluster),
        move=move_away,
    ).run()


async def _verify(cluster: "Cluster", fleet: "Fleet") -> int:
    """Look at the whole once more: the rollout's own gates are not the last word."""
    from kubeha.cli import output as out
    from kubeha.cli.verdict import exit_code
    from kubeha.cli.verify import examine
    from kubeha.report import status_view

    world, findings = await examine(cluster, fleet)
    out.show(status_view(world, findings, out.width()))
    return exit_code(world, findings)
