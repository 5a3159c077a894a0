"""Rules on the text itself: what keepalived cannot read, passes over or takes otherwise."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice

from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Statement
from kubeha.grammar.keepalived_words import KEYWORDS, TOP
from kubeha.grammar.secrets import masked, masked_words
from kubeha.lint import FileFinding
from kubeha.lint.keepalived_subject import Found, Subject, tell, tell_at

SCRIPT_KEYWORDS = ("script", "notify", "misc_path", "startup_script", "shutdown_script")
# A file with more is something else, and a guess at what was meant takes a millisecond.
MAX_UNKNOWN = 100


def problems(subject: Subject) -> Found:
    """Braces, quotes, definitions that do not end."""
    for problem in subject.parsed.problems:
        kind = kinds.INCLUDE_UNSEEN if problem.unseen else kinds.BROKEN
        fix = (
            "give kubeha lint the file that includes it on the machine where all of them are"
            if problem.unseen
            else "mend this line and those before it, until keepalived -t -f"
            f" {problem.place.file} says no word and ends with status 0"
        )
        yield tell_at(kind, problem.place, masked_words(problem.message), fix)


def unknown_words(subject: Subject) -> Found:
    """Keywords that no keepalived from 2.1.5 on knows where they stand."""
    yield from islice(_unknown_words(subject), MAX_UNKNOWN)


def _unknown_words(subject: Subject) -> Found:
    known = TOP | {"include"}
    for statement in subject.parsed.statements:
        if statement.keyword not in known:
            yield _unknown(statement, None, TOP)
    for block in _checked(subject.parsed.statements):
        for statement in block.block or ():
            if statement.keyword not in KEYWORDS[block.keyword]:
                yield _unknown(statement, block, KEYWORDS[block.keyword])


def _checked(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for statement in statements:
        for each in statement.walk():
            if each.keyword in KEYWORDS and each.keyword != "track_file":
                yield each
            elif each.keyword == "track_file" and each is statement:
                yield each


def _unknown(statement: Statement, block: Statement | None, known: frozenset[str]) -> FileFinding:
    where = f"in {block.keyword}" if block else "outside of all blocks"
    message = f"keepalived knows no '{statement.keyword}' {where} and passes it over"
    if statement.block is not None:
        message += "; its closing brace then ends the block around it, and what follows is lost"
    return tell(kinds.UNKNOWN_WORD, statement, message, _instead(statement.keyword, known))


def _instead(word: str, known: frozenset[str]) -> str:
    """vrrp_rt_priority in an instance belongs elsewhere, however much it is like priority."""
    close = get_close_matches(word, known, 1)
    if word in TOP:
        return "move it out of the block: is a closing brace missing before it?"
    if elsewhere := [name for name, words in KEYWORDS.items() if word in words]:
        alike = f", or write {close[0]}, if that is meant" if close else ""
        return f"move it into {elsewhere[0]}{alike}"
    if close:
        return f"write {close[0]}, if that is meant; else remove the line"
    return "remove the line; keepalived -t names every word that it does not know"


def cut_words(subject: Subject) -> Found:
    """auth_pass K8s#2024 is the password K8s."""
    for left, lost, place in subject.parsed.cut:
        shown = masked(left)
        secret = shown != left
        message = (
            "the password ends before the comment sign in it"
            if secret
            else f"the comment sign ends the line: what counts is '{left}'"
        )
        fix = (
            f"put the value into double quotes if the {lost[0]} belongs to it (on every node alike;"
            " a backslash does not help), or a blank before the comment"
        )
        yield tell_at(kinds.CUT_BY_COMMENT, place, message, fix, shown)


def placeholders(subject: Subject) -> Found:
    """${STATE} of a template that nobody has filled in; a command may well use a shell's own."""
    told: set[str] = set()
    for name, place in subject.parsed.undefined:
        there = [s for s in subject.parsed.walk() if s.place == place]
        scripts = any(s.keyword.startswith(SCRIPT_KEYWORDS) for s in there)
        if name.startswith("_") or name in told or scripts:
            continue
        told.add(name)
        braced = any(f"${{{name}}}" in s.text for s in there)
        yield tell_at(
            kinds.PLACEHOLDER,
            place,
            f"${name} is defined nowhere: keepalived "
            + ("takes the braces for a block's" if braced else "takes its name for the value"),
            f"write the value, or define it before its use: ${name}=VALUE",
            f"${{{name}}}" if braced else f"${name}",
        )


RULES = (problems, unknown_words, cut_words, placeholders)
