"""keepalived.conf's grammar: comments, conditions, definitions, sequences, includes, blocks."""

import time
from textwrap import dedent

import pytest

from kubeha.grammar.keepalived import MAX_NESTING, parse, script_words, split_words
from kubeha.grammar.keepalived_lines import MAX_LINES, reader
from kubeha.grammar.virtual_router import virtual_routers


def lines(text: str, **how) -> list[str]:
    """Every statement, indented by its depth."""

    def shown(statement, depth):
        yield "  " * depth + " ".join(statement.words)
        for each in statement.block or ():
            yield from shown(each, depth + 1)

    parsed = parse(dedent(text), **how)
    assert parsed.problems == (), parsed.problems
    return [line for statement in parsed.statements for line in shown(statement, 0)]


def told(text: str, **how) -> list[str]:
    return [str(problem) for problem in parse(dedent(text), "f", **how).problems]


@pytest.mark.parametrize(
    "text",
    [
        "a {\n b 1\n}",
        "a\n{\n b 1\n}",
        "a { b 1 }",
        "a{b 1}",
        "a { b 1\n}",
        "a {\nb 1 }",
        "a\n\n{ b 1 }",
    ],
)
def test_braces_may_stand_anywhere(text):
    assert lines(text) == ["a", "  b 1"]


def test_a_statement_may_follow_a_brace():
    assert lines("a { b { c } d } e") == ["a", "  b", "    c", "  d", "e"]


def test_comments():
    text = """\
        ! one
        a 1 # two
        b#three
        c "#4" "!5" !six
        d e\\#7 "\\#8"
        f "\\#9"
    """
    assert lines(text) == ["a 1", "b", "c #4 !5", "d e", "f \\#9"]
    assert [lost for _, lost, _ in parse(text).cut] == ["#three", "#7"]


def test_quotes():
    assert split_words('script "/bin/check a" b') == (("script", "/bin/check a", "b"), False)
    assert split_words('a"b c"d') == (("a", "b c", "d"), False)
    assert split_words('a "b') == (("a", "b"), True)
    assert lines('a "{ }" {\n b\n}') == ["a { }", "  b"]


def test_commands_are_split_as_by_a_shell():
    statement = parse("""script "/bin/check ' two words' it\\'s" \\x""").statements[0]
    assert script_words(statement) == ("script", "/bin/check", " two words", "it's", "x")


def test_conditions():
    text = "@high a 1\n@low a 2\n@^high b\n@\tc\nd"
    assert lines(text, config_id="high") == ["a 1", "d"]
    assert lines(text, config_id="low") == ["a 2", "b", "d"]
    assert lines(text) == ["b", "d"]
    assert parse(text).config_ids == ("high", "low")


def test_definitions_are_replaced_when_used():
    text = """\
        $BASE=10.2.${SUB}
        $SUB=0
        a ${BASE}.100/32
        $SUB=10
        a ${BASE}.100/32
        a $BASE
        a $BASE.100
    """
    assert lines(text) == ["a 10.2.0.100/32", "a 10.2.10.100/32", "a 10.2.10", "a $BASE.100"]


def test_conditions_and_definitions_together():
    assert lines("$IF=@high\n$IF a", config_id="high") == ["a"]
    assert lines("@high $P=1\n@^high $P=2\na $P") == ["a 2"]


def test_the_manuals_definition_of_several_lines():
    text = """\
        $INSTANCE= \\
        vrrp_instance VI_${NUM} { \\
            @high priority 130 \\
            @low priority 120 \\
            virtual_ipaddress { \\
                10.0.${NUM}.254/24 \\
            } \\
        }

        $NUM=0
        $INSTANCE

        $NUM=1
        $INSTANCE
    """
    assert lines(text, config_id="low") == [
        "vrrp_instance VI_0", "  priority 120", "  virtual_ipaddress", "    10.0.0.254/24",
        "vrrp_instance VI_1", "  priority 120", "  virtual_ipaddress", "    10.0.1.254/24",
    ]  # fmt: skip


def test_definitions_within_definitions():
    text = (
        "$RS= \\\nr ${V}.${N} \\\ns\n\n$VS= \\\nv $V \\\n$N=1 \\\n$RS \\\n$N=2 \\\n$RS\n\n$V=7\n$VS"
    )
    assert lines(text) == ["v 7", "r 7.1", "s", "r 7.2", "s"]


def test_what_is_defined_from_the_start():
    text = 'a ${_INSTANCE} ${_PWD} "${_HASH}" b${_BANG}c'
    assert lines(text, name="/etc/k/f", config_id="m1") == ["a m1 /etc/k # b"]


