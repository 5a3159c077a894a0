"""`kubeha budget`: what each fault may cost, by the timers of the cluster file."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from kubeha.cli import options

if TYPE_CHECKING:
    from kubeha.budget import Bound


def register(app: typer.Typer) -> None:
    app.command("budget")(budget)


def budget(
    context: typer.Context,
    faults: Annotated[
        list[str] | None,
        typer.Argument(metavar="FAULT...", help="Those that are meant; without one, all."),
    ] = None,
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
) -> None:
    """Compute the silence that each fault may cost, expected and worst, from the timers.

    Only the cluster file is read: no node is asked.
    """
    from kubeha import budget as bounds
    from kubeha.blocks import findings_text
    from kubeha.checks.ignoring import ignoring
    from kubeha.checks.timers import hasty
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.drills.text import budget_view

    as_json = options.output(output)
    cluster = load(context, ignore=ignore)
    found = ignoring(tuple(hasty(cluster)), cluster.ignore)
    chosen = _chosen(bounds.budget(cluster), faults or [])
    if as_json:
        out.show_json(
            {
                "version": 1,
                "cluster": cluster.cluster,
                "settings": bounds.settings(cluster),
                "budget": [each.as_json() for each in chosen],
                "findings": [each.as_json() for each in found],
            }
        )
    else:
        out.show(budget_view([each.as_json() for each in chosen]))
        if found:
            out.show(findings_text(found, out.width()))
    out.told_idle(found, cluster.ignore)


def _chosen(bounds: "Sequence[Bound]", names: "Sequence[str]") -> "list[Bound]":
    """Those that are asked for, or all. Raises UsageError for what there is not."""
    from kubeha.errors import UsageError

    known = {each.fault: each for each in bounds}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"
            raise UsageError(f"{name}: there is no such fault", hint=hint)
    return [known[name] for name in names] if names else list(bounds)
