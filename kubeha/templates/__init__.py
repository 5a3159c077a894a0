"""The templates of the rendered files, and the one way to fill them in."""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = "Written by kubeha"
_HARMLESS = re.compile(r"[A-Za-z0-9_.:/@+,=\[\]-]*")


@dataclass(frozen=True)
class Quoted:
    """A text that a template shows in double quotes."""

    text: str


def _harmless(value: object) -> object:
    """Refuse a value that could end its line or its word: the second fence after the model."""
    if isinstance(value, Quoted):
        return f'"{_harmless(value.text)}"'
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"a template needs text or a number, not {value!r}")
    if not _HARMLESS.fullmatch(str(value)):
        raise ValueError(f"not allowed in a rendered file: {value!r}")
    return value


@cache
def _environment() -> "Environment":
    # Here, because status renders nothing and has to be fast.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("kubeha", "templates"),
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def fill(template: str, **values: object) -> str:
    """The text of a template. Raises ValueError for a value that does not fit on one line."""
    return _environment().get_template(template).render(**values)
