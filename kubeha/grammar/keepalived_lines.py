"""keepalived.conf line by line: comments, conditions, definitions, sequences, includes.

What keepalived does before it looks at keywords (lib/parser.c: decomment, read_line,
replace_param; man keepalived.conf, from "Conditional configuration" to "List blocks"). Here:

1. a comment begins at a # or ! outside of double quotes, wherever it stands; a backslash before it
   and the predefined _HASH and _BANG do not help in 2.2.7 and 2.3.3, against the manual: they
   read the file twice, and the second time the sign is bare (tried);
2. `@id` keeps the rest of the line only on the machine of that id, `@^id` on all others;
3. `$NAME=` defines; `$NAME` and `${NAME}` are replaced when used, not when defined, repeatedly;
4. `~SEQ` and `~LST` repeat the rest of the line; `include` puts files in place of the line.

All of it is bounded: what keepalived would expand without end stops here with a problem.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from posixpath import dirname, join, normpath

from kubeha.grammar import BYTE_ORDER_MARK, MARKED, Place, Problem

# The caller's way to files: an include's pattern, joined to the including file's directory, gives
# the (name, text) of every file that it matches, in order; an empty list if there is none.
Read = Callable[[str], Iterable[tuple[str, str]]]

MAX_LINES = 20_000
MAX_FILES = 100
MAX_DEPTH = 12
# keepalived's own buffer (MAXBUF); a longer result of a substitution is refused there, too.
MAX_WIDTH = 1024

INCLUDES = frozenset(("include", "includer", "includem", "includew", "includeb", "includea"))
# A comment after one of these was hardly meant to be one.
_WORDLIKE = re.compile(r"[\w.@%^&*/+=-]")
_DEFINITION = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)", re.DOTALL)
_USE = re.compile(
    r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?P<parameters>(?: +[^{} ]+)*) *\}"
    r"|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)(?=[ \t,)]|$))"
)
_REPEAT = re.compile(
    r"~(?P<kind>SEQx?|LST)[ \t]*\((?P<inside>[^()]*)\)[ \t]*(?P<rest>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Line:
    """One line as keepalived takes it, and where it (or the use that made it) stands."""

    text: str
    place: Place


@dataclass
class Lines:
    """Reads files line by line; what it learns on the way (problems, ids) collects here.

    `config_id`: keepalived's --config-id, by default the machine's short host name; with None no
    `@id` matches and every `@^id` does.
    """

    read: Read | None = None
    config_id: str | None = None
    problems: list[Problem] = field(default_factory=list)
    # Every id that some condition names, in order of appearance.
    config_ids: list[str] = field(default_factory=list)
    # Names that are used and not defined: their text stays as it is.
    undefined: list[tuple[str, Place]] = field(default_factory=list)
    # Lines that a comment sign cuts in the middle of a word: what is left, and what is lost.
    cut: list[tuple[str, str, Place]] = field(default_factory=list)
    _definitions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _left: int = MAX_LINES
    _files: int = MAX_FILES
    _told: set[str] = field(default_factory=set)

    def of(self, file: str, text: str) -> Iterator[Line]:
        """The lines of a file and of all that it includes."""
        self._open.append(file)
        multiline: tuple[str, list[str]] | None = None
        if text.startswith(BYTE_ORDER_MARK):
            self._problem(Place(file, 1), MARKED)
        text = text.removeprefix(BYTE_ORDER_MARK)
        for number, raw in enumerate(text.split("\n"), start=1):
            place = Place(file, number)
            line, lost, unclosed = decomment(raw.replace("\0", "").rstrip("\r"))
            if lost and len(self.cut) < MAX_FILES:
                self.cut.append((line, lost, place))
            if unclosed:
                self._problem(place, 'a " without its end')
            if multiline is not None:
                multiline = self._go_on(multiline, line)
            elif found := _beginning(line):
                multiline = found
            elif line:
                yield from self._expand(line, place, 0)
        self._open.pop()

    def _go_on(self, multiline: tuple[str, list[str]], line: str) -> tuple[str, list[str]] | None:
        name, lines = multiline
        more = line.endswith("\\")
        lines.append(line.removesuffix("\\").rstrip(" \t"))
        self._definitions[name] = tuple(text for text in lines if text)
        return multiline if more else None

    def _expand(self, line: str, place: Place, depth: int) -> Iterator[Line]:
        """What one line becomes; `depth` counts definitions within definitions."""
        if self._left <= 0 or depth > MAX_DEPTH:
            self._once(place, "the expansion of definitions and sequences does not end")
            return
        kept = self._conditional(line)
        if kept is None:
            return
        if found := _DEFINITION.fullmatch(kept):
            self._definitions[found[1]] = (found[2].removesuffix("\\").rstrip(" \t"),)
        elif kept.startswith("~") and (repeat := _REPEAT.fullmatch(kept)):
            yield from self._repeat(repeat, place, depth)
        elif (words := kept.split()) and words[0] in INCLUDES and len(words) == 2:
            yield from self._include(words[1].strip('"'), place)
        else:
            yield from self._substitute(kept, place, depth)

    def _conditional(self, line: str) -> str | None:
        """The line without its conditions; None where one of them does not hold."""
        while line.startswith("@"):
            negative = line.startswith("@^")
            name, _, rest = line[2 if negative else 1 :].partition(" ")
            if "\t" in name:
                name, _, rest = line[2 if negative else 1 :].partition("\t")
            if name and name not in self.config_ids and len(self.config_ids) < MAX_FILES:
                self.config_ids.append(name)
            if (name == self.config_id) == negative:
                return None
            line = rest.strip(" \t")
        return line

    def _substitute(self, line: str, place: Place, depth: int) -> Iterator[Line]:
        position = 0
        while found := _USE.search(line, position):
            name = found["braced"] or found["bare"]
            value = self._value(name, place)
            at_end = found.end() == len(line)
            if value is None or (len(value) > 1 and not at_end):
                self._unknown(name, value, place)
                position = found.end()
                continue
            head, tail = line[: found.start()], line[found.end() :]
            if len(value) > 1:
                yield from self._many((head + value[0], *value[1:]), place, depth)
                return
            line = head + "".join(value) + tail
            if len(line) > MAX_WIDTH or not self._spend():
                self._once(place, "the expansion of definitions and sequences does not end")
                return
            if line.startswith(("@", "~", "$")) and not head:
                yield from self._expand(line, place, depth + 1)
                return
            position = found.start()
        line, lost, _ = decomment(line)
        if lost and len(self.cut) < MAX_FILES:
            self.cut.append((line, lost, place))
        if line and self._spend():
            yield Line(line, place)

    def _many(self, lines: tuple[str, ...], place: Place, depth: int) -> Iterator[Line]:
        for line in lines:
            if not self._spend():
                self._once(place, "the expansion of definitions and sequences does not end")
                return
            yield from self._expand(line, place, depth + 1)

    def _value(self, name: str, place: Place) -> tuple[str, ...] | None:
        if name in self._definitions:
            return self._definitions[name]
        if name == "_INSTANCE" and self.config_id is not None:
            return (self.config_id,)
        fixed = {"_PWD": dirname(place.file) or ".", "_HASH": "#", "_BANG": "!"}
        return (fixed[name],) if name in fixed else None

    def _unknown(self, name: str, value: tuple[str, ...] | None, place: Place) -> None:
        if value is not None:
            self._problem(place, f"${name} has several lines: nothing may follow it on its line")
        elif len(self.undefined) < MAX_FILES:
            self.undefined.append((name, place))

    def _repeat(self, found: re.Match[str], place: Place, depth: int) -> Iterator[Line]:
        inside = _USE.sub(self._plain_value, found["inside"])
        rounds = _lists(inside) if found["kind"] == "LST" else _numbers(inside, found["kind"])
        if rounds is None:
            self._problem(place, f"not a sequence: {_short(found[0])}")
            return
        for values in rounds:
            if not self._spend():
                self._once(place, "the expansion of definitions and sequences does not end")
                return
            self._definitions |= {name: (value,) for name, value in values.items()}
            yield from self._expand(found["rest"], place, depth + 1)

    def _plain_value(self, found: re.Match[str]) -> str:
        return "".join(self._definitions.get(found["braced"] or found["bare"], (found[0],)))

    def _include(self, pattern: str, place: Place) -> Iterator[Line]:
        path = pattern if pattern.startswith("/") else join(dirname(place.file), pattern)
        if self.read is None:
            message = f"{pattern} is not at hand: what it includes is not looked at"
            self.problems.append(Problem(place, message, unseen=True))
            return
        matched = False
        for name, text in self.read(normpath(path) if pattern.startswith("/") else path):
            matched = True
            if name in self._open:
                self._problem(place, f"{name} includes itself")
            elif len(self._open) > MAX_DEPTH or self._files <= 0:
                self._once(place, "too many files include one another")
            else:
                self._files -= 1
                yield from self.of(name, text)
        if not matched:
            message = f"no file is {pattern}; keepalived goes on without a word"
            self.problems.append(Problem(place, message, unseen=True))

    def _spend(self) -> bool:
        self._left -= 1
        return self._left > 0

    def _problem(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def _once(self, place: Place, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._problem(place, message)


def decomment(line: str) -> tuple[str, str, bool]:
    """The line without comment and outer blanks; what is cut off a word; is a quote left open?"""
    quoted = False
    lost = ""
    kept: list[str] = []
    position = 0
    while position < len(line):
        sign = line[position]
        after = line[position + 1 : position + 2]
        escaped = sign == "\\" and after in ("#", "!") and not quoted
        if escaped or (sign in "#!" and not quoted):
            rest = line[position + escaped :]
            if escaped or (kept and _WORDLIKE.match(kept[-1]) and after.strip()):
                lost = rest.split()[0]
            break
        if sign == "\\" and after:
            kept.append(sign + after)
            position += 2
            continue
        quoted ^= sign == '"'
        kept.append(sign)
        position += 1
    return "".join(kept).strip(" \t\f\v"), lost, quoted


def reader(files: Mapping[str, str]) -> Read:
    """A `Read` of files in memory, by name; wildcards and braces as glob(3) takes them."""

    def read(pattern: str) -> list[tuple[str, str]]:
        patterns = _braces(pattern)
        return [
            (name, files[name])
            for name in sorted(files)
            if any(_matches(normpath(name), normpath(each)) for each in patterns)
        ]

    return read


def _matches(name: str, pattern: str) -> bool:
    names, patterns = name.split("/"), pattern.split("/")
    pairs = zip(names, patterns, strict=False)
    return len(names) == len(patterns) and all(fnmatchcase(n, p) for n, p in pairs)


def _braces(pattern: str) -> list[str]:
    """{a,b}c -> ac, bc; one level, which is what people write."""
    parts = re.split(r"\{([^{}]*)\}", pattern)[:9]
    choices = [part.split(",")[:9] if odd % 2 else [part] for odd, part in enumerate(parts)]
    return ["".join(each) for each, _ in zip(product(*choices), range(MAX_FILES), strict=False)]


def _beginning(line: str) -> tuple[str, list[str]] | None:
    """`$NAME= \\`: the beginning of a definition of several lines."""
    found = _DEFINITION.fullmatch(line)
    if found is None or not found[2].endswith("\\"):
        return None
    first = found[2].removesuffix("\\").rstrip(" \t")
    return found[1], [first] if first else []


def _numbers(inside: str, kind: str) -> Iterator[dict[str, str]] | None:
    """~SEQ(var, [start, [step,]] end): each round's value."""
    name, *numbers = (word.strip() for word in inside.split(","))
    try:
        values = [int(number, 0) for number in numbers]
    except ValueError:
        return None
    if not name or not 1 <= len(values) <= 3:
        return None
    end = values[-1]
    start = values[0] if len(values) > 1 else (-1 if end < 0 else 1)
    step = values[1] if len(values) == 3 else (1 if start <= end else -1)
    if step == 0 or (end - start) * step < 0 or (kind == "SEQx" and min(start, end) < 0):
        return None
    shown = "x" if kind == "SEQx" else "d"
    past = end + (1 if step > 0 else -1)
    return ({name: format(value, shown)} for value in range(start, past, step))


def _lists(inside: str) -> list[dict[str, str]] | None:
    """~LST(var, a, b) or ~LST({v, w}, {a, b}, {c, d}): each round's values."""
    parts = [
        [word.strip() for word in (group or single).split(",")]
        for group, single in re.findall(r"\{([^{}]*)\}|([^{},]*[^{}, \t][^{},]*)", inside)
    ]
    if len(parts) < 2 or any(len(part) != len(parts[0]) for part in parts) or not all(parts[0]):
        return None
    return [dict(zip(parts[0], part, strict=True)) for part in parts[1:]]


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
