"""keepalived.conf: statements and blocks. Knows the grammar, not what keywords mean."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from kubeha.grammar import Place, Problem
from kubeha.grammar.keepalived_lines import Line, Lines, Read
from kubeha.grammar.keepalived_words import BLOCKS, INSTANCE, KEYWORDS, TOP

# Deeper than any block of keepalived (virtual_server, real_server, HTTP_GET, url: four).
MAX_NESTING = 16
MAX_PROBLEMS = 100
UNCLOSED = 'a " without its end'


@dataclass(frozen=True)
class Statement:
    """One keyword with its words, and its block if it has one (empty is not None)."""

    words: tuple[str, ...]
    place: Place
    text: str
    block: tuple["Statement", ...] | None = None

    @property
    def keyword(self) -> str:
        return self.words[0] if self.words else ""

    def word(self, index: int = 1) -> str | None:
        """A parameter, or None; the keyword itself is word 0."""
        return self.words[index] if len(self.words) > index else None

    def all(self, *keywords: str) -> tuple["Statement", ...]:
        """The statements of the block that begin with one of these keywords."""
        return tuple(each for each in self.block or () if each.keyword in keywords)

    def last(self, *keywords: str) -> "Statement | None":
        """The last of them: keepalived lets a later setting replace an earlier one."""
        found = self.all(*keywords)
        return found[-1] if found else None

    def walk(self) -> Iterator["Statement"]:
        """This statement and all within it, in the order of the file."""
        yield self
        for each in self.block or ():
            yield from each.walk()


@dataclass(frozen=True)
class Parsed:
    """A keepalived.conf with all that it includes, as one machine takes it."""

    name: str
    statements: tuple[Statement, ...]
    problems: tuple[Problem, ...]
    config_id: str | None
    # Ids that conditions (@id, @^id) name: each may be another machine's view of the same file.
    config_ids: tuple[str, ...]
    # Names in use that nobody defines.
    undefined: tuple[tuple[str, Place], ...]
    # Lines that a comment sign within a word cuts: what is left, what is lost, where.
    cut: tuple[tuple[str, str, Place], ...]

    def all(self, *keywords: str) -> tuple[Statement, ...]:
        """The statements on the top level that begin with one of these keywords."""
        if len(keywords) == 1:
            return self._by_keyword.get(keywords[0], ())
        return tuple(each for each in self.statements if each.keyword in keywords)

    @cached_property
    def _by_keyword(self) -> Mapping[str, tuple[Statement, ...]]:
        """Thousands of instances ask for the global settings and scripts, each of them."""
        found: dict[str, list[Statement]] = {}
        for each in self.statements:
            found.setdefault(each.keyword, []).append(each)
        return {keyword: tuple(each) for keyword, each in found.items()}

    def walk(self) -> Iterator[Statement]:
        for each in self.statements:
            yield from each.walk()

    def global_setting(self, *keywords: str) -> Statement | None:
        """The last such statement of any global_defs block."""
        found = [s for block in self.all("global_defs") for s in block.all(*keywords)]
        return found[-1] if found else None


def parse(
    text: str,
    name: str = "keepalived.conf",
    *,
    read: Read | None = None,
    config_id: str | None = None,
) -> Parsed:
    """Reads a file. Never raises: what cannot be understood is among the problems.

    `name` appears in places and is what relative includes are relative to; `read` finds included
    files (keepalived_lines.reader for files in memory).
    """
    lines = Lines(read=read, config_id=config_id)
    tree = _Tree()
    for line in lines.of(name, text):
        tree.take(line)
    statements = tree.finish()
    told = {problem.place for problem in lines.problems}
    own = [p for p in tree.problems if p.message != UNCLOSED or p.place not in told]
    problems = sorted(lines.problems + own, key=lambda problem: problem.place)
    return Parsed(
        name=name,
        statements=statements,
        problems=tuple(dict.fromkeys(problems)),
        config_id=config_id,
        config_ids=tuple(lines.config_ids),
        undefined=tuple(lines.undefined),
        cut=tuple(lines.cut),
    )


@dataclass
class _Open:
    """A block whose end has not come yet."""

    head: Statement
    inside: list[Statement]


class _Tree:
    """Puts pieces (statements and braces) together to blocks; keeps its own stack."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._top: list[Statement] = []
        self._stack: list[_Open] = []
        # A statement that may still get its block: the brace may stand on a later line.
        self._waiting: Statement | None = None
        # A backslash at a line's end was told of once: where there is one, there are many.
        self._continued = False

    def take(self, line: Line) -> None:
        if line.text.endswith("\\") and not self._continued:
            self._continued = True
            message = "a backslash at the end continues no line; only definitions go on"
            self._problem(Problem(line.place, message))
        for piece in pieces(line.text):
            if piece == "{":
                self._begin(line.place)
            elif piece == "}":
                self._end(line.place)
            else:
                self._statement(piece, line.place)

    def finish(self) -> tuple[Statement, ...]:
        self._settle()
        for block in self._stack:
            what = f"{block.head.text} {{"
            self._problem(Problem(block.head.place, f"{what} has no closing brace"))
        while self._stack:
            self._close()
        return tuple(self._top)

    def _statement(self, text: str, place: Place) -> None:
        self._settle()
        words, unclosed = split_words(text)
        if unclosed:
            self._problem(Problem(place, UNCLOSED))
        if words:
            self._waiting = Statement(words, place, text)
            self._hint(self._waiting)

    def _hint(self, statement: Statement) -> None:
        """A top-level block within another: it is the inner brace that was forgotten."""
        if statement.keyword in TOP & BLOCKS - INSTANCE and self._stack:
            head = self._stack[-1].head
            message = f"{statement.text} begins within {head.text} of line {head.place.line}: is a"
            self._problem(Problem(statement.place, f"{message} closing brace missing?"))

    def _begin(self, place: Place) -> None:
        if self._waiting is None:
            self._problem(Problem(place, "an opening brace that belongs to no keyword"))
        elif self._takes_no_block(self._waiting):
            # keepalived passes the brace over, and the next closing one ends the block around.
            message = f"{self._waiting.keyword} takes no block in braces"
            self._problem(Problem(place, message))
        elif len(self._stack) >= MAX_NESTING:
            self._problem(Problem(place, "blocks are nested too deep"))
        else:
            self._stack.append(_Open(self._waiting, []))
            self._waiting = None

    def _problem(self, problem: Problem) -> None:
        """A file that is no keepalived.conf at all is wrong in every line."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def _takes_no_block(self, statement: Statement) -> bool:
        known = KEYWORDS.get(self._stack[-1].head.keyword, frozenset()) if self._stack else TOP
        return statement.keyword in known - BLOCKS

    def _end(self, place: Place) -> None:
        self._settle()
        if self._stack:
            self._close()
        else:
            self._problem(Problem(place, "a closing brace that closes nothing"))

    def _settle(self) -> None:
        """Another piece has come: the statement before has no block."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if waiting.keyword in BLOCKS and len(self._stack) < MAX_NESTING:
            # As keepalived does: it complains and takes the block as begun.
            message = f"{waiting.text} needs a block in braces"
            self._problem(Problem(waiting.place, message))
            self._stack.append(_Open(waiting, []))
        else:
            self._inside().append(waiting)

    def _close(self) -> None:
        block = self._stack.pop()
        head = block.head
        done = Statement(head.words, head.place, head.text, tuple(block.inside))
        self._inside().append(done)

    def _inside(self) -> list[Statement]:
        return self._stack[-1].inside if self._stack else self._top


