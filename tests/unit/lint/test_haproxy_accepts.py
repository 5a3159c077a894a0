"""Our reading of haproxy.cfg against that of the real HAProxy of Debian 12 and 13."""

import json
import random
import re
from contextlib import suppress

import pytest
from lint.haproxy_files import edited, findings

from kubeha.desired import PACKAGES
from kubeha.grammar.haproxy import parse
from kubeha.grammar.haproxy_conditions import ConditionError, Known, decide
from kubeha.grammar.haproxy_words import WordError, split
from kubeha.lab.image import run_in_image

RELEASES = {"bookworm": (2, 6), "trixie": (3, 0)}
ENVIRONMENT = {"A": "1", "B": "x y  z", "E": ""}
# HAProxy repeats the first word after .notice; what it refuses it names with the line.
TRY = """
import json, os, subprocess, sys
answers = {}
for name in sorted(os.listdir("/cases")):
    done = subprocess.run(
        ["haproxy", "-c", "-f", "/cases/" + name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], **json.loads(sys.argv[1])},
    )
    answers[name] = [done.returncode, done.stdout.decode("utf-8", "backslashreplace")]
json.dump(answers, sys.stdout)
"""

WRITTEN = [
    "plain",
    "a\\ b",
    "a\\\\b",
    "a\\#b",
    "a#b",
    "a\\tb",
    "\\x41\\x20b",
    "\\x4",
    "\\xg1",
    '"a b"',
    "'a b'",
    "'a\\ b'",
    '"a\\"b"',
    '"it\'s"',
    "'say \"x\"'",
    "'it'\\''s'",
    "a\"b c\"d'e f'g",
    '"open',
    "'open",
    'a"',
    '"$A"',
    "'$A'",
    "$A",
    '"${A}"',
    '"${A}b$A"',
    '"${NOBODY-a b}"',
    '"${A-other}"',
    '"${A"',
    '"${1}"',
    '"$"',
    '"$ x"',
    '"\\$A"',
    "\\$A",
    '"${B}"',
    '"${B[*]}"',
    '"${B[0]}"',
    '"$E"',
    "a\\",
    "a\\1b",
    "{",
    "a,b",
    "\\'a",
    "a;b",
    "ä\\ ö",
]


def generated(count: int) -> list[str]:
    """Lines of the characters that mean something."""
    chance = random.Random(20261123)
    pieces = [*"\\\"'${}- #ABb.", "[*]", "x41", "${A}"]
    return ["".join(chance.choices(pieces, k=chance.randint(1, 9))) for _ in range(count)]


def ours(text: str) -> str:
    """What HAProxy should say to `.notice text`.

    Raises LookupError where a variable is not known, for which HAProxy puts nothing.
    """
    try:
        found = split(f".notice {text}", ENVIRONMENT)
    except WordError:
        return "refused"
    if found.unknown:
        raise LookupError
    words = [*found.words[1:], "", ""]
    return f"unexpected {words[1]}" if words[1] else f"notice {words[0]}"


def theirs(said: str) -> str:
    """The same from what it printed."""
    if found := re.search(r"^\[NOTICE\].* parsing \[/cases/[^]]*\]: '(.*?)'\.$", said, re.M | re.S):
        return f"notice {found[1]}"
    if found := re.search(r": Unexpected argument '(.*?)' for '.notice'", said, re.S):
        return f"unexpected {found[1]}"
    return "refused" if "[ALERT]" in said else f"? {said}"


def asked(release: str, files: dict[str, str]) -> dict[str, tuple[int, str]]:
    """What HAProxy says to each file: exit status and output."""
    named = {f"/cases/{name}": text for name, text in files.items()}
    argv = ["python3", "-c", TRY, json.dumps(ENVIRONMENT)]
    done = run_in_image(release, argv, files=named, packages=PACKAGES, timeout=300)
    assert done.returncode == 0, done.stderr
    return {name: (status, said) for name, (status, said) in json.loads(done.stdout).items()}


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_words_are_those_of_haproxy(release: str) -> None:
    """Written cases, and generated ones of the characters that mean something."""
    expected = {}
    for text in (*WRITTEN, *generated(150)):
        with suppress(LookupError):
            expected[text] = ours(text)
    files = {f"{n}.cfg": f"global\n.notice {text}\n" for n, text in enumerate(expected)}
    answers = asked(release, files)
    said = {text: theirs(answers[f"{n}.cfg"][1]) for n, text in enumerate(expected)}
    assert said == expected
    assert len(expected) > 150
    assert {word.split()[0] for word in said.values()} == {"notice", "unexpected", "refused"}


