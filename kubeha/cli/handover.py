"""`kubeha handover --to NODE`: the VIP moves there, hitless."""

import typer

from kubeha.cli import options


def register(app: typer.Typer) -> None:
    app.command("handover")(handover)


def handover(
    context: typer.Context,
    to: str = typer.Option(..., "--to", metavar="NODE", help="The node that is to have the VIP."),
    deadline: str = options.Deadline,
    no_wait: bool = options.NoWait,
    output: str = options.Output,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Move the VIP to a node without breaking connections.

    New connections go to it at once; established ones live on through the former holder.
    """
    from kubeha.cli import planned

    planned.move(
        context,
        planned.Wish(to=to),
        deadline=deadline,
        wait=not no_wait,
        output=output,
        ask=ask_become_pass,
    )
