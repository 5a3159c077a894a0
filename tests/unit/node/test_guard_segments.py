"""Guards and keepalived together, in simulated segments: one holder, whatever happens."""

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_guards import Segment


@settings(max_examples=15, deadline=None)
@given(
    nodes=st.integers(2, 3),
    seed=st.integers(0, 10**6),
    claims=st.booleans(),
    apart=st.sampled_from([(0, 1), (0, 2), (1, 2), (0, 1, 2)]),
)
def test_filtered_vrrp_leaves_one_holder(
    nodes: int, seed: int, claims: bool, apart: tuple[int, ...]
) -> None:
    segment = Segment(nodes, seed)
    segment.run(8)
    (before,) = segment.holders
    segment.claims_arrive = claims
    segment.filter([rank for rank in apart if rank < nodes])
    segment.changes.clear()
    segment.changes.append((segment.now, before, True))
    segment.run(15)
    assert len(segment.holders) == 1
    if claims:
        assert segment.holders == [before]
        assert segment.longest_with_two() < 0.1
    last = segment.now - max(at for at, _, _ in segment.changes)
    assert last > 10 or not claims
    segment.power_off(segment.holders[0])
    segment.run(3)
    assert len(segment.holders) == 1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    moved=st.booleans(),
    first=st.booleans(),
)
def test_who_hears_both_never_takes_the_vip(seed: int, moved: bool, first: bool) -> None:
    """Nor when one of the two makes way for the other, which ends with priority 0."""
    segment = Segment(3, seed)
    segment.run(8)
    if moved:
        segment.hang(segment.holders[0])
        segment.run(12)
    (before,) = segment.holders
    others = [rank for rank in range(3) if rank != before]
    deaf, hears_both = others if first else others[::-1]
    segment.changes.clear()
    segment.filter([before, deaf])
    segment.run(15)
    assert (deaf, True) in {(rank, has) for _, rank, has in segment.changes}
    assert hears_both not in {rank for _, rank, _ in segment.changes}


@settings(max_examples=15, deadline=None)
@given(
    nodes=st.integers(2, 3),
    seed=st.integers(0, 10**6),
    gateway=st.booleans(),
    seconds=st.floats(1.5, 10),
)
def test_a_backup_that_was_cut_off_leaves_the_vip_where_it_is(
    nodes: int, seed: int, gateway: bool, seconds: float
) -> None:
    segment = Segment(nodes, seed)
    segment.gateway = gateway
    segment.run(20)
    (before,) = segment.holders
    assert before == 0
    segment.changes.clear()
    segment.cut_off = {nodes - 1}
    segment.run(seconds)
    segment.cut_off = set()
    segment.run(10)
    assert segment.holders == [before]
    assert before not in {rank for _, rank, _ in segment.changes}


@settings(max_examples=15, deadline=None)
@given(
    nodes=st.integers(2, 3),
    seed=st.integers(0, 10**6),
    what=st.lists(
        st.tuples(
            st.sampled_from(["filter", "hang", "kill-guard", "cut-off", "none"]),
            st.integers(0, 2),
            st.floats(0, 4),
        ),
        max_size=4,
    ),
)
def test_whatever_happens_there_is_one_holder_in_the_end(
    nodes: int, seed: int, what: list[tuple[str, int, float]]
) -> None:
    segment = Segment(nodes, seed)
    for fault, rank, pause in what:
        match fault:
            case "filter":
                segment.filter(range(nodes))
            case "hang" if rank < nodes:
                segment.hang(rank)
            case "kill-guard" if rank < nodes:
                segment.kill_guard(rank, 0.3)
            case "cut-off" if rank < nodes:
                segment.cut_off = {rank}
                segment.run(5)
                segment.cut_off = set()
        segment.run(pause)
    segment.run(20)
    assert len(segment.holders) == 1
    holder = segment.holders
    segment.run(5)
    assert segment.holders == holder