CONDITIONS = [
    "",
    "0",
    "1",
    "-1",
    "true",
    "false",
    "defined(A)",
    "!defined(A)",
    "streq(a,a)",
    "streq(a,b)",
    "strneq(a,b)",
    'streq("a","a")',
    "version_atleast(2.4)",
    "version_atleast(99.0)",
    "version_before(99.0)",
    "version_before(2.6)",
    "version_atleast(2.6)&&version_before(2.7)",
    "0||1",
    "1&&0",
    "!1",
    "!0",
    "(1)",
    "(0||1)&&1",
    "!(1&&0)",
    "(1",
    "1)",
    "nonsense",
    "nonsense(1)",
    "1 1",
    "1 && 1",
    "streq(a)",
    "defined()",
]


def decided(condition: str, version: tuple[int, ...]) -> bool | str | None:
    try:
        return decide(condition, Known(version, ENVIRONMENT))
    except ConditionError:
        return "refused"


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_conditions_are_decided_as_by_haproxy(release: str) -> None:
    """One file each: HAProxy stops at a condition that it refuses."""
    files = {
        f"{number}.cfg": f"global\n.if {condition}\n.notice taken\n.else\n.notice left\n.endif\n"
        for number, condition in enumerate(CONDITIONS)
    }
    answers = asked(release, files)
    theirs = {}
    for number, condition in enumerate(CONDITIONS):
        said = answers[f"{number}.cfg"][1]
        theirs[condition] = True if "'taken'" in said else False if "'left'" in said else "refused"
    assert {c: decided(c, RELEASES[release]) for c in CONDITIONS} == theirs


# A whole file that is right, and lines that are wrong in it.
RIGHT = """global
    maxconn 100
defaults
    mode tcp
    timeout connect 1s
    timeout client 1m
    timeout server 1m
frontend f
    bind :8443
    default_backend b
backend b
    server s 198.51.100.11:6443 check
"""
WRONG = {
    "quote": '    description "open',
    "section": "lissten x",
    "directive": ".foo",
    "endif": ".endif",
    "else": ".if 1\n.else\n.else\n.endif",
    "if": ".if 1",
    "elif": ".elif 1",
    "alert": ".alert stop",
    "no": "    no retries 3",
    "cut": "    description last",
}


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_haproxy_refuses_what_we_refuse(release: str) -> None:
    files = {name: RIGHT + line + "\n" for name, line in WRONG.items()}
    files["cut"] = files["cut"].removesuffix("\n")
    files["right"] = RIGHT
    files["nameless"] = RIGHT.replace("frontend f", "frontend")
    files["early"] = "maxconn 100\n" + RIGHT
    answers = asked(release, files)
    assert {name for name, (status, _) in answers.items() if status == 0} == {"right"}
    known = {"section"}  # keywords are no part of the grammar that we read
    assert {name for name, text in files.items() if not parse(text).problems} == {"right"} | known


# Settings that some versions refuse, each in a file that is good otherwise.
KEYWORDS = {
    "good": (),
    "nbproc": ("maxconn 8000 => maxconn 8000\n    nbproc 1",),
    "grace": ("retries 3 => retries 3\n    grace 5s",),
    "bind-process": ("bind :8443 => bind :8443\n    bind-process 1",),
    "reqrep": ("bind :8443 => bind :8443\n    reqrep ^a b",),
    "reqadd": ("bind :8443 => bind :8443\n    reqadd X:y",),
    "rspadd": ("bind :8443 => bind :8443\n    rspadd X:y",),
    "clitimeout": ("bind :8443 => bind :8443\n    clitimeout 5000",),
    "srvtimeout": ("balance roundrobin => balance roundrobin\n    srvtimeout 5000",),
    "contimeout": ("balance roundrobin => balance roundrobin\n    contimeout 5000",),
    "forceclose": ("bind :8443 => bind :8443\n    option forceclose",),
    "host": ("GET /readyz => GET /readyz HTTP/1.1\\r\\nHost:\\ kubernetes",),
    "keepalive": ("retries 3 => retries 3\n    clitcpka-idle 30s",),
    "send": ("GET /readyz => GET /readyz\n    http-check send meth GET uri /readyz",),
}


@pytest.mark.lab
@pytest.mark.provokes("KH749")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_what_a_version_refuses_is_what_we_say_it_refuses(release: str) -> None:
    """KH749 as an error, exactly where the real program does not take the file."""
    bare = ("verify required ca-file /etc/ca.pem verifyhost kubernetes => verify none",)
    files = {name: edited(*bare, *edits) for name, edits in KEYWORDS.items()}
    answers = asked(release, files)
    refused = {name for name, (status, _) in answers.items() if status != 0}
    said = {
        name
        for name, text in files.items()
        for found in findings(text, RELEASES[release])
        if (found.code, found.severity) == ("KH749", "error")
    }
    assert said == refused
    assert "good" not in refused and "nbproc" in refused
