"""Conditions of `.if` in haproxy.cfg (its manual, section 2.4): true, false, or not to be known.

What depends on the machine (how HAProxy was built, environment variables that nobody gave) cannot
be decided from the file: the answer is None, never a guess.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Version = tuple[int, ...]
_TOKEN = re.compile(r"\s*(\|\||&&|!|\(|\)|[a-z_0-9]+\((?:\"[^\"]*\"|'[^']*'|[^)\"'])*\)|-?\d+)")
_DEEPEST = 50


class ConditionError(ValueError):
    """HAProxy would refuse the condition; the text says why."""


@dataclass(frozen=True)
class Known:
    """What is known about the HAProxy that will read the file."""

    version: Version | None = None
    environment: Mapping[str, str] | None = None


def version_of(text: str) -> Version:
    """(2, 6, 12) of '2.6.12-1+deb12u1'. Raises ValueError without a number at the start."""
    match = re.match(r"v?(\d{1,6}(?:\.\d{1,6}){0,3})", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a version")
    return tuple(int(part) for part in match[1].split("."))


def decide(text: str, known: Known) -> bool | None:
    """Whether the condition holds; None if the file alone does not say. Raises ConditionError."""
    tokens = _tokens(text)
    if not tokens:
        return False
    answer, rest = _either(tokens, known, 0)
    if rest:
        raise ConditionError(f"{rest[0]!r} is not expected there")
    return answer


def _tokens(text: str) -> Sequence[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ConditionError(f"{text[at : at + 20]!r} is not a condition")
        tokens.append(match[1])
        at = match.end()
    return tokens


_Answer = tuple[bool | None, Sequence[str]]


def _either(tokens: Sequence[str], known: Known, depth: int) -> _Answer:
    answer, rest = _both(tokens, known, depth)
    while rest and rest[0] == "||":
        other, rest = _both(rest[1:], known, depth)
        answer = True if answer or other else None if None in (answer, other) else False
    return answer, rest


def _both(tokens: Sequence[str], known: Known, depth: int) -> _Answer:
    answer, rest = _term(tokens, known, depth)
    while rest and rest[0] == "&&":
        other, rest = _term(rest[1:], known, depth)
        answer = False if False in (answer, other) else None if None in (answer, other) else True
    return answer, rest


def _term(tokens: Sequence[str], known: Known, depth: int) -> _Answer:
    if not tokens:
        raise ConditionError("it ends where a condition is expected")
    if depth > _DEEPEST:
        raise ConditionError("it is nested too deeply")
    first, rest = tokens[0], tokens[1:]
    if first == "!":
        answer, rest = _term(rest, known, depth + 1)
        return (None if answer is None else not answer), rest
    if first == "(":
        answer, rest = _either(rest, known, depth + 1)
        if not rest or rest[0] != ")":
            raise ConditionError("a parenthesis is never closed")
        return answer, rest[1:]
    if first.endswith(")") and first != ")":
        return _call(first, known), rest
    if re.fullmatch(r"-?\d{1,18}", first):
        return int(first) != 0, rest
    raise ConditionError(f"{first!r} is not a condition")


def _call(text: str, known: Known) -> bool | None:
    name, _, inside = text[:-1].partition("(")
    arguments = [_bare(piece) for piece in inside.split(",")]
    if name in _UNKNOWABLE:
        return None
    if name not in _PREDICATES:
        raise ConditionError(f"{name}() is no predicate of HAProxy")
    predicate, count = _PREDICATES[name]
    if len(arguments) != count:
        raise ConditionError(f"{name}() takes {count} argument{'s' if count > 1 else ''}")
    return predicate(arguments, known)


def _bare(argument: str) -> str:
    return argument.strip().strip("\"'")


def _defined(arguments: Sequence[str], known: Known) -> bool | None:
    if not arguments[0]:
        return False
    return True if arguments[0] in (known.environment or {}) else None


def _at_least(arguments: Sequence[str], known: Known) -> bool | None:
    try:
        wanted = version_of(arguments[0])
    except ValueError as error:
        raise ConditionError(str(error)) from None
    if known.version is None:
        return None
    width = max(len(wanted), len(known.version))
    return _padded(known.version, width) >= _padded(wanted, width)


def _padded(version: Version, width: int) -> Version:
    return version + (0,) * (width - len(version))


def _before(arguments: Sequence[str], known: Known) -> bool | None:
    answer = _at_least(arguments, known)
    return None if answer is None else not answer


def _equal(arguments: Sequence[str], known: Known) -> bool | None:
    return None if _open(arguments) else arguments[0] == arguments[1]


def _unequal(arguments: Sequence[str], known: Known) -> bool | None:
    return None if _open(arguments) else arguments[0] != arguments[1]


def _contains(arguments: Sequence[str], known: Known) -> bool | None:
    return None if _open(arguments) else arguments[1] in arguments[0]


def _open(arguments: Sequence[str]) -> bool:
    """Whether a variable without a value is still in there."""
    return any("$" in argument for argument in arguments)


_Predicate = Callable[[Sequence[str], Known], bool | None]
_PREDICATES: dict[str, tuple[_Predicate, int]] = {
    "defined": (_defined, 1),
    "streq": (_equal, 2),
    "strneq": (_unequal, 2),
    "strstr": (_contains, 2),
    "version_atleast": (_at_least, 1),
    "version_before": (_before, 1),
}
_UNKNOWABLE = {
    "feature",
    "enabled",
    "openssl_version_atleast",
    "openssl_version_before",
    "ssllib_name_startswith",
    "awslc_api_atleast",
    "awslc_api_before",
}
