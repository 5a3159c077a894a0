"""The report of drills: whole, small, and not to be broken out of."""

import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from drill_results import STORIES, result

from kubeha.drill_page import render
from kubeha.drill_page.choice import chosen, scale_of
from kubeha.drill_page.lanes import answers
from kubeha.drill_page.reading import Attempt, Stretch, number, read, text
from kubeha.drill_page.scale import WIDTH, time_scale
from kubeha.drill_page.silence import silence
from kubeha.drill_page.strip import common_scale
from kubeha.drill_page.timeline import overlaps
from kubeha.drill_page.words import listing, moment, seconds, span

VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "]]><!--",
    "javascript:alert(1)",
    "\u202etxt\x00\x1b[31m",
    "url(https://evil.example/x)",
)


class Page(HTMLParser):
    """Every element with its attributes, and whether they are nested well."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return result(trials=3, stories=STORIES[:8])


@pytest.fixture(scope="module")
def page(data: dict[str, Any]) -> str:
    return render(data)


def test_elements_are_nested_well_and_drawings_are_xml(page: str) -> None:
    Page(page)
    drawings = re.findall(r"<svg.*?</svg>", re.sub(r"<svg x=[^>]*>(.*?)</svg>", r"\1", page), re.S)
    assert len(drawings) > 50
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_every_fault_and_trial_appears(page: str, data: dict[str, Any]) -> None:
    seen = Page(page)
    anchors = {attrs.get("id") for attrs in seen.all("article")}
    links = [attrs.get("href") for attrs in seen.all("a")]
    assert anchors == {f"fault-{number}" for number in range(1, 9)}
    assert {link.removeprefix("#") for link in links if link} == anchors
    for fault in data["faults"]:
        assert seen.text.count(fault["fault"]) >= 2
        assert fault["summary"] in seen.text
    strips = re.findall(r'<td role="cell" class="line">', page)
    assert len(strips) == len(data["trials"])
    for reason in {reason for trial in data["trials"] for reason in trial["reasons"]}:
        assert reason in seen.text


def test_machines_and_settings_appear(page: str, data: dict[str, Any]) -> None:
    seen = Page(page)
    for name, node in data["nodes"].items():
        assert all(value in seen.text for value in (name, *node.values()))
    for name, value in data["settings"].items():
        assert name in seen.text and str(value) in seen.text


def test_the_headline_is_the_worst_verdict() -> None:
    good = result(trials=1, stories=STORIES[:2], failing=False)
    assert "All 2 drills passed" in render(good)
    for trial in good["trials"]:
        trial["attempts"] = []
    unknown = copy.deepcopy(good)
    unknown["faults"][0]["verdict"] = "unknown"
    assert "1 of 2 drills could not be judged" in render(unknown)
    unknown["faults"][1]["verdict"] = "fail"
    assert "1 of 2 drills failed" in render(unknown)


def test_nothing_is_loaded_and_only_our_script_runs(page: str) -> None:
    seen = Page(page)
    assert [name for name, _ in seen.elements if name in ("link", "img", "iframe", "object")] == []
    assert seen.all("script") == [{}]
    for _, attrs in seen.elements:
        assert not {
            name for name in attrs if name.startswith("on") or name in ("src", "xlink:href")
        }
        assert (attrs.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", page)
    policy = next(attrs for attrs in seen.all("meta") if "http-equiv" in attrs)["content"]
    assert policy and "default-src 'none'" in policy and "script-src 'sha256-" in policy


def _with_every_text(value: Any, new: str) -> Any:
    """The same data with another text wherever there is one, and in the names of machines."""
    if isinstance(value, dict):
        names = {key: new if key in ("m1", "balance") else key for key in value}
        return {names[key]: _with_every_text(each, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_every_text(each, new) for each in value]
    return new if isinstance(value, str) else value


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_value_breaks_out(page: str, hostile: str) -> None:
    plain = result(trials=1, stories=STORIES[:1])
    plain["trials"][0]["attempts"][:0] = [["version", 1, 0.1, 0.2, "timeout", "c1", False]]
    shown = Page(render(_with_every_text(plain, hostile)))
    expected = Page(render(_with_every_text(plain, "harmless")))
    assert [name for name, _ in shown.elements] == [name for name, _ in expected.elements]
    assert [list(a) for _, a in shown.elements] == [list(a) for _, a in expected.elements]
    assert text(hostile) in shown.text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", shown.text)


@pytest.mark.parametrize(
    "value", [None, "text", -1e300, float("nan"), float("inf"), True, [], {}, 10**400, 0]
)
def test_odd_values_are_left_out(value: Any) -> None:
    """Whatever stands where a number belongs: there is a page, and no nan in its drawings."""
    data = result(trials=1, stories=STORIES[:1])
    odd = {
        **dict.fromkeys(("silence", "begin", "end", "healed", "new_holder", "two_holders"), value),
        "failed": value,
        "attempts": [["version", 1, value, value, "ok", "c1", False], value],
        "holders": [{"node": "m1", "from": value, "to": value}],
    }
    data["trials"][0].update(odd)
    data["budget"] = data["faults"][0]["silence"] = data["started"] = value
    page = render(data)
    Page(page)
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"<style>.*</style>", "", page, flags=re.S))


def test_a_result_without_anything_has_a_page() -> None:
    assert "Nothing was drilled" in Page(render({})).text
    never = {"fault": "drain", "verdict": "unknown", "trials": 1}
    page = Page(render({"faults": [never], "trials": [{"fault": "drain", "number": 1}]}))
    assert "The drill could not be judged" in page.text
    assert "this trial never came to its strike" in page.text


def test_a_long_drill_has_a_small_page() -> None:
    """20 faults of 20 trials, each with as much to draw as a trial can have."""
    one = result(trials=1, stories=STORIES[:1])
    trial = one["trials"][0]
    trial["attempts"] = _busy(trial["attempts"])
    whole = {**one, "faults": [], "trials": []}
    for name in ("power-off", "freeze"):
        whole["faults"].append({**one["faults"][0], "fault": name, "trials": 5, "verdict": "fail"})
        whole["trials"] += [
            {**trial, "fault": name, "number": n, "verdict": "fail", "reasons": ["late"]}
            for n in range(1, 6)
        ]
    bare = len(render({**whole, "faults": [], "trials": []}))
    full = len(render({**whole, "faults": whole["faults"], "trials": []})) - bare
    shown = len(render(whole)) - bare - full
    # A fault has at most four trials in full, the fifth is a strip: 20 strips are a fifth of them.
    assert bare + 10 * (full + shown) + 20 * 15 * 2_000 < 3_000_000


def _busy(attempts: list[list[Any]]) -> list[list[Any]]:
    """200 long-lived connections that all break, and 100 new ones a second of which half fail."""
    new = [
        ["version", i, -2 + i / 100, -1.99 + i / 100 + i % 7, ("ok", "timeout")[i % 2], "c1", False]
        for i in range(1400)
    ]
    lives = [["watch", i, -2.0, 0.4 + i / 1000, "reset", "c1", True] for i in range(200)]
    return [*new, *lives]


def test_the_silence_is_found_where_it_was() -> None:
    data = read(result(trials=2, stories=STORIES[:1]))
    for trial in data.faults[0].trials:
        found = silence(trial)
        assert found is not None and trial.silence is not None
        assert found[1] - found[0] == pytest.approx(trial.silence, abs=0.02)
        assert found[0] < 0.1 and found[1] > 0.1


def test_shown_trials_are_the_longest_the_failed_and_the_median() -> None:
    story = next(story for story in STORIES if story.name == "hang-haproxy")
    fault = read(result(trials=9, stories=[story])).faults[0]
    shown = chosen(fault)
    assert shown[0][0].silence == max(trial.silence or 0 for trial in fault.trials)
    assert [why for _, why in shown] == ["the longest silence", "the median"]
    assert shown[0][0].verdict == "fail"


def test_of_many_faults_the_longest_is_shown_and_one_that_did_not_pass() -> None:
    whole = result(trials=9, stories=STORIES[:1])
    for trial in whole["trials"]:
        trial["verdict"] = "fail" if trial["number"] in (2, 3) else "pass"
        trial["silence"] = 2.0 if trial["number"] == 1 else 0.1 * trial["number"]
    shown = chosen(read(whole).faults[0], few=True)
    assert [trial.number for trial, _ in shown] == [1, 3]
    whole["trials"][0]["verdict"] = "fail"
    assert [trial.number for trial, _ in chosen(read(whole).faults[0], few=True)] == [1]


def test_what_was_not_predicted_does_not_stretch_the_axis_of_what_was() -> None:
    faults = read(result(trials=2, stories=STORIES[:2])).faults
    beyond = replace(faults[1], budget=replace(faults[1].budget, expected=None, worst=None))
    beyond = replace(beyond, trials=tuple(replace(t, silence=20.0) for t in beyond.trials))
    place, _ = common_scale([faults[0], beyond])
    alone, _ = common_scale(faults[:1])
    assert place(0.3) == alone(0.3) and place(20.0) == WIDTH
    assert common_scale([beyond])[0](10.0) < WIDTH


@pytest.mark.parametrize(("begin", "end", "matters"), [(-2, 12, 0.4), (-1, 3, 1), (-5, 300, 40)])
def test_time_runs_one_way_over_the_whole_width(begin: float, end: float, matters: float) -> None:
    scale = time_scale(begin, end, matters)
    times = [begin + (end - begin) * i / 500 for i in range(501)]
    places = [scale(time) for time in times]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, WIDTH)
    assert scale(begin - 9) == 0 and scale(end + 9) == WIDTH
    names = [tick.label for tick in scale.ticks()]
    assert "0" in names and len(names) == len(set(names))


def test_time_around_the_strike_is_drawn_slower() -> None:
    scale = time_scale(-2, 30, 0.4)
    assert scale(0.4) - scale(0.0) > WIDTH * 0.15
    assert scale.faster
    assert time_scale(-2, 3, 2).faster == []


@pytest.mark.parametrize(
    ("ends", "lines"),
    [((-0.5, -0.496, 0.4, 0.401), 2), ((0.0, 0.2, 0.4), 3), ((5.0, 5.25, 5.5), 1), ((5.0, 5.5), 2)],
    ids=["close", "apart", "thinned", "missing"],
)
def test_answers_are_joined_where_none_is_missing(ends: tuple[float, ...], lines: int) -> None:
    tries = [Attempt("version", "1", end - 0.01, end, "ok", "c1", False) for end in ends]
    assert answers(tries, time_scale(-1, 6, 6), 4).count("M") == lines


def test_overlaps_of_holders() -> None:
    held = [Stretch("m1", -2, 0.5), Stretch("m2", 0.4, 3), Stretch("m3", 3, 9)]
    assert list(overlaps(held)) == [(0.4, 0.5)]


def test_one_scale_for_all_trials_of_a_fault() -> None:
    fault = read(result(trials=3, stories=STORIES[:1])).faults[0]
    scale = scale_of(fault)
    assert all(scale(trial.silence or 0.0) < WIDTH * 0.8 for trial in fault.trials)


def test_a_short_silence_long_after_the_strike_does_not_stretch_the_axis() -> None:
    fault = read(result(trials=1, stories=STORIES[:1])).faults[0]
    steady = tuple(Attempt("version", 0, t / 50, t / 50 + 0.01, "ok", "c1", False)
                   for t in range(-100, 600) if not 500 <= t < 505)  # fmt: skip
    late = replace(fault.trials[0], attempts=steady, silence=0.12, new_holder=None, two_holders=0.0)
    near = scale_of(replace(fault, trials=(late,)))
    assert near(1.0) - near(0.0) > 5 * (near(10.0) - near(9.0))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.038, "38 ms"),
        (0.341, "0.34 s"),
        (12.34, "12.3 s"),
        (140, "140 s"),
    ],
)
def test_durations_in_words(value: float | None, said: str) -> None:
    assert seconds(value).replace("\N{NO-BREAK SPACE}", " ") == said


def test_moments_in_words() -> None:
    assert moment(0.5).startswith("+0.50") and moment(-0.02).startswith("\N{MINUS SIGN}20")
    assert span([1, 1]) == "1" and span([0, 2]) == "0–2" and span([]) == "–"
    assert listing(["a", "b", "c"]) == "a, b and c"


def test_only_finite_numbers_are_numbers() -> None:
    assert number(1) == 1.0 and number("1") is None and number(True) is None
    assert number(float("nan")) is None and number(1e300) is None and number(10**400) is None


def test_a_result_survives_json() -> None:
    data = result(trials=1, stories=STORIES[:2])
    assert render(json.loads(json.dumps(data))) == render(data)
