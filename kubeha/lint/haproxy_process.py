"""Rules on the process: its rights, its sockets, its statistics page, its version."""

import re
from collections.abc import Iterator
from dataclasses import replace

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Severity
from kubeha.grammar.haproxy import Statement
from kubeha.grammar.haproxy_addresses import address
from kubeha.grammar.haproxy_conditions import Version
from kubeha.grammar.haproxy_proxies import Proxy
from kubeha.grammar.secrets import masked, masked_words
from kubeha.lint import FileFinding
from kubeha.lint.haproxy_subject import Subject, shown

# Directories that vanish at a reboot.
_VOLATILE = ("/run", "/var/run")
_DEBIAN_CHROOT = "/var/lib/haproxy"
# keyword -> (first version without it, what to write instead). Tried with 1.8, 2.4, 2.6, 2.8, 3.x.
_REMOVED: dict[tuple[str, ...], tuple[Version, str]] = {
    ("nbproc",): ((2, 5), "take it out: threads (nbthread) do it since 1.8"),
    ("bind-process",): ((2, 7), "take it out: there is one process"),
    ("grace",): ((2, 5), "take it out"),
    ("reqrep",): ((2, 1), "write it as http-request replace-..."),
    ("reqadd",): ((2, 1), "write it as http-request add-header"),
    ("rspadd",): ((2, 1), "write it as http-response add-header"),
    ("clitimeout",): ((2, 1), "write instead: timeout client"),
    ("srvtimeout",): ((2, 1), "write instead: timeout server"),
    ("contimeout",): ((2, 1), "write instead: timeout connect"),
    ("option", "forceclose"): ((2, 0), "write instead: option httpclose"),
}
# keyword -> first version that has it.
_ADDED: dict[tuple[str, ...], Version] = {
    ("clitcpka-idle",): (2, 4),
    ("clitcpka-intvl",): (2, 4),
    ("clitcpka-cnt",): (2, 4),
    ("srvtcpka-idle",): (2, 4),
    ("srvtcpka-intvl",): (2, 4),
    ("srvtcpka-cnt",): (2, 4),
    ("http-check", "send"): (2, 2),
    ("http-check", "connect"): (2, 2),
    ("strict-limits",): (2, 1),
    ("set-dumpable",): (2, 0),
    ("close-spread-time",): (2, 6),
    ("fd-hard-limit",): (2, 6),
    ("thread-groups",): (2, 5),
    ("cpu-policy",): (3, 2),
}


def refused(subject: Subject) -> Iterator[FileFinding]:
    """KH741: what cannot be read, and names that lead nowhere."""
    for problem in subject.parsed.problems:
        found = subject.at(
            kinds.HAPROXY_REFUSES,
            problem.line,
            masked_words(problem.message),
            f"mend the line, then try: haproxy -c -f {subject.file}",
        )
        yield replace(found, evidence=masked(problem.text))
    for proxy in subject.proxies:
        for name, statement in proxy.targets():
            if name not in subject.by_name and "%" not in name:
                yield subject.at(
                    kinds.HAPROXY_REFUSES,
                    statement,
                    f"{proxy.title} sends to backend {name}, which is not in the file",
                    f"write the name of a backend of the file, or add: backend {name}",
                )


def undecided(subject: Subject) -> Iterator[FileFinding]:
    """KH742: what was taken for granted about conditional blocks."""
    for assumption in subject.parsed.assumptions:
        yield subject.at(
            kinds.UNDECIDED,
            assumption.line,
            f"the file alone does not say whether '{assumption.condition}' holds; it was judged "
            f"as if it did",
            "for conditions on the version: kubeha lint --haproxy-version 2.6 FILE",
        )


def versions(subject: Subject) -> Iterator[FileFinding]:
    """KH749: an error when it is known that this version refuses the file."""
    for section in subject.parsed.sections:
        for statement in section.statements:
            found = _removed(subject, statement) or _added(subject, statement)
            if found:
                yield found


def _removed(subject: Subject, statement: Statement) -> FileFinding | None:
    for words, (end, instead) in _REMOVED.items():
        if statement.begins(*words):
            return _version(subject, statement, f"HAProxy {_dotted(end)} and later", end, instead)
    if statement.begins("option", "httpchk") and any("\r" in word for word in statement.words):
        # A warning from 2.2 on, refused from 2.7 on or later: 2.6 still takes it, 2.8 does not.
        instead = "write instead: option httpchk GET /readyz"
        return _version(subject, statement, "HAProxy 2.8 and later", (2, 8), instead)
    return None


def _version(
    subject: Subject, statement: Statement, who: str, end: Version, instead: str
) -> FileFinding | None:
    if subject.version is not None and subject.version[:2] < end:
        return None
    found = subject.at(
        kinds.VERSION_KEYWORD,
        statement,
        f"{who} refuse '{masked(shown(statement))[:60]}' and do not start",
        instead,
    )
    return replace(found, severity=Severity.ERROR) if subject.version else found