def test_undefined_names_stay_and_are_told_of():
    parsed = parse("a ${NO} $NO2\nb $1 '$(x)'")
    assert [s.text for s in parsed.statements] == ["a ${NO} $NO2", "b $1 '$(x)'"]
    assert [name for name, _ in parsed.undefined] == ["NO", "NO2"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("~SEQ(S, 0, 3) a ${S}", ["a 0", "a 1", "a 2", "a 3"]),
        ("~SEQ(S, 2) a $S", ["a 1", "a 2"]),
        ("~SEQ(S, -2) a $S", ["a -1", "a -2"]),
        ("~SEQ(S, 3, 1) a $S", ["a 3", "a 2", "a 1"]),
        ("~SEQx(S, 144, 16, 192) a $S", ["a 90", "a a0", "a b0", "a c0"]),
        ("~SEQx(S, 0x12, -1, 0x10) a $S", ["a 12", "a 11", "a 10"]),
        ("~SEQ(A,1,2) ~SEQ(B,3,4) a $A $B", ["a 1 3", "a 1 4", "a 2 3", "a 2 4"]),
        ("~LST(I, 1, 2) ~LST(J, 5,6) a ${I}.${J}", ["a 1.5", "a 1.6", "a 2.5", "a 2.6"]),
        ("~LST({I, J}, {10,1},{20,4}) a ${I}.${J}", ["a 10.1", "a 20.4"]),
        ("~LST({I,J},{1,2}) ~SEQ(K,168,2,172) ${K}.${I}.$J", ["168.1.2", "170.1.2", "172.1.2"]),
        ("$N=3\n~SEQ(S, 2, $N) a $S", ["a 2", "a 3"]),
    ],
)  # fmt: skip
def test_the_manuals_sequences(text, expected):
    assert lines(text) == expected


@pytest.mark.parametrize(
    "text", ["~SEQ(S) a", "~SEQ(S, 1, 0, 2) a", "~SEQ(S, 1, -1, 2) a", "~SEQx(S, -3) a",
             "~LST(S) a", "~LST({A,B},{1}) a", "~SEQ(S, x) a"],
)  # fmt: skip
def test_what_is_no_sequence(text):
    assert "not a sequence" in told(text)[0]


FILES = {
    "/etc/keepalived/conf.d/a.conf": "a {\n include ../deep/*.inc\n}\n",
    "/etc/keepalived/conf.d/b.conf": "b\n",
    "/etc/keepalived/conf.d/sub/c.conf": "c\n",
    "/etc/keepalived/deep/d.inc": "d\n",
}


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("conf.d/*.conf", ["a", "  d", "b"]),
        ("/etc/keepalived/conf.d/b.conf", ["b"]),
        ("conf.d/{b,a}.conf", ["a", "  d", "b"]),
        ('"conf.d/[b-z]*"', ["b"]),
    ],
)
def test_includes(pattern, expected):
    text = f"include {pattern}\nincluder {pattern}"
    assert lines(text, name="/etc/keepalived/keepalived.conf", read=reader(FILES)) == expected * 2


def test_places_are_those_of_the_included_file():
    parsed = parse("x\ninclude conf.d/a.conf", "/etc/keepalived/f", read=reader(FILES))
    assert [str(s.place) for s in parsed.walk()] == [
        "/etc/keepalived/f:1",
        "/etc/keepalived/conf.d/a.conf:1",
        "/etc/keepalived/deep/d.inc:1",
    ]


def test_includes_that_go_in_circles():
    loop = reader({"a": "include b\n", "b": "include a\n"})
    assert told("include a", read=loop) == ["b:1: a includes itself"]
    many = reader({str(n): f"include {n + 1}\n" for n in range(100)})
    assert told("include 0", read=many) == ["11:1: too many files include one another"]


def test_includes_that_are_not_there():
    problems = (
        parse("include a\n", "f").problems + parse("include a\n", "f", read=reader({})).problems
    )
    assert [(p.unseen, p.place.line) for p in problems] == [(True, 1), (True, 1)]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a {\n b\n", "f:1: a { has no closing brace"),
        ("a {\n}\n}\n", "f:3: a closing brace that closes nothing"),
        ("{\n", "f:1: an opening brace that belongs to no keyword"),
        ("vrrp_instance A\ninterface eth0\n}", "f:1: vrrp_instance A needs a block in braces"),
        ('a "b\n', 'f:1: a " without its end'),
        ("$A=$A\nb $A", "f:2: the expansion of definitions and sequences does not end"),
        ("$A= \\\nb \\\n$A\n\n$A", "f:5: the expansion of definitions and sequences does not end"),
        ("~SEQ(A, 1, 99999999) b", "f:1: the expansion of definitions and sequences does not end"),
        (
            "$A= \\\nb \\\nc\n\nd $A e",
            "f:5: $A has several lines: nothing may follow it on its line",
        ),
        ("a \\\n", "f:1: a backslash at the end continues no line; only definitions go on"),
    ],
)
def test_problems_have_their_place(text, problem):
    assert told(text) == [problem]


def test_blocks_nested_too_deep():
    assert told("a {\n" * (MAX_NESTING + 1) + "}\n" * (MAX_NESTING + 1)) == [
        f"f:{MAX_NESTING + 1}: blocks are nested too deep",
        f"f:{2 * MAX_NESTING + 2}: a closing brace that closes nothing",
    ]


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, "}" * 100_000, "a {\n" * 50_000, '"' * 100_001, "\\" * 100_000, "$A" * 50_000,
     "~LST(" + "{a," * 50_000, "$A=" + "${A}" * 10_000 + "\n$A", "a#" * 100_000,
     "~SEQ(A,1,9)" * 5_000 + " b", "@a " * 50_000, "include {" + "{a,b}" * 5_000 + "\n"],
    ids=["open", "close", "nested", "quotes", "escapes", "names", "lists", "selves", "comments",
         "sequences", "conditions", "includes"],
)  # fmt: skip
def test_nothing_takes_long(text):
    began = time.process_time()
    parsed = parse(text, read=reader({"a": "b"}))
    virtual_routers(parsed)
    assert time.process_time() - began < 4
    assert sum(1 for _ in parsed.walk()) <= MAX_LINES + 100_000
