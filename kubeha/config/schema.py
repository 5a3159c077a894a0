"""The JSON Schema of the cluster file, for editors; from the same model that reads it."""

from typing import Any

from kubeha.model import Cluster

IDENTIFIER = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a cluster file."""
    schema = Cluster.model_json_schema(mode="validation")
    return {"$schema": IDENTIFIER, **schema, "title": "kubeha cluster file"}
