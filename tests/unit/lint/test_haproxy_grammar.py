"""haproxy.cfg's grammar: words, conditional blocks, sections, and what a proxy has in the end."""

import pytest
from lint.haproxy_files import GOOD

from kubeha.grammar.haproxy import parse
from kubeha.grammar.haproxy_addresses import address, seconds
from kubeha.grammar.haproxy_conditions import ConditionError, Known, decide, version_of
from kubeha.grammar.haproxy_proxies import Proxy, proxies
from kubeha.grammar.haproxy_words import WordError, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  a\tb  # c", ["a", "b"]),
        ("a\\ b c\\#d", ["a b", "c#d"]),
        ("'a b'\"c d\" e", ["a bc d", "e"]),
        ('\'a\\ b\' "a\\"b"', ["a\\ b", 'a"b']),
        ("\\x41\\t\\n\\q", ["A\t\n\\q"]),
        ('"$A" $A "${A}" \'$A\' "\\$A" \\$A', ["1", "$A", "1", "$A", "$A", "\\$A"]),
        ('"${B[*]}" "${B}"', ["x", "y", "x y"]),
        ('"${N-a b}" "${A-a b}"', ["a b", "1"]),
        ("a '' b", ["a", "", "b"]),
        ("a\rb", ["a"]),
        ("# only", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert list(split(text, {"A": "1", "B": "x y"}).words) == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a "b', "never closed"),
        ("a 'b # c", "never closed"),
        ("\\x4", "hexadecimal"),
        ('"${A"', "brace is never closed"),
        ('"${A[1]}"', "only [*]"),
        ('"$1"', "no name"),
        (" ".join("x" * 65), "65 words"),
    ],
)
def test_lines_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(WordError, match=why.replace("[", r"\[").replace("*", r"\*")):
        split(text)


def test_an_unknown_variable_stays_and_is_named() -> None:
    found = split('bind "${VIP}:8443"')
    assert found.words == ("bind", "${VIP}:8443")
    assert found.unknown == ("VIP",)


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("", False),
        ("1", True),
        ("0 || !0", True),
        ("1 && 0", False),
        ("!(0 || 1)", False),
        ("version_atleast(2.6)", True),
        ("version_atleast(2.6.13)", False),
        ("version_before(2.7-dev1)", True),
        ("defined(A)", True),
        ("defined(B)", None),
        ("feature(OPENSSL)", None),
        ("feature(OPENSSL) && 0", False),
        ("feature(OPENSSL) || 1", True),
        ("!enabled(POLL)", None),
        ('streq("a",a) && strneq(a,b) && strstr(abc,b)', True),
        ("streq(${X},a)", None),
    ],
)
def test_conditions(condition: str, answer: bool | None) -> None:
    assert decide(condition, Known((2, 6, 12), {"A": "1"})) is answer


@pytest.mark.parametrize("condition", ["(1", "1)", "yes", "1 1", "x(1)", "streq(a)", "!", "1 &&"])
def test_conditions_that_are_refused(condition: str) -> None:
    with pytest.raises(ConditionError):
        decide(condition, Known())


def test_a_version_is_needed_for_version_atleast() -> None:
    assert decide("version_atleast(2.6)", Known()) is None
    assert version_of("2.6.12-1+deb12u1") == (2, 6, 12)
    with pytest.raises(ValueError, match="not a version"):
        version_of("latest")


def test_deep_nesting_is_refused_not_fatal() -> None:
    with pytest.raises(ConditionError, match="deep"):
        decide("(" * 5000 + "1" + ")" * 5000, Known())
    with pytest.raises(ConditionError, match="deep"):
        decide("!" * 5000 + "1", Known())


def kept(text: str) -> list[str]:
    """The first words of the statements that count in a global section."""
    return [each.keyword for each in parse(f"global\n{text}").sections[0].statements]


def test_conditional_blocks() -> None:
    text = "{0}a\n.elif {1}\nb\n.elif 1\nc\n.else\nd\n.endif\ne\n"
    assert kept(text.format(".if 1\n", "1")) == ["a", "e"]
    assert kept(text.format(".if 0\n", "1")) == ["b", "e"]
    assert kept(text.format(".if 0\n", "0")) == ["c", "e"]
    assert kept(".if 0\na\n.else\nd\n.endif\n") == ["d"]
    inner = ".if 0\n.if 1\na\n.else\nb\n.endif\n.else\n.if 1\nc\n.endif\n.endif\n"
    assert kept(inner) == ["c"]


def test_lines_that_do_not_count_may_hold_anything_but_broken_quotes() -> None:
    assert parse("global\n.if 0\nnonsense\n.foo\nno retries\n.endif\n").problems == ()
    assert [p.line for p in parse("global\n.if 0\na 'b\n.endif\n").problems] == [3]


