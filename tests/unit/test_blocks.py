"""How findings read: in order, told once, folded where the terminal ends."""

import io

from rich.console import Console

from kubeha.blocks import findings_summary, findings_text, hint
from kubeha.checks.finding import FOREIGN_FILE, NO_CA, NOT_READ, PORT_TAKEN, SERVER_DOWN, VIP_TAKEN
from kubeha.checks.ignoring import ignoring
from kubeha.model import Ignore

TAKEN = VIP_TAKEN.at("", "198.51.100.10 is in use by somebody", "choose a free VIP", "m1 heard it")


def taken(node: str, evidence: str = "0.0.0.0:8443 nginx"):
    fix = f"stop nginx on {node}, or choose another endpoint.port"
    return PORT_TAKEN.at(node, "port 8443 is in use by nginx", fix, evidence)


def foreign(node: str, path: str):
    return FOREIGN_FILE.at(node, f"{path} was not written by kubeha", "kubeha apply --adopt")


def shown(text: str) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=500, highlight=False, soft_wrap=True).print(text)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_worst_comes_first_and_in_it_the_lowest_code() -> None:
    found = [NOT_READ.at("", "a", "b"), NO_CA.at("", "a", "b"), taken("m2"), TAKEN]
    codes = [line[:5] for line in shown(findings_text(found)) if line.startswith("KH")]
    assert codes == ["KH301", "KH303", "KH602", "KH607"]


def test_the_same_on_several_nodes_is_told_once() -> None:
    assert shown(findings_text([taken("m2"), taken("m3")])) == [
        "KH303 error   m2, m3: port 8443 is in use by nginx",
        "      seen    0.0.0.0:8443 nginx",
        "      do      stop nginx on NODE, or choose another endpoint.port",
    ]


def test_one_on_one_node_keeps_its_words() -> None:
    assert "      do      stop nginx on m2, or choose another endpoint.port" in shown(
        findings_text([taken("m2")])
    )


def test_what_was_seen_is_told_of_each_node_where_it_differs() -> None:
    lines = shown(findings_text([taken("m2", "pid 7"), taken("m3", "pid 8")]))
    assert lines[1:3] == ["      seen    m2: pid 7", "      seen    m3: pid 8"]


def test_different_things_on_several_nodes_stay_apart() -> None:
    lines = shown(findings_text([foreign("m2", "/etc/a"), foreign("m3", "/etc/b")]))
    assert lines[0] == "KH205 error   m2: /etc/a was not written by kubeha"
    assert lines[2] == "KH205 error   m3: /etc/b was not written by kubeha"


def test_the_name_of_a_node_is_its_whole_word() -> None:
    """A node called `endpoint` must not turn `endpoint.port` into something else."""
    lines = shown(findings_text([taken("endpoint"), taken("m3")]))
    assert "      do      stop nginx on NODE, or choose another endpoint.port" in lines


def test_several_nodes_that_speak_of_one_of_them_say_the_same() -> None:
    found = [SERVER_DOWN.at(node, "API server m3 is out", "see m3") for node in ("m1", "m2", "m3")]
    assert shown(findings_text(found)) == [
        "KH502 warning m1, m2, m3: API server m3 is out",
        "      do      see m3",
    ]


def test_long_lines_are_folded_below_themselves() -> None:
    lines = shown(findings_text([taken("m2"), taken("m3")], width=50))
    assert lines == [
        "KH303 error   m2, m3: port 8443 is in use by nginx",
        "      seen    0.0.0.0:8443 nginx",
        "      do      stop nginx on NODE, or choose",
        "              another endpoint.port",
    ]
    assert max(map(len, lines)) <= 50


def test_on_a_terminal_long_evidence_is_cut_and_elsewhere_it_is_whole() -> None:
    long = taken("m2", "word " * 200)
    folded = shown(findings_text([long], width=60))
    assert len(folded) == 7 and folded[4].endswith(" ...")
    assert shown(findings_text([long]))[1].count("word") == 200


def test_what_is_ignored_comes_last_with_its_reason_and_without_what_to_do() -> None:
    reason = "nginx leaves on Monday"
    found = ignoring([taken("m2"), NO_CA.at("", "no CA yet", "go on")], [
        Ignore(code="KH303", reason=reason)
    ])  # fmt: skip
    assert shown(findings_text(found)) == [
        "KH602 warning no CA yet",
        "      do      go on",
        "KH303 ignored m2: port 8443 is in use by nginx",
        "      seen    0.0.0.0:8443 nginx",
        "      because nginx leaves on Monday",
    ]
    assert findings_summary(found) == "1 warning, 1 ignored"


def test_a_hint_names_the_code_to_begin_with() -> None:
    assert hint([NO_CA.at("", "a", "b"), TAKEN]) == "what one means: kubeha explain KH301"
    assert hint([]) == ""
