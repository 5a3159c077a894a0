"""Spoiled files: whatever an editor, a disk or a template has done to them, lint judges them."""

import random
from pathlib import Path

import pytest

from kubeha.lint import as_json
from kubeha.lint.sources import Grammar, Source, node_of, recognise
from kubeha.lint.text import findings_text
from kubeha.lint.whole import Programs, judge

HERE = Path(__file__).parent
FILES = sorted(
    path
    for directory in (HERE / "data", HERE.parents[1] / "golden")
    for path in directory.rglob("*")
    if path.name in ("haproxy.cfg", "keepalived.conf")
)
# What stands for something in one of the grammars.
PIECES = [
    *"\"'\\{}[]()#!@$%=:,/-*\0\r\t\x7f\u00e4\u2028",
    "${",
    "[*]",
    "\\x",
    "\n\n",
    " no ",
    ".if ",
]
PIECES += [
    ".endif",
    "server ",
    "bind ",
    "timeout ",
    "include ",
    "default-server ",
    "99999999999999",
]
PIECES += ["~SEQ(a,1,9)", "$A=", "@x ", "-1", "0", "65536:", "::", "from ", "defaults ", "1e9", "²"]


def spoiled(text: str, chance: random.Random) -> str:
    """One to eight mutations."""
    for _ in range(chance.randint(1, 8)):
        text = chance.choice(MUTATIONS)(text, chance)
    return text


def _at(text: str, chance: random.Random) -> int:
    return chance.randrange(len(text) + 1)


def flip(text: str, chance: random.Random) -> str:
    at = _at(text, chance)
    bit = 1 << chance.randrange(7)
    return text[:at] + "".join(chr(ord(c) ^ bit) for c in text[at : at + 1]) + text[at + 1 :]


def insert(text: str, chance: random.Random) -> str:
    at = _at(text, chance)
    return text[:at] + chance.choice(PIECES) + text[at:]


def delete(text: str, chance: random.Random) -> str:
    at = _at(text, chance)
    return text[:at] + text[at + chance.choice((1, 1, 3, 20, 200)) :]


def duplicate(text: str, chance: random.Random) -> str:
    at = _at(text, chance)
    return text[:at] + text[at : at + chance.choice((1, 10, 100, 400))] * 2 + text[at:]


def swap_lines(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def swap_words(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    one, other = chance.randrange(len(words)), chance.randrange(len(words))
    words[one], words[other] = words[other], words[one]
    return " ".join(words)


def drop_word(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    del words[chance.randrange(len(words))]
    return " ".join(words)


def cut(text: str, chance: random.Random) -> str:
    return text[: _at(text, chance)] if chance.random() < 0.2 else text


MUTATIONS = (flip, insert, insert, delete, duplicate, swap_lines, swap_words, drop_word, cut)


def judged(count: int) -> int:
    """Judge so many spoiled files: alone, and beside what is left of their node; how many told."""
    chance = random.Random(20261123)
    texts = {path: path.read_text() for path in FILES}
    told = 0
    for number in range(count):
        path, other = chance.choice(FILES), chance.choice(FILES)
        name, beside = path.name, other.name
        text = spoiled(texts[path], chance)
        recognise(name, text)
        node_of(text[:40])
        grammar = Grammar.HAPROXY if name == "haproxy.cfg" else Grammar.KEEPALIVED
        same = beside == name
        rest = Grammar.HAPROXY if beside == "haproxy.cfg" else Grammar.KEEPALIVED
        sources = [
            Source(name, text, grammar, "m1"),
            Source(f"other/{beside}", texts[other], rest, "m2" if same else "m1"),
        ]
        programs = Programs((2, 6), (2, 2, 7)) if number % 2 else Programs()
        found = judge(sources, programs)
        findings_text(found)
        lines = text.count("\n") + 1
        for each in found:
            as_json(each)
            assert each.file != name or 0 <= each.line <= lines
        told += bool(found)
    return told


@pytest.mark.timeout(600)
def test_spoiled_files_are_judged() -> None:
    """No exception on any of them; and most are found out."""
    assert judged(300) > 150


@pytest.mark.soak
def test_ten_thousand_spoiled_files_are_judged() -> None:
    assert judged(10_000) > 5_000
