"""`kubeha explain`: pages of findings, and the list of all."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kubeha import pages
from kubeha.checks.finding import catalogue
from kubeha.cli import app
from kubeha.errors import KubehaError, UsageError

ROOT = Path(__file__).parents[2]
KUBEHA = Path(sys.executable).with_name("kubeha")


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.mark.parametrize("code", ["KH301", "kh301", "301", " Kh301"])
def test_a_page_is_printed_as_it_is_written(code: str) -> None:
    assert explain(code).stdout == (ROOT / "docs/findings/KH301.md").read_text()


def test_several_pages_in_the_order_asked_for() -> None:
    said = explain("KH301", "KH205").stdout
    assert said.index("# KH301: somebody else holds the VIP") == 0
    assert "\n\n# KH205: a configuration that kubeha did not write is in the way\n" in said


def test_on_a_terminal_a_page_is_laid_out_in_its_width() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [str(KUBEHA), "explain", "KH301"]
    done = subprocess.Popen(
        command, stdout=theirs, stdin=subprocess.DEVNULL, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            text += chunk
    except OSError:  # Linux tells so that the other side has closed the terminal.
        pass
    assert done.wait() == 0
    lines = text.decode().replace("\r\n", "\n").split("\n")
    assert not any(line.startswith("#") for line in lines)
    assert "\x1b[1" in text.decode()
    assert max(len(line) for line in lines if "\x1b" not in line) <= 60


def test_without_a_code_all_are_listed_by_group() -> None:
    lines = explain().stdout.splitlines()
    assert lines[0] == "1xx: cluster file"
    assert "KH301  error    somebody else holds the VIP" in lines
    listed = [line[:5] for line in lines if line.startswith("KH")]
    assert listed == [kind.code for kind in catalogue()]


def test_as_data() -> None:
    listed = json.loads(explain("-o", "json").stdout)
    assert listed["version"] == 1
    assert [each["code"] for each in listed["findings"]] == [kind.code for kind in catalogue()]
    one = json.loads(explain("-o", "json", "KH301").stdout)["findings"]
    page = (ROOT / "docs/findings/KH301.md").read_text()
    assert one == [
        {
            "code": "KH301",
            "severity": "error",
            "group": "3xx: network and wire",
            "title": "somebody else holds the VIP",
            "explanation": page,
        }
    ]


@pytest.mark.parametrize(
    ("code", "hint"),
    [("KH3O1", "did you mean KH301?"), ("KH999", "kubeha explain"), ("vip", "kubeha explain")],
)
def test_an_unknown_code_is_a_usage_error(code: str, hint: str) -> None:
    error = explain(code).exception
    assert isinstance(error, UsageError)
    assert str(error) == f"{code}: there is no such finding"
    assert hint in error.hint


def test_a_page_that_is_missing_is_told() -> None:
    with pytest.raises(KubehaError, match="the page of KH000 is not in this installation"):
        pages.page("KH000")
