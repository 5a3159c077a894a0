"""`kubeha check`: everything that would make an apply fail or do harm; touches nothing."""

import asyncio

import typer

from kubeha.cli import options


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    context: typer.Context,
    output: str = options.Output,
    ignore: list[str] = options.Ignore,
    ask_become_pass: bool = options.AskBecomePass,
) -> None:
    """Find what would make an apply fail or do harm. Nothing is touched."""
    from kubeha.blocks import findings_summary, findings_text, hint
    from kubeha.cli import output as out
    from kubeha.cli.cluster_file import load
    from kubeha.cli.preparation import look_and_plan
    from kubeha.cli.verdict import exit_code

    as_json = options.output(output)
    cluster = load(context, ignore=ignore, warn=False)
    password = options.become_password(ask_become_pass)
    prepared = asyncio.run(look_and_plan(cluster, password))
    if as_json:
        shown = [finding.as_json() for finding in prepared.findings]
        out.show_json({"version": 1, "cluster": cluster.cluster, "findings": shown})
    else:
        if found := prepared.findings:
            out.show(findings_text(found, out.width()) + "\n")
        count = len(cluster.nodes)
        more = f" ({hint(found)})" if found else ""
        out.show(f"{cluster.cluster}: {count} nodes checked, {findings_summary(found)}{more}")
    out.told_idle(prepared.findings, cluster.ignore)
    raise typer.Exit(exit_code(prepared.world, prepared.findings))
