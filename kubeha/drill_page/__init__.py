"""The report of drills: a result as one HTML file that needs nothing else.

Pure: plain data in, text out. Nothing in a result is trusted: it comes from machines. Every value
goes through the escaping of the template, and the page forbids itself to load anything and to run
any script but its own, which it names by its digest.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from kubeha.drill_page import overview, words
from kubeha.drill_page.choice import MANY, chosen, scale_of
from kubeha.drill_page.reading import Fault, Result, read
from kubeha.drill_page.scale import WIDTH
from kubeha.drill_page.strip import (
    Distribution,
    Mark,
    Place,
    Strip,
    common_scale,
    distribution,
    own_scale,
    strip,
)
from kubeha.drill_page.timeline import Timeline, timeline

if TYPE_CHECKING:
    from jinja2 import Environment

# About how wide, and half how high, the drawings of distributions are, in pixels.
_SMALL, _LARGE = (260, 17), (620, 34)


@dataclass(frozen=True)
class FaultView:
    row: overview.Row
    small: Distribution
    large: Distribution
    reasons: list[tuple[str, str]]
    shown: list[tuple[Timeline, str]]
    strips: list[Strip]


def render(result: Mapping[str, Any]) -> str:
    """The page for a result (docs/drills.md): HTML, with its styles, drawings and script in it."""
    seen = read(result)
    axis = common_scale(seen.faults)
    few = len(seen.faults) > MANY
    views = [_view(seen, fault, index, axis, few) for index, fault in enumerate(seen.faults, 1)]
    script = _source("drill.js")
    return (
        _environment()
        .get_template("drill.html.j2")
        .render(
            result=seen,
            started=_date(seen.started),
            headline=overview.headline(seen),
            figures=overview.figures(seen),
            faults=views,
            few=few,
            ticks=axis[1],
            style=_source("drill.css"),
            script=script,
            digest=_digest(script),
            verdicts=overview.VERDICT,
            width=WIDTH,
            words=words,
        )
    )


def _view(
    result: Result, fault: Fault, index: int, axis: tuple[Place, tuple[Mark, ...]], few: bool
) -> FaultView:
    nodes = [node.name for node in result.nodes]
    scale = scale_of(fault) if fault.trials else None
    return FaultView(
        row=overview.row(fault, index),
        small=distribution(fault, axis, pixels=_SMALL[0], middle=_SMALL[1]),
        large=distribution(fault, own_scale(fault), pixels=_LARGE[0], middle=_LARGE[1]),
        reasons=overview.reasons(fault),
        shown=[
            (timeline(trial, scale, nodes), why) for trial, why in chosen(fault, few=few) if scale
        ],
        strips=[strip(trial, scale, nodes) for trial in fault.trials if scale],
    )


def _date(epoch: float | None) -> str:
    try:
        moment = datetime.fromtimestamp(epoch or 0, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if epoch else ""


@cache
def _environment() -> "Environment":
    # Here, because most commands render no page and have to be fast.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("kubeha", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _source(name: str) -> str:
    """The text of a file that is part of the page: ours, so that it needs no escaping."""
    from markupsafe import Markup

    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _digest(script: str) -> str:
    """What the content security policy of the page calls its script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