def _added(subject: Subject, statement: Statement) -> FileFinding | None:
    for words, start in _ADDED.items():
        if statement.begins(*words) and subject.version and subject.version[:2] < start:
            found = subject.at(
                kinds.VERSION_KEYWORD,
                statement,
                f"HAProxy {_dotted(subject.version)} does not know '{' '.join(words)}' (it came "
                f"with {_dotted(start)}) and does not start",
                "take the line out, or install a later HAProxy",
            )
            return replace(found, severity=Severity.ERROR)
    return None


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def statistics(subject: Subject) -> Iterator[FileFinding]:
    """KH750, KH751: the page tells the cluster's addresses; with admin rights it stops servers."""
    for proxy in subject.proxies:
        opened = [bind for bind in proxy.binds if not bind.address.loopback]
        page = next(proxy.all("stats"), None)
        if not opened or page is None or not _serves_page(proxy):
            continue
        how = _protection(proxy)
        admin = proxy.last("stats", "admin")
        if admin:
            yield subject.at(
                kinds.STATS_ADMIN,
                admin,
                f"{proxy.title} on {opened[0].address.text} lets other machines take API servers "
                f"out ({how})",
                f"take out: {shown(admin)}; and write: bind 127.0.0.1:{_port(opened[0].address)}",
            )
        else:
            yield subject.at(
                kinds.STATS_OPEN,
                opened[0].statement,
                f"{proxy.title} shows the statistics page to other machines ({how})",
                f"write instead: bind 127.0.0.1:{_port(opened[0].address)}",
            )


def _serves_page(proxy: Proxy) -> bool:
    """Settings alone, as in defaults, show nothing: a page needs a place in a mode http proxy."""
    return any(proxy.section.find("stats")) and proxy.mode == "http"


def _protection(proxy: Proxy) -> str:
    return (
        "with a password that is in this file and crosses the network readably"
        if proxy.last("stats", "auth")
        else "without any password"
    )


def _port(where: object) -> str:
    port = getattr(where, "first_port", None)
    return str(port) if port else "8404"


def admin_sockets(subject: Subject) -> Iterator[FileFinding]:
    """KH771, KH772: where the sockets are, and who may speak to them."""
    for section in subject.globals:
        for statement in section.find("stats", "socket"):
            if len(statement.words) < 3 or statement.unknown:
                continue
            words = statement.words
            given = dict(zip(words[3:], words[4:], strict=False))
            yield from _who_may(subject, statement, given)
            yield from _directory(subject, statement, words[2])


def _who_may(
    subject: Subject, statement: Statement, given: dict[str, str]
) -> Iterator[FileFinding]:
    where = address(statement.words[2])
    admin = given.get("level", "operator") in ("admin", "operator")
    if not where.loopback and admin:
        yield subject.at(
            kinds.ADMIN_SOCKET_OPEN,
            statement,
            f"whoever reaches {where.text} may take servers out and read everything: this socket "
            f"has no password",
            "write instead: stats socket /run/haproxy/admin.sock mode 660 level admin "
            "expose-fd listeners",
        )
    elif where.local and re.fullmatch(r"0?[0-7][0-7][2367]", given.get("mode", "")) and admin:
        yield subject.at(
            kinds.ADMIN_SOCKET_OPEN,
            statement,
            f"mode {given['mode']}: every user of the machine may give HAProxy orders",
            "write instead: mode 660",
        )


def _directory(subject: Subject, statement: Statement, path: str) -> Iterator[FileFinding]:
    directory = path.removeprefix("unix@").rpartition("/")[0]
    below = any(directory.startswith(f"{volatile}/") for volatile in _VOLATILE)
    if not below or subject.created and _real(directory) in subject.created:
        return
    yield subject.at(
        kinds.RUN_DIRECTORY,
        statement,
        f"{directory} is gone after a reboot, and HAProxy does not start without it; Debian's "
        f"package makes /run/haproxy anew, those of RHEL and its kin do not",
        f"add to the unit ([Service], systemctl edit haproxy): "
        f"RuntimeDirectory={_real(directory).removeprefix('/run/')}",
    )


def _real(directory: str) -> str:
    """/var/run is a link to /run."""
    return directory.removeprefix("/var")


def rights(subject: Subject) -> Iterator[FileFinding]:
    """KH768 to KH770: what a break-in would get."""
    if not subject.globals:
        return
    user, chroot = subject.setting("user") or subject.setting("uid"), subject.setting("chroot")
    if user is None or user.arguments[:1] in (("root",), ("0",)):
        yield subject.at(
            kinds.RUNS_AS_ROOT,
            user or subject.globals[0],
            "HAProxy stays root after it has bound its ports",
            "write in global: user haproxy, and group haproxy",
        )
    if chroot is None:
        yield subject.at(
            kinds.NO_CHROOT,
            subject.globals[0],
            "HAProxy sees the whole file system",
            "add to global: chroot /var/lib/haproxy (the directory has to exist: haproxy -c does "
            "not look)",
        )
    yield from _log(subject, chroot)


def _log(subject: Subject, chroot: Statement | None) -> Iterator[FileFinding]:
    """Debian's unit mounts /dev/log into its own chroot, and nobody into another."""
    if chroot is None or not chroot.arguments or chroot.arguments[0] == _DEBIAN_CHROOT:
        return
    log = [each for section in subject.globals for each in section.find("log", "/dev/log")]
    if log and chroot.arguments[0] != "/":
        inside = f"{chroot.arguments[0].rstrip('/')}/dev/log"
        yield subject.at(
            kinds.LOG_IN_CHROOT,
            log[0],
            f"in its chroot HAProxy looks for {inside}: unless something puts it there, nothing is "
            f"logged",
            f"add to the unit: BindReadOnlyPaths=/dev/log:{inside} (or write: "
            f"log 127.0.0.1:514 local0)",
        )


def hard_stop(subject: Subject) -> Iterator[FileFinding]:
    """KH767: watches keep the old process of each reload alive."""
    if subject.globals and subject.api_backends and not subject.setting("hard-stop-after"):
        yield subject.at(
            kinds.NO_HARD_STOP,
            subject.globals[0],
            "after a reload the old process lives until its last watch ends, with the old list of "
            "servers",
            "add to global: hard-stop-after 1h",
        )


RULES = (refused, undecided, versions, statistics, admin_sockets, rights, hard_stop)
