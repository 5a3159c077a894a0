"""Figures of histories made by hand."""

import json

from kubeha.history import Attempt, attempts_from, history, merge, silences, summarise


def attempt(start: float, end: float, outcome: str = "ok", kind: str = "version") -> Attempt:
    return Attempt(start, end, kind, outcome)


STEADY = [attempt(t, t + 0.1) for t in range(5)]


def test_silence_lasts_from_answer_to_answer() -> None:
    figures = summarise(history(STEADY)).kinds["version"]
    assert (figures.count, figures.failed) == (5, 0)
    assert figures.silence is not None and figures.silence.seconds == 1.0
    assert figures.worst_latency is not None and round(figures.worst_latency, 6) == 0.1


def test_a_slow_success_ends_a_silence_when_it_is_answered() -> None:
    """A client that waits for 3 s was without an answer for 3 s, though it did not fail."""
    seen = [attempt(0, 0.1), attempt(1, 4.1), attempt(2, 4.2), attempt(5, 5.1)]
    figures = summarise(history(seen)).kinds["version"]
    assert figures.failed == 0
    assert figures.silence is not None
    assert (figures.silence.start, figures.silence.end) == (0.1, 4.1)


def test_the_edges_of_the_observation_close_a_silence() -> None:
    seen = [attempt(0, 2, "refused"), attempt(2, 3), attempt(3, 8, "timeout")]
    lengths = [one.seconds for one in silences(history(seen).attempts)]
    assert lengths == [3, 5]


def test_without_a_success_all_is_silence() -> None:
    figures = summarise(history([attempt(0, 1, "refused"), attempt(5, 7, "eof")])).kinds["version"]
    assert figures.silence is not None and figures.silence.seconds == 7
    assert figures.median_latency is None and figures.outcomes == {"eof": 1, "refused": 1}


def test_around_a_fault_only_what_ends_later_counts() -> None:
    before = [attempt(0, 0.1), attempt(1, 1.1, "refused"), attempt(9, 9.1)]
    after = [attempt(10, 12.5, "timeout"), attempt(11, 12.6), attempt(13, 13.1)]
    figures = summarise(history(before + after), around=10.0).kinds["version"]
    assert (figures.count, figures.failed) == (3, 1)
    # The silence under way at the fault counts from its beginning.
    assert figures.silence is not None
    assert (figures.silence.start, figures.silence.end) == (9.1, 12.6)
    assert figures.first_success is not None and round(figures.first_success, 6) == 2.6


def test_a_watch_has_a_life_and_no_silence() -> None:
    watches = [
        Attempt(0, 70, "watch", "reset", broken=True),
        Attempt(71, 100, "watch", "ok"),
    ]
    figures = summarise(history(watches)).kinds["watch"]
    assert (figures.broken, figures.failed, figures.longest_life) == (1, 1, 70)
    assert figures.silence is None and figures.worst_latency is None


def test_nothing_seen_has_no_figures() -> None:
    assert summarise(history([])).kinds == {}
    assert silences([]) == []


def test_times_of_the_node_become_times_of_the_operator() -> None:
    rows = [["stream", 3, 10.0, 10.5, "reset", "by peer", True]]
    assert attempts_from(rows, 1000.0, "c1") == [
        Attempt(1010.0, 1010.5, "stream", "reset", 3, True, "by peer", "c1")
    ]


def test_prints_as_json() -> None:
    values = summarise(merge(history(STEADY)), around=1.0).as_json()
    again = json.loads(json.dumps(values))
    assert again["kinds"]["version"]["silence"] == {"start": 0.1, "end": 1.1, "seconds": 1.0}
    assert again["around"] == 1.0
