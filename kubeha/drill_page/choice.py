"""Which trials of a fault are shown in full, and how far their axis goes."""

from collections.abc import Collection

from kubeha.drill_page.reading import FAIL, PASS, Fault, Trial
from kubeha.drill_page.scale import TimeScale, time_scale
from kubeha.drill_page.silence import silence
from kubeha.drill_page.timeline import overlaps

MOST_SHOWN = 4
# A silence that begins later than this, and is no longer than that, is not the fault's (seconds).
_SOON, _LONG = 2.0, 0.5
# With more faults than this, only one is shown that is worth it, or two.
MANY = 8


def chosen(fault: Fault, *, few: bool = False) -> list[tuple[Trial, str]]:
    """The longest silence first, then some that did not pass, then the median; and why.

    `few`: the longest silence, and if that one did not fail, one that did.
    """
    if not fault.trials:
        return []
    by_silence = sorted(fault.trials, key=_badness)
    reasons: dict[int, list[str]] = {}
    picked: dict[int, Trial] = {}

    def pick(trial: Trial, why: str) -> None:
        picked.setdefault(id(trial), trial)
        reasons.setdefault(id(trial), []).append(why)

    pick(by_silence[-1], "the only one" if len(by_silence) == 1 else "the longest silence")
    for trial in reversed(by_silence):
        bad = trial.verdict == FAIL if few else trial.verdict != PASS
        if bad and id(trial) not in picked and not _enough(picked.values(), few):
            pick(trial, "did not pass")
    if len(by_silence) > 2 and not few:
        pick(by_silence[(len(by_silence) - 1) // 2], "the median")
    return [(trial, ", ".join(reasons[key])) for key, trial in picked.items()]


def _enough(picked: Collection[Trial], few: bool) -> bool:
    """Are there enough that did not pass, with room for the median?"""
    if few:
        return any(each.verdict == FAIL for each in picked)
    return len(picked) >= MOST_SHOWN - 1


def _badness(trial: Trial) -> tuple[float, int, int, int]:
    return (trial.silence or 0.0, trial.failed, trial.broken, -trial.number)


def scale_of(fault: Fault) -> TimeScale:
    """One axis for all trials of a fault, so that they can be compared."""
    begin = min(trial.begin for trial in fault.trials)
    end = max(trial.end for trial in fault.trials)
    matters = max(_matters(trial) for trial in fault.trials)
    return time_scale(begin, end, min(matters, end))


def _matters(trial: Trial) -> float:
    """Seconds after the strike until the last of: silence, new holder, two holders."""
    ends = [0.4, trial.new_holder or 0.0]
    if (found := silence(trial)) and (found[0] < _SOON or found[1] - found[0] > _LONG):
        ends.append(found[1])
    if trial.two_holders > 0:
        ends += [end for _, end in overlaps(trial.holders)]
    return max(ends)
