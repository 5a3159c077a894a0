"""Carries a planned move of the VIP out: prepares the nodes, moves, waits for old connections.

What is to be done is decided in `moves`. The nodes keep it up by themselves (node/handover.py) and
undo it at the deadline, whatever becomes of this side: if it goes away, nothing is lost but the
progress that it tells.
"""

from collections.abc import Callable

from kubeha.model import Cluster
from kubeha.moves import DEFAULT_DEADLINE, Means, MoveResult
from kubeha.observe import Fleet

Tell = Callable[[str, str], None]


async def move(
    cluster: Cluster,
    fleet: Fleet,
    *,
    away_from: str | None = None,
    to: str | None = None,
    means: Means = Means.ASIDE,
    deadline: float = DEFAULT_DEADLINE,
    wait: bool = True,
    tell: Tell = lambda node, text: None,
) -> MoveResult:
    """Move the VIP away from a node, or to one; established connections live on.

    `deadline`: seconds after which those that are left are closed. Without `wait` it returns as
    soon as the VIP has moved; the nodes do the rest. `means`: DRAIN leaves the node drained.
    Raises moves.Refused or moves.Unknown before anything is touched.
    """
    raise NotImplementedError
