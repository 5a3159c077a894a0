"""Splits one line of haproxy.cfg into words as HAProxy does (its manual, section 2.2 to 2.4).

A backslash escapes; quotes group; `"${NAME}"` is replaced inside double quotes only. Lint does not
know the environment in which HAProxy will run: a variable that was not given stays in the word as
it is written and is named in `Words.unknown`, where HAProxy would put nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_WORDS = 64  # MAX_LINE_ARGS in HAProxy's src/cfgparse.c
# Ours: variables that contain each other may grow without end, and no line of sense is that long.
MOST_CHARACTERS = 100_000
_SPACE = frozenset(" \t\n\v\f\r")
_HEX = frozenset("0123456789abcdefABCDEF")
_ESCAPED = {
    **{char: char for char in " \\#'\""},
    "t": "\t",
    "n": "\n",
    "r": "\r",
}


class WordError(ValueError):
    """HAProxy would refuse the line; the text says why."""


@dataclass(frozen=True)
class Words:
    """A line's words, without its comment."""

    words: tuple[str, ...]
    unknown: tuple[str, ...] = ()  # environment variables that nobody gave a value


@dataclass
class _Line:
    """Where the reading of a line has got to."""

    text: str
    environment: Mapping[str, str]
    at: int = 0
    quote: str = ""
    word: list[str] = field(default_factory=list)
    begun: bool = False  # quotes with nothing in them are a word, too
    words: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    put_so_far: int = 0

    def peek(self, ahead: int = 0) -> str:
        """The character there, or nothing at the end."""
        return self.text[self.at + ahead : self.at + ahead + 1]

    def put(self, text: str) -> None:
        self.put_so_far += len(text)
        if self.put_so_far > MOST_CHARACTERS:
            raise WordError(f"more than {MOST_CHARACTERS} characters with its variables")
        self.word.append(text)
        self.begun = True

    def end_word(self) -> None:
        if self.begun:
            self.words.append("".join(self.word))
        self.word, self.begun = [], False


def split(text: str, environment: Mapping[str, str] | None = None) -> Words:
    """The words of one line. Raises WordError where HAProxy would refuse it."""
    line = _Line(text, environment or {})
    while char := line.peek():
        if char in "\n\r\0" or (char == "#" and not line.quote):
            break
        _step(line, char)
    line.end_word()
    if line.quote:
        raise WordError(f"a quote ({line.quote}) is opened and never closed")
    if len(line.words) > MOST_WORDS:
        raise WordError(f"{len(line.words)} words: HAProxy takes {MOST_WORDS} on a line")
    return Words(tuple(line.words), tuple(line.unknown))


def _step(line: _Line, char: str) -> None:
    """Take in what begins with this character."""
    if char in "\"'" and line.quote in ("", char):
        line.quote = "" if line.quote else char
        line.begun = True
        line.at += 1
    elif char == "\\" and line.quote != "'":
        _escape(line)
    elif char in _SPACE and not line.quote:
        line.end_word()
        line.at += 1
    elif char == "$" and line.quote == '"':
        _variable(line)
    else:
        line.put(char)
        line.at += 1


def _escape(line: _Line) -> None:
    """A backslash with what it escapes; before anything else it stands for itself."""
    after = line.peek(1)
    if after == "x":
        digits = line.text[line.at + 2 : line.at + 4]
        if len(digits) != 2 or not set(digits) <= _HEX:
            raise WordError(f"\\x{digits}: two hexadecimal digits have to follow \\x")
        line.put(chr(int(digits, 16)))
        line.at += 4
    elif after == "$" and line.quote == '"':
        line.put("$")
        line.at += 2
    elif after in _ESCAPED:
        line.put(_ESCAPED[after])
        line.at += 2
    else:
        line.put("\\")
        line.at += 1


def _variable(line: _Line) -> None:
    """`$NAME`, `${NAME}`, `${NAME-default}` or `${NAME[*]}` inside double quotes."""
    start = line.at
    line.at += 1
    brace = line.peek() == "{"
    line.at += brace
    name = _name(line)
    spread = brace and line.peek() == "["
    if spread:
        if line.text[line.at : line.at + 3] != "[*]":
            raise WordError(f"${{{name}[: only [*] can follow a variable's name")
        line.at += 3
    value = line.environment.get(name)
    if brace:
        otherwise = _until_brace(line, name)
        value = otherwise if value is None else value
    if value is None:
        line.unknown.append(name)
        line.put(line.text[start : line.at])
    elif spread:
        _spread(line, value)
    else:
        line.put(value)


def _name(line: _Line) -> str:
    start = line.at
    first = line.peek()
    if not (first.isascii() and (first.isalpha() or (first and first in "_."))):
        raise WordError(f"${first}: no name of a variable can begin so")
    line.at += 1
    while (char := line.peek()).isascii() and (char.isalnum() or char == "_"):
        line.at += 1
    return line.text[start : line.at]


def _until_brace(line: _Line, name: str) -> str | None:
    """Go past the closing brace; the value that counts when the variable is not set."""
    end = line.text.find("}", line.at)
    if end < 0 or (line.peek() not in ("-", "}")):
        raise WordError(f"${{{name}: the brace is never closed")
    otherwise = line.text[line.at + 1 : end] if line.peek() == "-" else None
    line.at = end + 1
    return otherwise


def _spread(line: _Line, value: str) -> None:
    """Each word of the value becomes a word of the line."""
    pieces = value.split()
    for number, piece in enumerate(pieces):
        if number:
            line.end_word()
        line.put(piece)
