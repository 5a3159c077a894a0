"""Bytes -> a tree of plain values with the position of each: the YAML layer, and nothing else.

Only what a cluster file needs of YAML is read: mappings, lists, text, decimal numbers, true, false
and null. Anchors, aliases, tags, several documents and nesting without end are refused, so no file
can be small on disk and large in memory, and none can make Python build an object.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from kubeha.config.problem import Path, Position, Problem, shown

LARGEST_FILE = 256 * 1024
DEEPEST = 8
LONGEST_KEY = 64

_CONTENT = (
    ScalarEvent,
    MappingStartEvent,
    MappingEndEvent,
    SequenceStartEvent,
    SequenceEndEvent,
)
_NOT_EVEN_IN_COMMENTS = {"Cc", "Zl", "Zp"}
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}")


@dataclass
class Document:
    """A mapping, where each key of it stands, and what is wrong with the way it is written."""

    tree: dict[str, Any] = field(default_factory=dict)
    positions: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position(self, path: Path) -> Position:
        """Where a key stands, or else the nearest thing around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))


class Unreadable(Exception):
    """The bytes are no document at all; there is one problem and nothing to go on with."""

    def __init__(self, message: str, hint: str = "", position: Position | None = None) -> None:
        super().__init__(message)
        self.problem = Problem((), message, hint)
        self.position = position or Position(1, 1)


def read_document(data: bytes) -> Document:
    """The tree in some bytes. Raises Unreadable for what is no YAML mapping at all."""
    text = _decoded(data)
    _refuse_control_characters(text)
    events = _Events(text)
    event = events.take()
    if event is None or (isinstance(event, ScalarEvent) and _NULL.fullmatch(event.value)):
        raise Unreadable("the file is empty", "write one with: kubeha init")
    if not isinstance(event, MappingStartEvent):
        raise Unreadable(
            "the file must be a mapping (key: value)", position=_position(event.start_mark)
        )
    document = Document()
    document.tree = _mapping(events, document, ())
    if (rest := events.take()) is not None:
        raise Unreadable(
            "there must be one YAML document in the file", position=_position(rest.start_mark)
        )
    return document


def _decoded(data: bytes) -> str:
    if len(data) > LARGEST_FILE:
        raise Unreadable(f"larger than {LARGEST_FILE // 1024} KiB: this is no cluster file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise Unreadable(
            f"not UTF-8 text (byte 0x{data[error.start]:02x})",
            position=Position(before.count(b"\n") + 1, column),
        ) from None


def _refuse_control_characters(text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        for column, character in enumerate(line.removesuffix("\r"), start=1):
            if unicodedata.category(character) in _NOT_EVEN_IN_COMMENTS and character != "\t":
                raise Unreadable(
                    f"control character U+{ord(character):04X}", position=Position(number, column)
                )


def _is_control(character: str) -> bool:
    """Whether it is invisible: controls, format characters, line and paragraph separators."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


class _Events:
    """The parser's events one by one, without those that carry no meaning here."""

    def __init__(self, text: str) -> None:
        self._events = self._checked(text)

    def take(self) -> Any:
        """The next event, or None at the end."""
        return next(self._events, None)

    def _checked(self, text: str) -> Iterator[Any]:
        depth = 0
        documents = 0
        for event in _parser_events(text):
            if isinstance(event, DocumentStartEvent):
                documents += 1
            if documents > 1:
                raise Unreadable(
                    "there must be one YAML document in the file",
                    position=_position(event.start_mark),
                )
            _refuse_what_no_cluster_file_needs(event)
            depth += isinstance(event, MappingStartEvent | SequenceStartEvent)
            depth -= isinstance(event, MappingEndEvent | SequenceEndEvent)
            if depth > DEEPEST:
                raise Unreadable(
                    f"nested more than {DEEPEST} deep", position=_position(event.start_mark)
                )
            if isinstance(event, _CONTENT):
                yield event


def _parser_events(text: str) -> Iterator[Any]:
    """ruamel's events; whatever it raises about a text means that the text is no YAML."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(
            f"not YAML: {error.problem or error.context}",
            position=_position(mark) if mark else None,
        ) from None
    except Exception as error:
        raise Unreadable(f"not YAML: {type(error).__name__}") from None


def _refuse_what_no_cluster_file_needs(event: Any) -> None:
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        raise Unreadable(
            "anchors and aliases (& and *) are not allowed",
            "write the value out; text that begins with & or * needs quotes",
            _position(event.start_mark),
        )
    if getattr(event, "tag", None) not in (None, "!"):
        raise Unreadable(
            "tags (!) are not allowed",
            "text that begins with ! needs quotes",
            _position(event.start_mark),
        )


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _value(events: _Events, event: Any, document: Document, path: Path) -> Any:
    if isinstance(event, MappingStartEvent):
        return _mapping(events, document, path)
    if isinstance(event, SequenceStartEvent):
        return _sequence(events, document, path)
    return _scalar(event, document, path)


def _mapping(events: _Events, document: Document, path: Path) -> dict[str, Any]:
    """A mapping; keys with no value are left out, as if they were not there."""
    tree: dict[str, Any] = {}
    seen: set[str] = set()
    while not isinstance(key_event := events.take(), MappingEndEvent):
        position = _position(key_event.start_mark)
        if not isinstance(key_event, ScalarEvent) or not _is_word(key_event.value):
            raise Unreadable("a key must be a word", position=position)
        key = key_event.value
        where = (*path, key)
        if key in seen:
            again = f"the key is there twice, again on line {position.line}"
            document.problems.append(Problem(where, again))
            where = (*where, "")  # what is below it must not be taken for the first one's
        else:
            document.positions[where] = position
        value = _value(events, events.take(), document, where)
        if key not in seen and value is not None:
            tree[key] = value
        seen.add(key)
    return tree


def _is_word(text: str) -> bool:
    """Short, and harmless in a message on a terminal."""
    return 0 < len(text) <= LONGEST_KEY and not any(_is_control(each) for each in text)


def _sequence(events: _Events, document: Document, path: Path) -> tuple[Any, ...]:
    values: list[Any] = []
    while not isinstance(event := events.take(), SequenceEndEvent):
        where = (*path, len(values))
        document.positions[where] = _position(event.start_mark)
        values.append(_value(events, event, document, where))
    return tuple(values)


def _scalar(event: Any, document: Document, path: Path) -> Any:
    """Text in quotes is text; a plain word may be a number, true, false or null."""
    text: str = event.value
    if any(_is_control(character) for character in text):
        document.problems.append(
            Problem(path, f"must not contain control characters or line breaks: {shown(text)}")
        )
        return None
    if event.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
