"""`kubeha plan`: what apply would change, and in which order."""

import asyncio

import typer

from kubeha.cli import options


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    context: typer.Context,
    output: str = options.Output,
    exit_code: bool = typer.Option(False, "--exit-code", help="Exit with 1 if there are changes."),
    ignore: list[str] = options.Ignore,
    no_diff: bool = typer.Option(False, "--no-diff", help="Leave the files' contents out."),
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Show what apply would change: per node, a diff for each file, and the order."""
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.preparation import look_and_plan
    from kubeha.errors import ExitCode
    from kubeha.report import plan_json, plan_text

    as_json = options.output(output)
    cluster = load(context, ignore=ignore, warn=False)
    password = options.become_password(ask_become_pass)
    prepared = asyncio.run(look_and_plan(cluster, password, listen=False))
    out.findings(prepared.findings, cluster.ignore)
    if prepared.plan is None:
        raise typer.Exit(ExitCode.UNKNOWN if prepared.world.unreachable else ExitCode.DOES_NOT_HOLD)
    if as_json:
        out.show_json(plan_json(prepared.plan))
    else:
        out.show(plan_text(prepared.plan, diff=not no_diff))
    if exit_code and not prepared.plan.empty:
        raise typer.Exit(ExitCode.DOES_NOT_HOLD)
