"""Findings that somebody lives with: on the command line, in the cluster file, in what counts."""

import pytest
from worlds import bare, cluster

from kubeha.checks.finding import NO_CA, PORT_TAKEN, Finding, catalogue, counted
from kubeha.checks.ignoring import NEVER, idle, ignoring
from kubeha.cli.cluster_file import ignoring as with_ignores
from kubeha.cli.options import ignores
from kubeha.cli.verdict import exit_code
from kubeha.config import parse
from kubeha.errors import ConfigError, ExitCode, UsageError
from kubeha.model import Ignore
from kubeha.world import World

FILE = """\
cluster: test
endpoint: {{vip: 198.51.100.10}}
control_plane:
  - {{name: m1, address: 198.51.100.11}}
  - {{name: m2, address: 198.51.100.12}}
ignore:
{}
"""


def taken(node: str) -> Finding:
    return PORT_TAKEN.at(node, "port 8443 is in use by nginx", "stop it")


def found() -> tuple[Finding, ...]:
    return (taken("m1"), taken("m2"), NO_CA.at("", "no CA yet", "go on"))


@pytest.mark.parametrize(
    ("ignore", "reasons"),
    [
        (Ignore(code="KH303", reason="why"), ["why", "why", None]),
        (Ignore(code="KH303", node="m2", reason="why"), [None, "why", None]),
        (Ignore(code="KH303", node="m3", reason="why"), [None, None, None]),
        (Ignore(code="KH602", reason="why"), [None, None, "why"]),
        (Ignore(code="KH304", reason="why"), [None, None, None]),
    ],
    ids=["anywhere", "one-node", "another-node", "the-cluster", "another-code"],
)
def test_a_code_and_maybe_a_node_say_what_is_ignored(
    ignore: Ignore, reasons: list[str | None]
) -> None:
    assert [each.ignored for each in ignoring(found(), [ignore])] == reasons
    assert [each.as_json()["ignored"] for each in ignoring(found(), [ignore])] == reasons


def test_what_is_ignored_does_not_count() -> None:
    world = World(cluster(), {"m1": bare("m1", "198.51.100.11")})
    assert exit_code(world, (taken("m1"),)) is ExitCode.DOES_NOT_HOLD
    one = ignoring([taken("m1")], [Ignore(code="KH303", reason="why")])
    assert exit_code(world, one) is ExitCode.OK
    assert counted(one) == ()
    both = ignoring(found(), [Ignore(code="KH303", node="m2", reason="why")])
    assert exit_code(world, both) is ExitCode.DOES_NOT_HOLD


def test_what_matched_nothing_is_known() -> None:
    wanted = (Ignore(code="KH303", node="m3", reason="a"), Ignore(code="KH602", reason="b"))
    assert [each.words for each in idle(found(), wanted)] == ["KH303@m3"]


@pytest.mark.parametrize(
    ("text", "words", "reason"),
    [
        ("KH303=nginx is going", "KH303", "nginx is going"),
        ("kh303@m2= a=b ", "KH303@m2", "a=b"),
        ("303=x", "KH303", "x"),
    ],
)
def test_the_option(text: str, words: str, reason: str) -> None:
    (ignore,) = ignores([text])
    assert (ignore.words, ignore.reason) == (words, reason)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("KH303", "a reason is wanted", 'such as: --ignore KH303="'),
        ("KH303=  ", "a reason is wanted", 'such as: --ignore KH303="'),
        ("KH303@=x", "a node after @", 'such as: --ignore KH303="'),
        ("KH3O3=x", "KH3O3: there is no such finding", "did you mean KH303?"),
        ("KH201@m1=x", "KH201 cannot be ignored", "neither changed nor judged"),
        ("KH205=x", "KH205 cannot be ignored", "kubeha apply --adopt"),
        ("KH303=a\nb", "the reason must be text without control characters", ""),
    ],
)
def test_an_option_that_makes_no_sense(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        ignores([text])
    assert message in str(error.value) and hint in error.value.hint


def test_a_node_that_is_not_in_the_cluster_file() -> None:
    with pytest.raises(UsageError, match="there is no node m9") as error:
        with_ignores(cluster(), ["KH303@m9=x"])
    assert error.value.hint == "there are m1, m2, m3"


def test_the_command_line_comes_before_the_file() -> None:
    of = cluster(ignore=(Ignore(code="KH303", reason="the file's"),))
    of = with_ignores(of, ["KH303@m2=mine"])
    reasons = [each.ignored for each in ignoring(found(), of.ignore)]
    assert reasons == ["the file's", "mine", None]


def test_the_cluster_file() -> None:
    text = FILE.format('  - {code: KH303, node: m2, reason: "until Monday"}\n')
    loaded = parse(text.encode(), "kubeha.yaml")
    assert loaded.cluster.ignore == (Ignore(code="KH303", node="m2", reason="until Monday"),)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{code: KH3O3, reason: x}", "must be a finding's code, such as KH305"),
        ("{code: KH000, reason: x}", "there is no finding KH000 ("),
        ("{code: KH201, reason: x}", "KH201 cannot be ignored (what cannot be asked"),
        ("{code: KH303, node: m4, reason: x}", 'there is no node "m4" (there are m1, m2)'),
        ("{code: KH303}", "ignore[0].reason: is missing"),
        ("{code: KH303, reason: ''}", "ignore[0].reason: must"),
        ("{code: KH303, why: x}", "ignore[0].why: unknown key"),
        ("{code: KH303, reason: x}\n  - {code: KH303, reason: y}", "the same as ignore[0]"),
    ],
)
def test_a_cluster_file_that_makes_no_sense(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(FILE.format(f"  - {line}\n").encode(), "kubeha.yaml")
    assert any(problem in each for each in error.value.problems), error.value.problems


def test_what_can_never_be_ignored_are_findings() -> None:
    assert set(NEVER) <= {kind.code for kind in catalogue()}