def test_an_undecided_block_is_taken_and_told() -> None:
    file = parse("global\n.if feature(X)\na\n.else\nb\n.endif\n")
    assert [each.keyword for each in file.sections[0].statements] == ["a"]
    assert [(each.line, each.condition) for each in file.assumptions] == [(2, "feature(X)")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [0]),
        ("a\nglobal\n", [1]),
        ("global\n.endif\n", [2]),
        ("global\n.if 1\na\n", [2]),
        ("global\n.if 1\n.else\n.else\n.endif\n", [4]),
        ("global\n.if 1\n.else\n.elif 1\n.endif\n", [4]),
        ("global\n.else\n.elif 1\n", [2, 3]),
        ("global\n.foo\n", [2]),
        ("global\n.alert stop\n", [2]),
        ("global\n.notice x\n.warning y\n.diag z\n", []),
        ("global\nno maxconn 1\n", [2]),
        ("global\nno log\nno\n", []),
        ("frontend\n", [1]),
        ("global\na\x00b\n", [2]),
        ("global\na", [2]),
        ("global\n.if nonsense\nb\n.endif\n", [2]),
    ],
)
def test_problems_have_their_line(text: str, lines: list[int]) -> None:
    assert [problem.line for problem in parse(text).problems] == lines


def test_setenv_is_seen_by_later_lines() -> None:
    text = 'global\nsetenv A 1\npresetenv A 2\npresetenv B 3\nx "$A$B"\nunsetenv A\ny "${A-z}"\n'
    words = [each.words for each in parse(text).sections[0].statements]
    assert ("x", "13") in words
    assert ("y", "z") in words


@pytest.mark.parametrize(
    ("text", "value"),
    [("50000", 50), ("5s", 5), ("10m", 600), ("4h", 14400), ("1d", 86400), ("500us", 0.0005)]
    + [("5 s", None), ("", None), ("-1", None), ("5w", None), ("²", None)],
)
def test_durations(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "host", "port", "wildcard", "loopback"),
    [
        (":8443", "", 8443, True, False),
        ("*:8443", "*", 8443, True, False),
        ("0.0.0.0:8443", "0.0.0.0", 8443, True, False),
        ("[::]:8443", "[::]", 8443, True, False),
        (":::8443", "::", 8443, True, False),
        ("ipv6@:8443", "", 8443, True, False),
        ("127.0.0.1:80", "127.0.0.1", 80, False, True),
        ("[::1]:80", "[::1]", 80, False, True),
        ("198.51.100.11", "198.51.100.11", None, False, False),
        ("[2001:db8::1]", "[2001:db8::1]", None, False, False),
        ("tcp4@198.51.100.11:1-9", "198.51.100.11", 1, False, False),
        ("/run/x.sock", "/run/x.sock", None, False, True),
        ("abns@x", "abns@x", None, False, True),
        ("name.example:+100", "name.example", None, False, False),
        ("${VIP}:8443", "${VIP}", 8443, False, False),
    ],
)
def test_addresses(text: str, host: str, port: int | None, wildcard: bool, loopback: bool) -> None:
    found = address(text)
    assert (found.host, found.first_port) == (host, port)
    assert (found.wildcard, found.loopback) == (wildcard, loopback)


def test_a_range_of_ports() -> None:
    found = address(":8440-8450")
    assert [found.has_port(port) for port in (8439, 8440, 8450, 8451)] == [False, True, True, False]


def backend(text: str) -> Proxy:
    (found,) = proxies(parse(text))
    return found


def test_default_server_counts_for_the_servers_below_it() -> None:
    found = backend(
        "defaults\n default-server inter 9s\nbackend b\n server a 1.2.3.4:1 check\n"
        " default-server check rise 4\n server b 1.2.3.4:2\n server c 1.2.3.4:3 no-check inter 1s\n"
    )
    first, second, third = found.servers
    assert (first.value("inter"), first.value("rise"), first.checked) == ("9s", None, True)
    assert (second.value("inter"), second.value("rise"), second.checked) == ("9s", "4", True)
    assert (third.duration("inter", 2.0), third.checked) == (1.0, False)


def test_own_lines_count_over_those_of_defaults() -> None:
    found = backend(
        "defaults\n timeout client 1s\n timeout server 2s\n option redispatch\n mode http\n"
        "listen b\n bind :1,:2 transparent\n timeout client 3m\n no option redispatch\n"
    )
    assert found.mode == "http"
    assert (found.timeout_seconds("client"), found.timeout_seconds("server")) == (180, 2)
    assert found.option("redispatch") is None
    assert [bind.address.first_port for bind in found.binds] == [1, 2]
    assert all("transparent" in bind.parameters for bind in found.binds)


def test_defaults_by_name_and_in_a_circle() -> None:
    text = "defaults a from b\n mode http\ndefaults b from a\n retries 1\nbackend x from a\n"
    found = backend(text)
    assert [section.name for section in found.defaults] == ["a", "b"]
    assert found.mode == "http"
    assert proxies(parse(GOOD.replace("backend kube", "backend kube-masters from no #")))


def test_targets() -> None:
    frontend = proxies(parse("frontend f\n use_backend a if X\n default_backend b\n"))[0]
    assert [name for name, _ in frontend.targets()] == ["b", "a"]
