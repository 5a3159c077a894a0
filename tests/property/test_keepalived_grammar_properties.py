"""Whatever the text, keepalived.conf's parser and rules answer, soon, and within the file."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubeha.grammar.keepalived import Statement, parse
from kubeha.grammar.keepalived_lines import reader
from kubeha.grammar.virtual_router import virtual_routers
from kubeha.keepalived import identity, unicast_peers, virtual_addresses
from kubeha.lint.keepalived import lint_keepalived, views

TESTS = Path(__file__).parents[1]
REAL = [
    path.read_text()
    for path in sorted((TESTS / "unit/lint/data").rglob("keepalived.conf"))
    + sorted((TESTS / "recorded/keepalived_conf").glob("*.txt"))
    + sorted((TESTS / "golden/three-nodes").rglob("keepalived.conf"))
]
# The file that includes itself by every name but its own, and an expansion within it.
OTHERS = reader({"more.conf": "include more.conf\n$A=${A}x\nvrrp_instance $A {\n", "b": "}\n"})


def judge(text: str) -> None:
    """Everything that reads such a file, on this text."""
    began = time.process_time()
    seen = [*views("f", text, OTHERS), parse(text, "f")]
    found = lint_keepalived(seen)
    identity(text), virtual_addresses(text), unicast_peers(text)
    assert time.process_time() - began < 10
    last = text.count("\n") + 1
    places = [p.place for view in seen for p in view.problems]
    places += [each.place for view in seen for each in view.walk()]
    assert all(place.file != "f" or 1 <= place.line <= last for place in places)
    assert all(each.file != "f" or 1 <= each.line <= last for each in found)
    assert all(each.message and each.fix for each in found)


@given(st.text(max_size=400))
@example("\\")
@example("$A=\\\n\\\n$A")
@example("~SEQ(A,1,3)~SEQ(A,1,3)$A\n")
@example("@ @^ @\t\nvrrp_instance\n{\n")
def test_any_text(text):
    judge(text)


PIECES = [
    "vrrp_instance", "global_defs", "{", "}", "\n", " ", '"', "'", "#", "!", "\\", "$A", "${A}",
    "$A=", "~SEQ(A, 1, 9)", "~LST({A,B},{1,2})", "@a ", "@^a ", "include more.conf", "include *",
    "virtual_ipaddress", "198.51.100.10/24", "2001:db8::1", "dev eth0", "track_script", "weight",
    "-60", "unicast_peer", "virtual_router_id 51", "priority", "255", "state MASTER", "nopreempt",
    "advert_int", "1e9", "nan", "0.1", "authentication", "auth_type PASS", "auth_pass", "\0", "é",
    "vrrp_script s", 'script "killall -0 x"', "vrrp_sync_group", "group", "track_file", "٣", "1_0",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_order_of_what_the_grammar_has(pieces):
    judge("".join(pieces))
    judge(" ".join(pieces))


MUTATIONS = st.sampled_from(["drop", "double", "flip", "insert", "swap", "cut"])
STEPS = st.lists(
    st.tuples(MUTATIONS, st.floats(0, 1), st.floats(0, 1), st.sampled_from(PIECES)),
    min_size=1,
    max_size=6,
)


def mutated(text: str, steps) -> str:
    for kind, start, length, piece in steps:
        first = int(start * len(text))
        last = min(len(text), first + 1 + int(length**3 * 80))
        part = text[first:last]
        new = {
            "drop": "",
            "double": part * 2,
            "flip": "".join(chr(ord(c) ^ 4) for c in part[:3]) + part[3:],
            "insert": piece + part,
            "swap": part[::-1],
            "cut": None,
        }[kind]
        text = text[:first] if new is None else text[:first] + new + text[last:]
    return text


@settings(max_examples=150)
@given(st.sampled_from(REAL), STEPS)
def test_any_mutation_of_a_real_file(text, steps):
    judge(mutated(text, steps))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_mutated_files():
    dice = random.Random(20240229)
    kinds = ["drop", "double", "flip", "insert", "swap", "cut"]
    for _ in range(10_000):
        steps = [
            (dice.choice(kinds), dice.random(), dice.random(), dice.choice(PIECES))
            for _ in range(dice.randint(1, 8))
        ]
        judge(mutated(dice.choice(REAL), steps))


WORDS = st.text("abcxyz_./:-%019", min_size=1, max_size=8).filter(lambda w: w != "include")
TREES = st.recursive(
    st.tuples(st.lists(WORDS, min_size=1, max_size=4).map(tuple), st.none()),
    lambda inner: st.tuples(
        st.lists(WORDS, min_size=1, max_size=3).map(tuple), st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)


def rendered(tree, draw) -> str:
    """A tree as some author would write it."""
    words, block = tree
    blank = draw(st.sampled_from([" ", "\t", "  "]))
    text = blank.join(f'"{w}"' if draw(st.booleans()) else w for w in words)
    if block is None:
        return text
    begin = draw(st.sampled_from([" {\n", "\n{\n", "{ # why\n", "\n\n  {\n"]))
    inside = "".join(rendered(each, draw) + ends(draw) for each in block)
    return text + begin + inside + "}"


def ends(draw) -> str:
    return draw(st.sampled_from(["\n", " \n", " # a { comment\n", " ! another } one\n\n"]))


def plain(statement: Statement):
    inside = statement.block
    return (statement.words, None if inside is None else tuple(map(plain, inside)))


@settings(max_examples=50)
@given(st.lists(TREES, max_size=4), st.data())
def test_what_was_written_is_read(trees, data):
    text = "".join(rendered(tree, data.draw) + ends(data.draw) for tree in trees)
    parsed = parse(text)
    assert parsed.problems == ()
    assert [plain(each) for each in parsed.statements] == trees


@given(st.sampled_from(REAL), st.sampled_from(["a", "b", None]), st.randoms(use_true_random=False))
def test_conditions_leave_out_lines_and_nothing_else(text, config_id, dice):
    """A file with conditions is, for one machine, the file without the others' lines."""
    marks = {"": True, "@a ": config_id == "a", "@^a ": config_id != "a"}
    lines = text.split("\n")
    chosen = [dice.choice(list(marks)) if simple(line) else "" for line in lines]
    with_marks = "\n".join(mark + line for mark, line in zip(chosen, lines, strict=True))
    pairs = zip(chosen, lines, strict=True)
    without = "\n".join(line if marks[mark] else "" for mark, line in pairs)
    one, other = parse(with_marks, config_id=config_id), parse(without)
    assert list(map(plain, one.statements)) == list(map(plain, other.statements))
    assert [(r.priority, r.vrid, r.state, r.advert_int) for r in virtual_routers(one)] == [
        (r.priority, r.vrid, r.state, r.advert_int) for r in virtual_routers(other)
    ]


def simple(line: str) -> bool:
    """Neither a block's beginning nor its end."""
    return bool(line.strip()) and not set(line) & set("{}")
