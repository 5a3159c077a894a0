"""What a node's guard says of itself: the file that it writes (node/guard) -> a value."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class SteppedAside:
    """The guard keeps the VIP away from this node. `other`: the node for which it did, if any."""

    why: str
    other: str
    text: str


def parse_guard(text: str | None) -> SteppedAside | None:
    """None where it does not, or cannot be asked."""
    try:
        told = json.loads(text or "null")
        if not told or not told["why"]:
            return None
        return SteppedAside(str(told["why"]), str(told["other"]), str(told["text"]))
    except (ValueError, KeyError, TypeError):
        return None
