"""Rules on health checks: does the VIP leave a node whose load balancer is dead, and how soon?"""

from posixpath import basename

from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Statement, script_words
from kubeha.grammar.virtual_router import DEFINED_BY, decimal, sync_groups, whole
from kubeha.lint.keepalived_subject import Found, Subject, tell

# As long as this until the script has failed for good: a client's own timeout comes first.
SLOW_SECONDS = 5.0
_HEALTH = ("script", "file", "process", "bfd")


def process_checks(subject: Subject) -> Found:
    for script in subject.scripts:
        command = script.last("script")
        if command and (what := _asks_for_process(script_words(command)[1:])):
            yield tell(
                kinds.PROCESS_CHECK,
                command,
                f"{what} passes while the process hangs or refuses connections, and starts a"
                " program every time"
                + (
                    "; without the package psmisc there is no check" if what == "killall -0" else ""
                ),
                'ask the service itself, with a time limit: script "/usr/bin/curl -sk -m 2 -o'
                ' /dev/null https://localhost:8443/readyz"',
            )


def _asks_for_process(words: tuple[str, ...]) -> str | None:
    """killall -0, kill -0, pidof, pgrep, systemctl is-active, ps ... | grep: also within sh -c."""
    flat = [part for word in words for part in word.split()]
    names = [basename(word) for word in flat]
    for program in ("killall", "kill"):
        if program in names and flat[names.index(program) + 1 :][:1] in (["-0"], ["-s0"]):
            return f"{program} -0"
    if "systemctl" in names and "is-active" in flat:
        return "systemctl is-active"
    asked = [n for n in names if n in ("pidof", "pgrep")]
    if asked:
        return asked[0]
    return "ps" if "ps" in names and "grep" in names else None


def slow(subject: Subject) -> Found:
    for script in subject.scripts:
        every = decimal(_word(script, "interval")) or 1.0
        fall = whole(_word(script, "fall"), 1, 10**6) or 1
        if every * fall >= SLOW_SECONDS:
            yield tell(
                kinds.SLOW_CHECK,
                script.last("interval") or script,
                f"{script.word()} fails for good after up to {every * fall:g} s (every"
                f" {every:g} s, {fall} time{'s' if fall > 1 else ''})",
                "interval 1, fall 2, rise 2, timeout 2",
            )


def undefined(subject: Subject) -> Found:
    for router in subject.routers:
        for track in router.tracks:
            if not track.defined and "$" not in track.name:
                where = track.statement
                yield tell(
                    kinds.TRACK_UNDEFINED,
                    where,
                    f"no {' or '.join(DEFINED_BY[track.kind])} is called {track.name}: keepalived"
                    " logs 'not found, ignoring' and does without the check",
                    f"define {DEFINED_BY[track.kind][0]} {track.name} {{ ... }}, or write the name"
                    " of the one that is meant",
                )


def no_check(subject: Subject) -> Found:
    """virtual_server is a load balancer of its own, in the kernel, with checks of its own."""
    if subject.parsed.all("virtual_server"):
        return
    grouped = {
        member
        for group in sync_groups(subject.parsed)
        if any(group.statement.all(f"track_{kind}") for kind in _HEALTH)
        for member in group.members
    }
    for router in subject.routers:
        health = [t for t in router.tracks if t.kind in _HEALTH and t.defined]
        if router.vips and not health and router.instance not in grouped:
            yield tell(
                kinds.NO_HEALTH_CHECK,
                router.statement,
                f"{router.instance} looks at no load balancer: when HAProxy dies on the holder, the"
                " VIP stays where nobody answers",
                "a vrrp_script that asks the endpoint's port on this node, and track_script"
                " { ITS NAME } here",
            )


def unused(subject: Subject) -> Found:
    for keyword, kind in ((k, kind) for kind, words in DEFINED_BY.items() for k in words):
        used = {
            each.keyword
            for block in subject.parsed.walk()
            if block.keyword == f"track_{kind}"
            for each in block.block or ()
        }
        for definition in subject.parsed.all(keyword):
            if kind in ("script", "file", "process") and definition.word() not in used:
                yield tell(
                    kinds.SCRIPT_UNUSED,
                    definition,
                    f"no instance tracks {definition.word()}: keepalived never runs or reads it",
                    f"in the vrrp_instance: track_{kind} {{ {definition.word()} }}",
                )


def _word(block: Statement, keyword: str) -> str | None:
    found = block.last(keyword)
    return found.word() if found else None


RULES = (process_checks, slow, undefined, no_check, unused)
