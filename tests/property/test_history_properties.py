"""What must hold for every history."""

from hypothesis import given
from hypothesis import strategies as st

from kubeha.history import Attempt, KindSummary, history, merge, silences, summarise

times = st.floats(0, 100, allow_nan=False)
outcomes = st.sampled_from(["ok", "ok", "ok", "timeout", "refused", "reset"])
kinds = st.sampled_from(["version", "stream"])


@st.composite
def attempts(draw: st.DrawFn, outcome: st.SearchStrategy[str] = outcomes) -> Attempt:
    start, length = draw(times), draw(st.floats(0, 10, allow_nan=False))
    what = draw(outcome)
    broken = what != "ok" and draw(st.booleans())
    return Attempt(start, start + length, draw(kinds), what, draw(st.integers(0, 3)), broken)


many = st.lists(attempts(), max_size=20)
failed = attempts(st.sampled_from(["timeout", "refused", "http-503"]))
faults = st.none() | times


def no_better(after: KindSummary, before: KindSummary) -> bool:
    assert after.silence is not None
    return (
        after.count == before.count + 1
        and after.failed == before.failed + 1
        and after.broken >= before.broken
        and (before.silence is None or after.silence.seconds >= before.silence.seconds)
        and after.worst_latency == before.worst_latency
        and after.median_latency == before.median_latency
        and after.first_success == before.first_success
    )


@given(many, failed, faults)
def test_one_more_failure_never_improves_a_summary(
    seen: list[Attempt], more: Attempt, fault: float | None
) -> None:
    before = summarise(history(seen), fault).kinds.get(more.kind)
    after = summarise(history([*seen, more]), fault).kinds[more.kind]
    if before is None or (fault is not None and more.end < fault):
        return
    assert no_better(after, before)


@given(many, many, many, faults)
def test_merging_does_not_depend_on_order(
    one: list[Attempt], two: list[Attempt], three: list[Attempt], fault: float | None
) -> None:
    parts = [history(part) for part in (one, two, three)]
    whole = history([*one, *two, *three])
    assert merge(*parts) == merge(*reversed(parts)) == whole
    assert merge(merge(*parts[:2]), parts[2]) == merge(parts[0], merge(*parts[1:])) == whole
    assert summarise(merge(*parts), fault) == summarise(whole, fault)


@given(many)
def test_silences_cover_the_observation_without_gaps(seen: list[Attempt]) -> None:
    one_kind = [attempt for attempt in seen if attempt.kind == "version"]
    found = silences(one_kind)
    assert all(one.seconds >= 0 for one in found)
    assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))
    if one_kind:
        assert found[0].start == min(one.start for one in one_kind)
        assert found[-1].end == max(one.end for one in one_kind)


@given(many, faults)
def test_no_success_lies_inside_a_silence(seen: list[Attempt], fault: float | None) -> None:
    one_kind = [attempt for attempt in seen if attempt.kind == "stream"]
    for silence in silences(one_kind, fault):
        assert not any(one.ok and silence.start < one.end < silence.end for one in one_kind)


@given(many, faults)
def test_every_attempt_is_counted_once(seen: list[Attempt], fault: float | None) -> None:
    figures = summarise(history(seen), fault).kinds.values()
    relevant = [one for one in seen if fault is None or one.end >= fault]
    assert sum(one.count for one in figures) == len(relevant)
    assert all(sum(one.outcomes.values()) == one.count for one in figures)
