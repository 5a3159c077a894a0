"""Writing files so that no interruption is ever seen."""

import fcntl
import grp
import hashlib
import os
import pwd
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kubeha.node import files
from kubeha.node.files import TEMPORARY, remove, write
from kubeha.node.wire import Refused, Wire

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
WIRE = Wire(sys.stdin.buffer, sys.stdout)


def item(path: Path, content: str, **more: Any) -> dict[str, Any]:
    return {
        "path": str(path),
        "content": content,
        "mode": 0o644,
        "owner": OWNER,
        "group": GROUP,
        "expect": None,
        "keep": None,
        **more,
    }


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


def refusal(*items: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        write(WIRE, list(items))
    return caught.value


def test_keeps_a_copy_with_mode_of_what_it_replaces(tmp_path: Path) -> None:
    path, keep = tmp_path / "f", tmp_path / "kept" / "f.before"
    path.write_text("old")
    path.chmod(0o600)
    (done,) = write(WIRE, [item(path, "new", keep=str(keep), expect=digest("old"))])
    assert done["kept"] == str(keep) and done["before"] == digest("old")
    assert done["created"] == [str(keep.parent)]
    assert (path.read_text(), keep.read_text()) == ("new", "old")
    assert (path.stat().st_mode & 0o777, keep.stat().st_mode & 0o777) == (0o644, 0o600)


def test_nothing_is_kept_of_what_was_not_there(tmp_path: Path) -> None:
    (done,) = write(WIRE, [item(tmp_path / "f", "new", keep=str(tmp_path / "k"))])
    assert done["kept"] is None and os.listdir(tmp_path) == ["f"]


def test_a_file_as_wanted_is_left_alone_whatever_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write(WIRE, [item(path, "new")])
    inode = path.stat().st_ino
    (done,) = write(WIRE, [item(path, "new", expect=digest("old"), keep=str(tmp_path / "k"))])
    assert not done["changed"] and path.stat().st_ino == inode
    assert not (tmp_path / "k").exists()


def test_a_wrong_mode_alone_is_put_right(tmp_path: Path) -> None:
    write(WIRE, [item(tmp_path / "f", "x", mode=0o600)])
    (done,) = write(WIRE, [item(tmp_path / "f", "x", mode=0o640)])
    assert done["changed"] and (tmp_path / "f").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("found", "expect", "message"),
    [
        ("theirs", digest("old"), "has been changed since it was looked at"),
        ("theirs", "absent", "has appeared since it was looked at"),
        (None, digest("old"), "is not there"),
    ],
)
def test_refuses_what_is_stale(
    tmp_path: Path, found: str | None, expect: str, message: str
) -> None:
    path = tmp_path / "f"
    if found is not None:
        path.write_text(found)
    refused = refusal(item(tmp_path / "other", "x"), item(path, "new", expect=expect))
    assert (refused.kind, str(refused)) == ("stale", f"{path}: {message}")
    assert tree(tmp_path) == ({} if found is None else {"f": found})
    with pytest.raises(Refused, match=message):
        remove(WIRE, [{"path": str(path), "expect": expect}])


def test_refuses_what_is_not_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "dir").mkdir()
    assert "a symbolic link to /etc/passwd" in str(refusal(item(tmp_path / "link", "x")))
    assert "not a regular file" in str(refusal(item(tmp_path / "dir", "x")))
    assert refusal(item(tmp_path / "f", "x", owner="nobody-here")).kind == "owner"
    assert refusal(item(Path("relative"), "x")).kind == "path"
    assert refusal(item(tmp_path / "f", "x"), item(tmp_path / "f", "y")).kind == "path"
    assert sorted(os.listdir(tmp_path)) == ["dir", "link"]


def test_directories_made_for_a_write_that_fails_are_taken_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = refusal(item(tmp_path / "a/b/c", "x"), item(tmp_path / "file/below", "x"))
    assert refused.kind == "file"
    assert os.listdir(tmp_path) == ["file"]


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """A directory in somebody else's hands is waited for."""
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    writer = threading.Thread(target=write, args=(WIRE, [item(tmp_path / "f", "x")]))
    writer.start()
    writer.join(0.3)
    assert writer.is_alive() and os.listdir(tmp_path) == []
    os.close(held)
    writer.join(5)
    assert tree(tmp_path) == {"f": "x"}


def test_a_writer_that_never_lets_go_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LOCK_PATIENCE", 0.1)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refused = refusal(item(tmp_path / "f", "x"))
    os.close(held)
    assert (refused.kind, str(refused)) == ("busy", f"{tmp_path}: somebody else is writing there")


def test_removes_only_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("x")
    (tmp_path / "d" / "theirs").write_text("y")
    done = remove(
        WIRE,
        [
            {"path": str(tmp_path / "d"), "expect": "directory"},
            {"path": str(tmp_path / "d" / "mine"), "expect": digest("x")},
        ],
    )
    assert [one["changed"] for one in done] == [False, True]
    assert tree(tmp_path) == {"d/theirs": "y"}


def killed_at_call(number: int, items: list[dict[str, Any]]) -> bool:
    """Write in a child that gets SIGKILL before its call `number` into C; was it killed?"""
    child = os.fork()
    if child == 0:
        calls = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            if event == "c_call":
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        write(WIRE, items)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_killed_at_any_moment_each_file_is_old_or_new(tmp_path: Path) -> None:
    """Interrupted before every single call, then made again: old or new, and no litter."""
    number = 0
    states = set()
    while True:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        (root / "one").write_text("old one")
        (root / "two").write_text("old two")
        wanted = [
            item(root / "one", "new one", expect=digest("old one"), keep=str(root / "k" / "one")),
            item(root / "two", "new two", expect=digest("old two")),
            item(root / "made" / "three", "new three", expect="absent"),
        ]
        killed = killed_at_call(number, wanted)
        seen = tree(root)
        assert {path for path in seen if TEMPORARY not in path} <= {
            "one", "two", "made/three", "k/one"
        }  # fmt: skip
        assert seen["one"] in ("old one", "new one") and seen["two"] in ("old two", "new two")
        assert seen.get("made/three", "new three") == "new three"
        # The way back is there before the file changes.
        assert seen["one"] == "old one" or seen["k/one"] == "old one"
        states.add((seen["one"], seen["two"], "made/three" in seen))
        write(WIRE, wanted)
        assert tree(root) == {
            "one": "new one", "two": "new two", "made/three": "new three", "k/one": "old one"
        }  # fmt: skip
        if not killed:
            break
    assert number > 50 and len(states) >= 4
