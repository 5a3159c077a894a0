"""Host against a real sshd: look, write, remove, run."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import Sshd

from kubeha.errors import HostError
from kubeha.host import Host, connect
from kubeha.remote import ABSENT, DIRECTORY, Command, FileRemoval, FileWrite

T = TypeVar("T")


def on_host(sshd: Sshd, work: Callable[[Host], Awaitable[T]]) -> T:
    """Do `work` over one fresh connection."""

    async def main() -> T:
        cluster = sshd.cluster()
        async with connect(cluster, cluster.control_plane[0]) as host:
            return await work(host)

    return asyncio.run(main())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_collects_commands_and_files_in_one_request(sshd: Sshd, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("né\n")
    there.chmod(0o640)
    commands = {
        "words": Command(("printf", "%s|", "a b", "$HOME", "';")),
        "language": Command(("printenv", "LC_ALL")),
        "fails": Command(("sh", "-c", "echo bad >&2; exit 3")),
        "missing": Command(("no-such-program",)),
        "slow": Command(("sleep", "30"), timeout=0.3),
    }
    seen = on_host(sshd, lambda host: host.collect(commands, [str(there), str(tmp_path / "no")]))
    assert seen.commands["words"].stdout == "a b|$HOME|';|"
    assert seen.commands["language"].stdout == "C\n"
    fails = seen.commands["fails"]
    assert (fails.status, fails.stderr, fails.error, fails.ok) == (3, "bad\n", None, False)
    assert seen.commands["missing"].error == "no-such-program: not found"
    slow = seen.commands["slow"]
    assert (slow.status, slow.error) == (None, "no end after 0.3 s")
    state = seen.files[str(there)]
    assert (state.content, state.sha256, state.mode) == ("né\n", digest("né\n"), 0o640)
    assert not seen.files[str(tmp_path / "no")].exists
    assert seen.files[str(tmp_path / "no")].error is None
    assert seen.systemd == os.path.isdir("/run/systemd/system")


def test_writes_then_finds_it_unchanged(sshd: Sshd, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "deep" / "file"
    wanted = FileWrite(str(path), "one\n", mode=0o600, expect=ABSENT)
    (first,) = on_host(sshd, lambda host: host.write([wanted]))
    assert (first.changed, first.before) == (True, ABSENT)
    assert first.created == (str(tmp_path / "etc"), str(path.parent))
    assert path.read_text() == "one\n" and path.stat().st_mode & 0o7777 == 0o600
    (again,) = on_host(sshd, lambda host: host.write([wanted]))
    assert (again.changed, again.before, again.created) == (False, digest("one\n"), ())


def test_removes_files_then_their_directory(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    paths = [
        FileRemoval(str(tmp_path / "d"), DIRECTORY),
        FileRemoval(str(tmp_path / "d" / "f"), digest("x")),
        FileRemoval(str(tmp_path / "gone")),
    ]
    outcomes = on_host(sshd, lambda host: host.remove(paths))
    assert [one.changed for one in outcomes] == [True, True, False]
    assert not (tmp_path / "d").exists()


def test_stale_write_is_refused_and_touches_nothing(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("theirs\n")
    files = [
        FileWrite(str(tmp_path / "b"), "new\n"),
        FileWrite(str(tmp_path / "a"), "ours\n", expect=digest("old\n")),
    ]
    with pytest.raises(HostError) as caught:
        on_host(sshd, lambda host: host.write(files))
    assert str(caught.value) == f"m1: {tmp_path}/a: has been changed since it was looked at"
    assert caught.value.hint == "somebody changed it in the meantime: make a new plan"
    assert caught.value.kind == "stale"
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "theirs\n"


def test_run_streams_lines_and_takes_input(sshd: Sshd) -> None:
    lines: list[str] = []
    argv = ["sh", "-c", 'cat; echo "$GREETING" >&2; exit 4']
    done = on_host(
        sshd,
        lambda host: host.run(
            argv, timeout=10, env={"GREETING": "hello"}, input="one\ntwo", on_line=lines.append
        ),
    )
    assert (done.status, done.stdout, done.stderr) == (4, "one\ntwo", "hello\n")
    assert sorted(lines) == ["hello", "one", "two"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=5))
def test_no_argument_meets_a_shell(sshd: Sshd, words: list[str]) -> None:
    """Whatever is in an argument arrives as it is."""
    argv = ["printf", "%s\\n--\\n", *words] if words else ["true"]
    done = on_host(sshd, lambda host: host.run(argv, timeout=10))
    assert (done.ok, done.stdout) == (True, "".join(f"{word}\n--\n" for word in words))
