"""Images are whole or not there, and real programs of both Debian releases run in them."""

import subprocess
import sys
from pathlib import Path

import pytest
from running_lab import wait_for

from kubeha.lab import image
from kubeha.lab.lab import RELEASES
from kubeha.lab.process import run

BUILD = """
import sys
from kubeha.lab import image
print(image.base("bookworm", lambda line: print(line, file=sys.stderr, flush=True)))
"""


def build(cache: Path, log: Path) -> "subprocess.Popen[str]":
    """Another process that wants the image, with a cache of its own."""
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", BUILD],
            env={"KUBEHA_CACHE": str(cache), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def busy(cache: Path) -> list[str]:
    """Processes and mounts that have to do with this cache."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found = [line for line in mounts if str(cache) in line]
    processes = run(["pgrep", "--full", "--list-full", str(cache)], check=False).stdout
    return found + processes.splitlines()


def test_a_killed_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = build(tmp_path / "cache", log)
    wait_for("packages are being unpacked", lambda: "extracting" in log.read_text(), timeout=120)
    first.kill()
    first.communicate()
    wait_for("the builder is gone", lambda: not busy(tmp_path / "cache"), timeout=5)
    images = tmp_path / "cache/images"
    assert [path.name for path in images.iterdir() if path.name.startswith("bookworm-")] == []

    second, third = (build(tmp_path / "cache", tmp_path / name) for name in ("log2", "log3"))
    places = {process.communicate(timeout=600)[0].strip() for process in (second, third)}
    assert len(places) == 1
    assert (Path(places.pop()) / "usr/sbin/sshd").exists()
    logs = [(tmp_path / name).read_text() for name in ("log2", "log3")]
    assert sorted("success in" in text for text in logs) == [False, True], "both have built it"
    assert not list(images.glob("*unfinished*"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_real_haproxy_judges_a_file(release: str) -> None:
    argv = ["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]
    good = "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
    good += "frontend f\n bind :8443\n"
    for text, status in ((good, 0), (good + " no-such-word\n", 1)):
        files = {"/etc/haproxy/haproxy.cfg": text}
        done = image.run_in_image(release, argv, files, ["keepalived", "haproxy"])
        assert done.returncode == status, done.stdout + done.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_a_run_in_an_image_changes_nothing_for_the_next(release: str) -> None:
    write = ["sh", "-c", "echo changed >/etc/motd; touch /root/new; cat /given; id -u"]
    done = image.run_in_image(release, write, {"/given": "given\n"})
    assert done.stdout == "given\n0\n"
    look = image.run_in_image(release, ["sh", "-c", "cat /etc/motd; ls /root /given"], {})
    assert "changed" not in look.stdout
    assert "new" not in look.stdout
    assert "/given" not in look.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_a_machine_starts_without_load_balancer_and_can_install_one(release: str) -> None:
    commands = "command -v haproxy keepalived; ls /opt/packages; cat /etc/apt/sources.list.d/*"
    shown = image.run_in_image(release, ["sh", "-c", commands], {}).stdout
    assert "bin/haproxy" not in shown
    assert "keepalived_" in shown
    assert "haproxy_" in shown
    assert shown.splitlines()[-1] == "deb [trusted=yes lang=none] file:/opt/packages ./"
    update = image.run_in_image(release, ["apt-get", "update"], {})
    assert update.returncode == 0
    assert "Err:" not in update.stdout + update.stderr
