"""haproxy.cfg -> sections of statements, or why HAProxy would refuse it (its manual, section 2).

Never raises on any text: what cannot be read becomes a problem with its line. Conditional blocks
are decided as far as the file and what is known allow; a block that cannot be decided is taken,
and says so, because a finding in it is worth more than silence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kubeha.grammar import BYTE_ORDER_MARK, MARKED
from kubeha.grammar.haproxy_conditions import ConditionError, Known, Version, decide
from kubeha.grammar.haproxy_words import WordError, Words, split

SECTIONS = frozenset(
    "global defaults frontend backend listen peers resolvers userlist ring mailers cache program "
    "http-errors fcgi-app log-forward log-profile crt-store traces acme healthcheck".split()
)
PROXIES = ("frontend", "backend", "listen")
# Those with a name of their own; HAProxy refuses them without.
_NAMED = frozenset({*PROXIES, "peers", "resolvers", "userlist", "ring", "mailers", "cache"})
# What `no` and `default` may stand before (src/cfgparse.c).
_NEGATABLE = frozenset(
    "option log busy-polling set-dumpable strict-limits insecure-fork-wanted numa-cpu-mapping "
    "expose-deprecated-directives".split()
)
_REMARKS = (".notice", ".warning", ".diag")
_DEEPEST_BLOCK = 1024  # MAXNESTEDCONDS


@dataclass(frozen=True)
class Problem:
    """A line that HAProxy would refuse, and why. `line` counts from 1."""

    line: int
    message: str
    text: str = ""


@dataclass(frozen=True)
class Statement:
    """One line that counts: its words without `no` or `default` before them."""

    line: int
    words: tuple[str, ...]
    text: str
    prefix: str = ""  # "no" or "default"
    unknown: tuple[str, ...] = ()

    @property
    def keyword(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """All but the first word."""
        return self.words[1:]

    def begins(self, *words: str) -> bool:
        """Whether these are its first words."""
        return self.words[: len(words)] == words


@dataclass(frozen=True)
class Section:
    """A section with its statements, in the file's order."""

    kind: str
    name: str
    line: int
    text: str
    parent: str = ""  # the name after `from`
    statements: tuple[Statement, ...] = ()

    def find(self, *words: str) -> Iterator[Statement]:
        """Its statements that begin so."""
        return (each for each in self._by_keyword.get(words[0], ()) if each.begins(*words))

    @cached_property
    def _by_keyword(self) -> Mapping[str, list[Statement]]:
        """A frontend may have thousands of use_backend, and is asked once for each of them."""
        found: dict[str, list[Statement]] = {}
        for each in self.statements:
            found.setdefault(each.keyword, []).append(each)
        return found


@dataclass(frozen=True)
class Assumption:
    """A condition that cannot be decided from the file; its lines are taken to count."""

    line: int
    condition: str


