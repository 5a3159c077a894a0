"""Where in a trial the silence was.

The result says how long it was; which stretch it was shows in the attempts. Attempts may have been
thinned, so the stretch that is as long as the judged one is looked for, not the longest.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from kubeha.drill_page.reading import Attempt, Trial

LONG_LIVED = ("stream", "watch")
_CLOSE_ENOUGH = 0.02


def silence(trial: Trial) -> tuple[float, float] | None:
    """Begin and end of the judged silence, or None where the attempts do not show it."""
    if not trial.silence:
        return None
    judged = trial.silence
    stretches = [each for each in _candidates(trial) if each[1] >= 0]
    best = min(stretches, key=lambda each: abs(each[1] - each[0] - judged), default=None)
    if best is None or abs(best[1] - best[0] - judged) > max(_CLOSE_ENOUGH, judged * 0.05):
        return None
    return best


def _candidates(trial: Trial) -> Iterator[tuple[float, float]]:
    """Stretches without a success: of all clients of one kind together, then of each client."""
    asked = [one for one in trial.attempts if one.kind not in LONG_LIVED]
    for key in (_by_kind, _by_client):
        for _, group in groupby(sorted(asked, key=key), key=key):
            yield from _stretches(list(group))


def _by_kind(one: Attempt) -> tuple[str, ...]:
    return (one.kind,)


def _by_client(one: Attempt) -> tuple[str, ...]:
    return (one.kind, one.source)


def _stretches(attempts: Sequence[Attempt]) -> Iterator[tuple[float, float]]:
    begin = min(one.start for one in attempts)
    # After the last one has begun nobody asks any more.
    last = max(one.start for one in attempts)
    points = [begin, *sorted(min(one.end, last) for one in attempts if one.ok), last]
    yield from zip(points, points[1:], strict=False)
