"""Whatever is in a haproxy.cfg: it is read, and what is written is what is read."""

from hypothesis import given
from hypothesis import strategies as st

from kubeha.grammar.haproxy import parse
from kubeha.grammar.haproxy_addresses import address, seconds
from kubeha.grammar.haproxy_conditions import ConditionError, Known, decide
from kubeha.grammar.haproxy_proxies import proxies
from kubeha.grammar.haproxy_words import WordError, split
from kubeha.lint.haproxy import judge
from kubeha.lint.haproxy_subject import subject
from kubeha.lint.sources import node_of, recognise

KEYWORDS = (
    "global defaults frontend backend listen from bind server default-server option no default "
    "timeout mode balance source httpchk redispatch check inter fall 10000 -1 :8443 1.2.3.4:6443 "
    ".if .elif .else .endif 1 feature(X) default_backend stats socket admin auth maxconn nbproc"
).split()
LINES = st.lists(
    st.lists(st.sampled_from(KEYWORDS) | st.text(max_size=5), max_size=6).map(" ".join),
    max_size=25,
).map("\n".join)
QUOTED = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1)


@given(LINES | st.text())
def test_any_text_is_read_and_judged(text: str) -> None:
    """Problems and findings are on lines of the file."""
    last = text.count("\n") + 1
    file = parse(text)
    assert all(0 <= problem.line <= last for problem in file.problems)
    proxies(file)
    assert all(0 <= found.line <= last for found in judge(subject("x", text)))
    recognise("x", text)


@given(st.text())
def test_small_readers_take_anything(text: str) -> None:
    address(text)
    assert (seconds(text) or 0) >= 0
    assert isinstance(node_of(text), str)
    try:
        assert decide(text, Known()) in (True, False, None)
    except ConditionError:
        pass
    try:
        split(text)
    except WordError:
        pass


def single(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def double(word: str) -> str:
    return '"' + "".join(f"\\{char}" if char in '"\\$' else char for char in word) + '"'


def escaped(word: str) -> str:
    special = {"\t": "\\t"} | {char: f"\\{char}" for char in " \\#'\""}
    return "".join(special.get(char, char) for char in word)


@given(st.lists(QUOTED, min_size=1, max_size=20), st.sampled_from([single, double]))
def test_quoted_words_come_back(words: list[str], quote) -> None:
    assert split(" ".join(map(quote, words)), {}).words == tuple(words)


@given(st.lists(QUOTED.filter(lambda w: not set("\v\f") & set(w)), min_size=1, max_size=20))
def test_escaped_words_come_back(words: list[str]) -> None:
    assert split(" ".join(map(escaped, words)), {}).words == tuple(words)


@given(LINES)
def test_comments_and_indentation_change_nothing(text: str) -> None:
    """Unless a quote is open, a comment at the end of a line is not there."""
    before = parse(text + "\n")
    if before.problems:
        return
    commented = "".join(f"   {line} # it's \"so\n" for line in text.split("\n"))
    after = parse(commented)
    assert [s.words for x in after.sections for s in x.statements] == [
        s.words for x in before.sections for s in x.statements
    ]
