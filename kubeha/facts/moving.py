"""What a former holder of the VIP tells of its part in a planned move: raw text -> a value."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Carried:
    """Connections that live on through a former holder, for so many seconds at the most.

    `connections`: None where they could not be counted.
    """

    connections: int | None
    seconds: float


def parse_carried(name: str, journal: str | None) -> Carried | None:
    """The journal of node/handover on the node `name`; None for a node that passes on only."""
    try:
        state = json.loads(journal or "{}")
        mine = state["formers"][name]
        if "left" not in mine:
            return None
        count = state["connections"]
        rest = max(0.0, float(mine["until"]) - float(state["at"]))
        return Carried(None if count is None else int(count), rest)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
