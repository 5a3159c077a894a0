"""A tree of plain values -> Cluster, and pydantic's complaints in the operator's words."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kubeha.config.problem import Path, Problem, shown
from kubeha.model import (
    Cluster,
    Endpoint,
    Frozen,
    Haproxy,
    Ignore,
    Kubernetes,
    Node,
    Ssh,
    Vrrp,
)

_MODELS: Mapping[str, type[Frozen]] = {
    "": Cluster,
    "endpoint": Endpoint,
    "control_plane": Node,
    "load_balancers": Node,
    "clients": Node,
    "vrrp": Vrrp,
    "haproxy": Haproxy,
    "ssh": Ssh,
    "kubernetes": Kubernetes,
    "ignore": Ignore,
}
# pydantic's names for the two kinds of value of load_balancers; no key is called so there.
_UNION_TAGS = ("word", "nodes")

# pydantic's names of complaints -> what must be (with the limit, where there is one), and a hint.
_MUST_BE = {
    "int_type": ("must be a whole number", ""),
    "tuple_type": ("must be a list", "one entry per line, each with '- ' before it"),
    "model_type": ("must be a mapping (key: value)", ""),
    "greater_than_equal": ("must be at least {ge}", ""),
    "less_than_equal": ("must be at most {le}", ""),
    "too_short": ("must have at least {min_length} entry", ""),
    "too_long": ("must have at most {max_length} entries", ""),
    "string_too_short": ("must not be empty", ""),
    "string_too_long": ("must have at most {max_length} characters", ""),
}


def validate(tree: Mapping[str, Any]) -> tuple[Cluster | None, list[Problem]]:
    """The Cluster, or what is wrong with single values."""
    try:
        return Cluster.model_validate(tree), []
    except ValidationError as error:
        return None, list(_problems(error))


def _problems(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"])
        message, hint = _words(detail, path)
        yield Problem(path, message, hint)


def _path(loc: tuple[int | str, ...]) -> Path:
    if loc[:1] == ("load_balancers",) and loc[1:2] and loc[1] in _UNION_TAGS:
        return (loc[0], *loc[2:])
    return loc


def _words(detail: ErrorDetails, path: Path) -> tuple[str, str]:
    """Message and hint for one complaint of pydantic."""
    value = detail["input"]
    kind = detail["type"]
    if kind == "missing":
        return "is missing", ""
    if kind == "extra_forbidden":
        return "unknown key", _known(str(path[-1]), _model_around(path))
    if kind == "literal_error":
        return _not_one_of(value, detail)
    if kind == "value_error":
        return f"{detail['ctx']['error']}, not {shown(value)}", ""
    if kind in _MUST_BE:
        message, hint = _MUST_BE[kind]
        return f"{message.format_map(detail.get('ctx', {}))}, not {shown(value)}", hint
    if kind == "string_type":
        return f"must be text, not {shown(value)}", _quoted(value)
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {shown(value)}", ""


def _quoted(value: object) -> str:
    return f'write it in quotes: "{value}"' if isinstance(value, int | float) else ""


def _not_one_of(value: object, detail: ErrorDetails) -> tuple[str, str]:
    expected = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
    close = get_close_matches(str(value), expected.split(", "), n=1)
    hint = f"did you mean {close[0]}?" if close else ""
    return f"must be one of {expected}, not {shown(value)}", hint


def _model_around(path: Path) -> type[Frozen]:
    """The model of the mapping that a key is in."""
    words = [step for step in path[:-1] if isinstance(step, str)]
    return _MODELS.get(words[-1] if words else "", Cluster)


def _known(key: str, model: type[Frozen]) -> str:
    """A hint: the key that was meant, where a similar one exists here or elsewhere."""
    here = list(model.model_fields)
    if close := get_close_matches(key, here, n=1):
        return f"did you mean {close[0]}?"
    for section, other in _MODELS.items():
        if key in other.model_fields and section:
            return f"it belongs under {section}"
    if key in Cluster.model_fields:
        return "it belongs at the top level"
    return "known here: " + ", ".join(here)
