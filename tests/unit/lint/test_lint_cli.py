"""The verb `kubeha lint`: what it takes, prints and exits with."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from lint.haproxy_files import GOOD, edited
from typer.testing import CliRunner

from kubeha.cli import app
from kubeha.errors import KubehaError

CLEAN = edited("/run/haproxy/admin.sock => /var/lib/haproxy/admin.sock")
BAD = CLEAN.replace("balance roundrobin", "balance source")


@dataclass(frozen=True)
class Done:
    """What the command line did."""

    stdout: str
    stderr: str
    returncode: int


def lint(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> Done:
    """The verb as the shell would start it, without the half second of a new Python."""
    before = os.getcwd()
    try:
        os.chdir(cwd or before)
        done = CliRunner().invoke(app, ["lint", *map(str, arguments)], input=stdin)
    finally:
        os.chdir(before)
    if isinstance(done.exception, KubehaError):
        said = f"{done.exception}\n{done.exception.hint}"
        return Done(done.stdout, said, done.exception.exit_code)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.stdout, done.stderr, done.exit_code)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for node, text in (("m1", CLEAN), ("m2", BAD)):
        (tmp_path / node).mkdir()
        (tmp_path / node / "haproxy.cfg").write_text(text)
    return tmp_path


@pytest.mark.provokes("KH743")
def test_text(files: Path) -> None:
    """FILE:LINE: CODE severity: message, the line, what to do, and a summary."""
    done = lint("m1/haproxy.cfg", "m2/haproxy.cfg", cwd=files)
    line = 1 + BAD.splitlines().index("    balance source")
    head, shown, fix, summary = done.stdout.splitlines()
    assert head.startswith(f"m2/haproxy.cfg:{line}: KH743 warning: backend kube-masters chooses")
    assert shown == "    balance source"
    assert fix == "    do: write instead: balance leastconn"
    assert summary == "2 files of 2 nodes: 1 warning"
    assert (done.returncode, done.stderr) == (1, "")


def test_exit_codes(files: Path) -> None:
    """1 with an error or a warning that counts, 0 with infos, ignored ones or --exit-zero."""
    clean, bad = files / "m1/haproxy.cfg", files / "m2/haproxy.cfg"
    info = files / "haproxy.cfg"
    info.write_text(GOOD)
    assert lint(clean).returncode == 0
    assert lint(bad).returncode == 1
    assert lint(bad, "--exit-zero").returncode == 0
    told = lint(info)
    assert ("KH771 info" in told.stdout, told.returncode) == (True, 0)
    ignored = lint(bad, "--ignore", "KH743=clients have addresses of their own")
    assert "KH743 ignored" in ignored.stdout
    assert "because: clients have addresses of their own" in ignored.stdout
    assert ignored.returncode == 0
    assert lint(bad, "--ignore", "KH743").returncode == 2


def test_json(files: Path) -> None:
    """The findings' shape with file and line, and the node."""
    done = lint(files / "m2/haproxy.cfg", "-o", "json")
    data = json.loads(done.stdout)
    (found,) = data["findings"]
    assert data["version"] == 1
    assert found["file"] == str(files / "m2/haproxy.cfg")
    assert found["line"] == 1 + BAD.splitlines().index("    balance source")
    assert (found["code"], found["node"], found["severity"]) == ("KH743", "m2", "warning")
    assert found["ignored"] is None
    assert done.returncode == 1


def test_standard_input_and_nodes(files: Path) -> None:
    """- once; NODE=FILE; a file of its own may contain an equals sign."""
    done = lint("-", stdin=BAD.encode())
    assert done.stdout.startswith("standard input:")
    assert lint("-", "-", stdin=BAD.encode()).returncode == 2
    named = lint(f"a={files / 'm1/haproxy.cfg'}", f"b={files / 'm2/haproxy.cfg'}", "-o", "json")
    assert [each["node"] for each in json.loads(named.stdout)["findings"]] == ["b"]
    (files / "x=haproxy.cfg").write_text(CLEAN)
    assert lint("./x=haproxy.cfg", cwd=files).returncode == 0


def test_two_files_of_one_kind_and_node(files: Path) -> None:
    same = files / "m1/haproxy-old.cfg"
    same.write_text(CLEAN)
    done = lint(f"m1={files / 'm1/haproxy.cfg'}", f"m1={same}")
    assert "are both a haproxy.cfg of node m1" in done.stderr
    assert done.returncode == 2


def test_versions(files: Path) -> None:
    old = files / "haproxy.cfg"
    old.write_text(CLEAN.replace("maxconn 8000", "maxconn 8000\n    nbproc 1"))
    assert "KH749 error" in lint(old, "--haproxy-version", "2.6.12-1+deb12u1").stdout
    assert lint(old, "--haproxy-version", "1.8").returncode == 0
    assert lint(old, "--haproxy-version", "new").returncode == 2
    assert lint(old, "--keepalived-version", "?").returncode == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"\x7fELF\0\0", "a binary file"),
        (b"global\n    description caf\xe9\n", ":2: byte 0xe9 is not UTF-8"),
        (b"# x\n" * 2_500_000, "larger than"),
        (b"", "neither a haproxy.cfg nor a keepalived.conf"),
        (b"hello: world\n", "neither a haproxy.cfg nor a keepalived.conf"),
    ],
    ids=["missing", "binary", "latin1", "ten megabytes", "empty", "yaml"],
)
def test_what_cannot_be_judged(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Exit status 2 and one sentence."""
    file = tmp_path / "file.yaml"
    if content is not None:
        file.write_bytes(content)
    done = lint(file)
    assert said in done.stderr.lower() or said in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    "name, code, text",
    [
        ("haproxy.cfg", "KH741", GOOD),
        ("keepalived.conf", "KH701", "global_defs {\n    router_id m1\n}\n"),
    ],
)
def test_a_byte_order_mark_is_told_of(tmp_path: Path, name: str, code: str, text: str) -> None:
    """Both programs take it for a part of the first word, and refuse the file."""
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = json.loads(lint(file, "-o", "json").stdout)["findings"]
    assert [(f["code"], f["line"]) for f in found if "byte order mark" in f["message"]] == [
        (code, 1)
    ]
    file.write_text(text)
    assert code not in lint(file).stdout


def test_a_directory_is_refused_with_what_to_write(files: Path) -> None:
    done = lint(files / "m1")
    assert "is a directory" in done.stderr
    assert f"kubeha lint {files / 'm1'}/haproxy.cfg" in done.stderr
    assert done.returncode == 2


def test_includes_are_read_relative_to_the_file(tmp_path: Path) -> None:
    """An instance in an included file is judged with its own place."""
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1/keepalived.conf").write_text("include more/*.conf\n")
    (tmp_path / "m1/more").mkdir()
    (tmp_path / "m1/more/a.conf").write_text("vrrp_instance x {\n    virtual_router_id 51\n}\n")
    done = lint("m1/keepalived.conf", cwd=tmp_path)
    assert "more/a.conf:" in done.stdout
    assert done.returncode == 1


def test_as_a_program(files: Path) -> None:
    """From the shell: the error without a traceback, its hint and the exit status."""
    argv = [sys.executable, "-m", "kubeha", "lint", str(files)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.stderr.startswith(f"error: {files}: is a directory\nhint: ")
    assert (done.returncode, done.stdout) == (2, "")
