"""`kubeha drain NODE`: the node gives the VIP away, hitless, and stays away from it."""

import typer

from kubeha.cli import options


def register(app: typer.Typer) -> None:
    app.command("drain")(drain)


def drain(
    context: typer.Context,
    node: str = typer.Argument(metavar="NODE", help="The load balancer node."),
    deadline: str = options.Deadline,
    no_wait: bool = options.NoWait,
    output: str = options.Output,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Take the VIP away from a node without breaking connections, and keep it away.

    For reboots and upgrades: it survives both. Undone by kubeha undrain.
    """
    from kubeha.cli import planned
    from kubeha.moves import Means

    planned.move(
        context,
        planned.Wish(away_from=node, means=Means.DRAIN),
        deadline=deadline,
        wait=not no_wait,
        output=output,
        ask=ask_become_pass,
    )
