"""The JSON Schema of the cluster file, for editors; from the same model that reads it."""

from typing import Any

from kubeha.model import Cluster
from kubeha.units import NOTATION, format_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a cluster file."""
    schema = Cluster.model_json_schema(mode="validation")
    for model in (schema, *schema["$defs"].values()):
        for key in model["properties"].values():
            _write_duration(key)
    return {"$schema": DIALECT, **schema, "title": "kubeha cluster file"}


def _write_duration(key: dict[str, Any]) -> None:
    """A default in the notation of the file: pydantic gives the seconds."""
    if key.get("pattern") == NOTATION:
        key["default"] = format_duration(key["default"])
