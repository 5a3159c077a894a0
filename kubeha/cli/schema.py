"""`kubeha schema`: the JSON Schema of the cluster file."""

import json

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON Schema of the cluster file, for editors."""
    from kubeha.config import json_schema

    print(json.dumps(json_schema(), indent=2))