@dataclass(frozen=True)
class HaproxyFile:
    """What a haproxy.cfg says."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...] = ()
    assumptions: tuple[Assumption, ...] = ()

    def of_kind(self, *kinds: str) -> tuple[Section, ...]:
        """Its sections of these kinds, in order."""
        return tuple(section for section in self.sections if section.kind in kinds)


@dataclass
class _Block:
    """An open `.if`: whether its lines count now, and whether a branch of it was taken before."""

    line: int
    counts: bool
    taken: bool
    outside: bool
    closed: bool = False  # after `.else`


@dataclass
class _Reader:
    """Where the reading of a file has got to."""

    known: Known
    environment: dict[str, str]
    sections: list[Section] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return not self.blocks or self.blocks[-1].counts


def parse(
    text: str, *, environment: Mapping[str, str] | None = None, version: Version | None = None
) -> HaproxyFile:
    """Read a haproxy.cfg. `version` and `environment` decide its conditions as far as they go."""
    own = dict(environment or {})
    reader = _Reader(Known(version, own), own)
    if text.startswith(BYTE_ORDER_MARK):
        reader.problems.append(Problem(1, MARKED))
    lines = text.removeprefix(BYTE_ORDER_MARK).split("\n")
    for number, line in enumerate(lines, 1):
        try:
            _read_line(reader, number, line)
        except (WordError, ConditionError) as error:
            reader.problems.append(Problem(number, str(error), line.strip()))
    _close_section(reader)
    for block in reader.blocks:
        reader.problems.append(Problem(block.line, "this .if has no .endif"))
    if lines[-1].strip():
        last = "the last line does not end with a line feed: the file may have been cut off"
        reader.problems.append(Problem(len(lines), last, lines[-1].strip()))
    if not reader.sections and not reader.problems:
        reader.problems.append(Problem(0, "there is no section in the file"))
    return HaproxyFile(tuple(reader.sections), tuple(reader.problems), tuple(reader.assumptions))


def _read_line(reader: _Reader, number: int, text: str) -> None:
    if "\0" in text:
        raise WordError("a NUL byte is in the line")
    split_line = split(text, {**reader.environment, ".LINE": str(number)})
    if not split_line.words or not split_line.words[0]:
        return
    first, *rest = split_line.words
    if first in (".if", ".elif", ".else", ".endif"):
        _condition(reader, number, first, " ".join(rest))
    elif reader.counts:
        _read_counting(reader, number, text.strip(), split_line)


def _read_counting(reader: _Reader, number: int, text: str, line: Words) -> None:
    """A line outside of blocks that do not count."""
    words, prefix = line.words, ""
    if words[0].startswith("."):
        _remark(number, words)
        return
    if words[0] in ("no", "default") and len(words) > 1:
        prefix, words = words[0], words[1:]
        if words[0] not in _NEGATABLE:
            raise WordError(f"'{prefix}' cannot stand before '{words[0]}'")
    if words[0] in SECTIONS:
        _open_section(reader, number, text, words)
    elif not reader.sections:
        raise WordError(f"'{words[0]}' stands before the first section")
    else:
        statement = Statement(number, words, text, prefix, line.unknown)
        _set_variables(reader, statement)
        reader.statements.append(statement)


def _remark(number: int, words: tuple[str, ...]) -> None:
    if words[0] == ".alert":
        raise WordError(f"the file itself refuses to be used: {' '.join(words[1:])}")
    if words[0] not in _REMARKS:
        raise WordError(f"there is no directive '{words[0]}'")


def _open_section(reader: _Reader, number: int, text: str, words: tuple[str, ...]) -> None:
    _close_section(reader)
    kind, rest = words[0], list(words[1:])
    name = rest.pop(0) if rest and rest[0] != "from" else ""
    parent = rest[1] if len(rest) > 1 and rest[0] == "from" else ""
    reader.sections.append(Section(kind, name, number, text, parent))
    if kind in _NAMED and not name:
        raise WordError(f"a {kind} needs a name")


def _close_section(reader: _Reader) -> None:
    if reader.sections:
        last = reader.sections[-1]
        reader.sections[-1] = Section(
            last.kind, last.name, last.line, last.text, last.parent, tuple(reader.statements)
        )
    reader.statements = []


def _set_variables(reader: _Reader, statement: Statement) -> None:
    """`setenv` and its like change what later lines see (section 3.1)."""
    match statement.words:
        case ("setenv", name, *value):
            reader.environment[name] = " ".join(value)
        case ("presetenv", name, *value):
            reader.environment.setdefault(name, " ".join(value))
        case ("unsetenv", *names):
            for name in names:
                reader.environment.pop(name, None)


def _condition(reader: _Reader, number: int, word: str, condition: str) -> None:
    if word == ".if":
        _open_block(reader, number, condition)
        return
    if not reader.blocks:
        raise WordError(f"{word} stands without an .if before it")
    block = reader.blocks[-1]
    if word == ".endif":
        reader.blocks.pop()
        return
    if block.closed:
        raise WordError(f"{word} stands after .else")
    block.closed = word == ".else"
    block.counts = block.outside and not block.taken
    if block.counts and word == ".elif":
        block.counts = _holds(reader, number, condition)
    block.taken = block.taken or block.counts


def _open_block(reader: _Reader, number: int, condition: str) -> None:
    if len(reader.blocks) >= _DEEPEST_BLOCK:
        raise WordError(f"more than {_DEEPEST_BLOCK} .if are open")
    outside = reader.counts
    # Before the condition is judged: one that cannot be read must not leave its .endif alone.
    block = _Block(number, counts=False, taken=False, outside=outside)
    reader.blocks.append(block)
    block.counts = block.taken = outside and _holds(reader, number, condition)


def _holds(reader: _Reader, number: int, condition: str) -> bool:
    answer = decide(condition, reader.known)
    if answer is None:
        reader.assumptions.append(Assumption(number, condition))
    return answer is not False
