"""Another one that has the VIP as well: what is known of it, and who of the two steps down."""

from typing import Dict, NamedTuple, Optional

from kubeha.node.guard.events import Claim
from kubeha.node.guard.timing import ALIKE, NO_CLAIM, PATIENCE


class Rival:
    """When it was heard last, and what its guard claims."""

    def __init__(self) -> None:
        self.heard = 0.0
        self.claim: Optional[Claim] = None
        self.claimed = 0.0
        self.tried = False
        self.alive = False


class Aside:
    """Why this node stepped down, for whom, and what speaks for coming back."""

    def __init__(self, why: str, mac: Optional[bytes], since: float) -> None:
        self.why = why
        self.mac = mac
        self.since = since
        self.answered = False
        self.misses = 0
        self.adverts: Dict[bytes, float] = {}


class Standing(NamedTuple):
    """What counts in a conflict. `mute`: sends no advertisements. `held`: for how long."""

    mute: bool
    held: float
    rank: int


def yields(mine: Standing, theirs: Standing, *, lasting: bool) -> bool:
    """Do I step down? The order that both sides compute alike.

    `lasting`: what both sides measure may differ by more than thought; ranks do not.
    """
    if mine.mute != theirs.mute:
        return mine.mute
    if not lasting and abs(theirs.held - mine.held) > ALIKE:
        return theirs.held > mine.held
    return theirs.rank < mine.rank


def yields_to_silent(rival: Rival, ranks_behind: int, age: float) -> bool:
    """A rival whose guard is silent is yielded to only if its HAProxy answers.

    Where all programs of a machine hang, its kernel goes on answering ARP, and nobody would serve.
    """
    return rival.alive and age >= PATIENCE + NO_CLAIM * (1 + max(0, ranks_behind))