_PIECE = re.compile(r'\$\{[^{}]*\}|"[^"]*"|[{}]|"[^"]*$|[^{}"$]+|\$')


def pieces(text: str) -> Iterator[str]:
    """The line cut at its braces; those in "..." and in ${NAME} are no braces."""
    gathered = ""
    for found in _PIECE.finditer(text):
        if found[0] in ("{", "}"):
            if gathered.strip():
                yield gathered.strip()
            gathered = ""
            yield found[0]
        else:
            gathered += found[0]
    if gathered.strip():
        yield gathered.strip()


_WORD = re.compile(r'"([^"]*)"|"([^"]*)$|([^ \t\f\v"]+)')


def split_words(text: str) -> tuple[tuple[str, ...], bool]:
    """A statement's words and whether a quote was left open (lib/parser.c: alloc_strvec_r)."""
    found = list(_WORD.finditer(text))
    unclosed = any(each[2] is not None for each in found)
    words = (next(g for g in each.groups() if g is not None) for each in found)
    return tuple(words), unclosed


_ESCAPES = dict(zip("abEfnrtv", "\a\b\x1b\f\n\r\t\v", strict=True))
_PART = re.compile(r"""(?P<blank>[ \t]+)|\\(?P<escape>.)|(?P<quote>["'])|(?P<plain>[^ \t\\"']+)""")


def script_words(statement: Statement) -> tuple[str, ...]:
    """Words of a statement whose parameter is a command: quotes and escapes as in a shell.

    keepalived splits such lines itself (alloc_strvec_quoted_escaped) and the command once more;
    so `script "/bin/check -p 80"` has the words script, /bin/check, -p, 80.
    """
    return tuple(word for text in statement.words for word in _command(text))


def _command(text: str) -> Iterator[str]:
    word: str | None = None
    quote = ""
    for found in _PART.finditer(text):
        if found["quote"] and quote in ("", found["quote"]):
            quote = "" if quote else found["quote"]
            word = word or ""
        elif found["blank"] and not quote:
            if word is not None:
                yield word
            word = None
        else:
            escaped = found["escape"]
            word = (word or "") + (_ESCAPES.get(escaped, escaped) if escaped else found[0])
    if word is not None:
        yield word
