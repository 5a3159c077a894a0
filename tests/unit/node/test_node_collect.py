"""What is missing, unreadable or odd, told apart."""

import os
from pathlib import Path

from kubeha.node.collect import CONTENT_LIMIT, file_state


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "none" / "below"):
        state = file_state(str(path))
        assert not state["exists"] and "error" not in state


def test_odd_ones_have_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b"x" * (CONTENT_LIMIT + 1))
    (tmp_path / "loop").symlink_to("loop")
    reasons = {
        str(tmp_path): "not a regular file",
        str(tmp_path / "fifo"): "not a regular file",
        str(tmp_path / "big"): "bigger than 1024 KiB",
        str(tmp_path / "loop"): "Too many levels of symbolic links",
    }
    for path, reason in reasons.items():
        state = file_state(path)
        assert (state["exists"], state["error"]) == (True, reason)
        assert "content" not in state


def test_an_unreadable_file_exists() -> None:
    """Nobody, not even root, can read address 0 of a process."""
    state = file_state("/proc/self/mem")
    assert (state["exists"], state["error"]) == (True, "Input/output error")
    assert state["mode"] == 0o600


def test_a_link_is_followed_and_named(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"\xff text")
    (tmp_path / "link").symlink_to("target")
    state = file_state(str(tmp_path / "link"))
    assert (state["link"], state["content"]) == ("target", "\udcff text")
    (tmp_path / "target").unlink()
    assert file_state(str(tmp_path / "link"))["link"] == "target"


def test_files_of_the_kernel_have_content() -> None:
    assert file_state("/proc/self/status")["content"].startswith("Name:")
