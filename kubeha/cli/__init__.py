"""The command line: one module per verb, each registered here.

Heavy imports (pydantic, asyncssh, rich) belong inside the verbs' functions, so that
`kubeha --help` stays fast.
"""

import importlib
import logging

import typer

app = typer.Typer(
    name="kubeha",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which an operator meets them.
VERBS = (
    "init",
    "check",
    "plan",
    "apply",
    "verify",
    "status",
    "drain",
    "undrain",
    "handover",
    "drill",
    "budget",
    "render",
    "schema",
    "lint",
    "explain",
    "lab",
)

for _verb in VERBS:
    importlib.import_module(f"kubeha.cli.{_verb}").register(app)


@app.callback()
def root(
    context: typer.Context,
    file: str = typer.Option("kubeha.yaml", "-f", "--file", help="The cluster file."),
    verbose: bool = typer.Option(
        False, "-v", "--verbose", help="Tell on standard error each command that is run."
    ),
) -> None:
    """Makes the Kubernetes API endpoint of a self-hosted cluster survive the loss of any node."""
    context.obj = {"file": file}
    if verbose:
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("kubeha").setLevel(logging.DEBUG)
