"""Findings on keepalived.conf: one file, and what several nodes' files say of each other's weights.

What must agree between the nodes is compare.py's business.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from kubeha import compare
from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Parsed, parse
from kubeha.grammar.keepalived_lines import Read
from kubeha.grammar.virtual_router import Track, VirtualRouter
from kubeha.lint import (
    FileFinding,
    keepalived_global,
    keepalived_health,
    keepalived_instance,
    keepalived_sample,
    keepalived_text,
    keepalived_values,
)
from kubeha.lint.keepalived_subject import Subject, Version, tell

Rule = Callable[[Subject], Iterator[FileFinding]]
RULES: tuple[Rule, ...] = (
    *keepalived_text.RULES,
    *keepalived_values.RULES,
    *keepalived_global.RULES,
    *keepalived_instance.RULES,
    *keepalived_health.RULES,
    *keepalived_sample.RULES,
)
# So many machines may share one file with @conditions.
MAX_VIEWS = 16
# Virtual routers of a file that are compared with those of others.
MAX_ROUTERS = 32


def views(name: str, text: str, read: Read | None = None) -> tuple[Parsed, ...]:
    """A file as each machine takes it: one view for every id that a condition in it names."""
    plain = parse(text, name, read=read)
    ids = plain.config_ids[:MAX_VIEWS]
    return tuple(parse(text, name, read=read, config_id=each) for each in ids) or (plain,)


def lint_keepalived(
    files: Sequence[Parsed], version: Version | None = None
) -> tuple[FileFinding, ...]:
    """Every finding on these files, by file and line; each file is one node's, or one view of it.

    `version`: of the keepalived that will read them; None leaves findings conditional.
    """
    subjects = [Subject(parsed, version) for parsed in files]
    found = [each for subject in subjects for rule in RULES for each in rule(subject)]
    found += _small_weights(subjects)
    order = {parsed.name: number for number, parsed in enumerate(files)}
    unique = dict.fromkeys(found)
    return tuple(
        sorted(unique, key=lambda f: (order.get(f.file, len(order)), f.file, f.line, f.code))
    )


def _small_weights(subjects: Iterable[Subject]) -> Iterator[FileFinding]:
    """A failed check must bring the holder below the next node, or nothing happens."""
    files = {
        f"{subject.parsed.name}@{subject.parsed.config_id}": subject.routers[:MAX_ROUTERS]
        for subject in subjects
    }
    for group in compare.together(files):
        for router in group.values():
            below = [other for other in group.values() if other.priority < router.priority]
            for track in router.tracks:
                if below and track.weight and track.kind in ("script", "process"):
                    yield from _too_small(router, track, below)


def _too_small(
    router: VirtualRouter, track: Track, below: Sequence[VirtualRouter]
) -> Iterator[FileFinding]:
    """A negative weight is taken off at failure, a positive one was there until then."""
    failed = router.priority + min(0, track.weight or 0)
    reached = max(other.priority + _bonus(other, track) for other in below)
    if failed < reached:
        return
    difference = router.priority - max(other.priority for other in below)
    yield tell(
        kinds.WEIGHT_TOO_SMALL,
        track.statement,
        f"when {track.name} fails here (weight {track.weight}), this node is left with {failed},"
        f" and the next has {reached}: the VIP stays where nobody answers",
        f"weight -{min(253, difference + 20)} for {track.name}, on every node",
    )


def _bonus(router: VirtualRouter, track: Track) -> int:
    """What the same check adds to another node while it passes there."""
    return sum(max(0, t.weight or 0) for t in router.tracks if t.name == track.name)
