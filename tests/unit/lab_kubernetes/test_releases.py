"""Downloads from a local server of the release site's layout, with everything that goes wrong."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kubeha.errors import LabError
from kubeha.lab import binaries
from kubeha.lab.releases import PROGRAMS, ReleaseSite, release_url

VERSION = "v1.33.4"
PREFIX = f"/release/{VERSION}/bin/linux/amd64/"


@dataclass
class Site:
    """What the server holds and how it misbehaves; `asked` is what it was asked for."""

    files: dict[str, bytes]
    # The number of bytes after which the next answers for a program are cut off.
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def change(self, name: str, content: bytes) -> None:
        """Replace a file, but not its checksum."""
        self.files[PREFIX + name] = content


def programs() -> dict[str, bytes]:
    """Files that differ, and whose every part differs."""
    return {name: f"{name} ".encode() * 50_000 for name in PROGRAMS}


@pytest.fixture
def site() -> Iterator[Site]:
    files = dict[str, bytes]()
    for name, content in programs().items():
        files[PREFIX + name] = content
        files[f"{PREFIX}{name}.sha256"] = hashlib.sha256(content).hexdigest().encode()
    served = Site(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.asked.append((self.path.removeprefix(PREFIX), asked))
            if self.path not in site.files:
                self.send_error(404, "Not Found")
                return
            content = site.files[self.path]
            start = int(asked.split("=")[1].rstrip("-")) if asked and site.ranges else 0
            if start and start >= len(content):
                self.send_error(416, "Range Not Satisfiable")
                return
            rest = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            is_program = not self.path.endswith(".sha256")
            self.wfile.write(rest[: site.cuts.pop(0)] if site.cuts and is_program else rest)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def fetch(site: Site, directory: Path) -> list[str]:
    said = list[str]()
    ReleaseSite(site.url, timeout=5, arch="amd64").fetch(VERSION, directory, said.append)
    return said


def test_brings_every_program_executable(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / VERSION)
    found = {path.name: path.read_bytes() for path in (tmp_path / VERSION).iterdir()}
    assert found == programs()
    assert all((tmp_path / VERSION / name).stat().st_mode & 0o111 for name in PROGRAMS)
    assert [path.name for path in tmp_path.iterdir()] == [VERSION]


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / VERSION)
    site.asked.clear()
    fetch(site, tmp_path / VERSION)
    assert site.asked == []


def test_wrong_checksum_is_refused_and_thrown_away(site: Site, tmp_path: Path) -> None:
    site.change("kube-scheduler", b"something else")
    with pytest.raises(LabError, match=r"kube-scheduler: the SHA-256 is \w+, the site says") as e:
        fetch(site, tmp_path / VERSION)
    assert "thrown away" in e.value.hint
    assert not (tmp_path / VERSION).exists()
    assert not list(tmp_path.rglob("kube-scheduler*"))


def test_next_call_keeps_what_was_verified(site: Site, tmp_path: Path) -> None:
    good = site.files[f"{PREFIX}kube-scheduler"]
    site.change("kube-scheduler", b"something else")
    with pytest.raises(LabError):
        fetch(site, tmp_path / VERSION)
    site.change("kube-scheduler", good)
    site.asked.clear()
    fetch(site, tmp_path / VERSION)
    assert [name for name, _ in site.asked] == [
        "kube-scheduler.sha256",
        "kube-scheduler",
        "kubectl.sha256",
        "kubectl",
    ]


def test_cut_connection_is_continued_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000]
    fetch(site, tmp_path / VERSION)
    assert ("kube-apiserver", "bytes=300000-") in site.asked
    assert (tmp_path / VERSION / "kube-apiserver").read_bytes() == programs()["kube-apiserver"]


def test_cut_connection_starts_afresh_where_ranges_are_unknown(site: Site, tmp_path: Path) -> None:
    site.cuts, site.ranges = [300_000], False
    fetch(site, tmp_path / VERSION)
    assert (tmp_path / VERSION / "kube-apiserver").read_bytes() == programs()["kube-apiserver"]


def test_site_that_always_cuts_is_given_up_and_resumable(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000] * 5
    with pytest.raises(LabError, match="cut again and again") as caught:
        fetch(site, tmp_path / VERSION)
    assert "go on where it stopped" in caught.value.hint
    site.asked.clear()
    fetch(site, tmp_path / VERSION)
    assert ("kube-apiserver", "bytes=5000-") in site.asked


def test_part_that_is_whole_already_is_only_verified(site: Site, tmp_path: Path) -> None:
    partial = tmp_path / f"{VERSION}.partial"
    partial.mkdir()
    (partial / "kube-apiserver.part").write_bytes(programs()["kube-apiserver"])
    fetch(site, tmp_path / VERSION)
    assert (tmp_path / VERSION / "kube-apiserver").read_bytes() == programs()["kube-apiserver"]


def test_part_that_is_too_long_is_refused(site: Site, tmp_path: Path) -> None:
    partial = tmp_path / f"{VERSION}.partial"
    partial.mkdir()
    (partial / "kube-apiserver.part").write_bytes(programs()["kube-apiserver"] + b"more")
    with pytest.raises(LabError, match="SHA-256"):
        fetch(site, tmp_path / VERSION)
    fetch(site, tmp_path / VERSION)
    assert (tmp_path / VERSION / "kube-apiserver").read_bytes() == programs()["kube-apiserver"]


def test_unknown_version_says_so(site: Site, tmp_path: Path) -> None:
    server = ReleaseSite(site.url, timeout=5, arch="amd64")
    with pytest.raises(LabError, match="404 Not Found") as caught:
        server.fetch("v1.99.0", tmp_path / "v1.99.0", lambda _: None)
    assert "there is no Kubernetes v1.99.0" in caught.value.hint


def test_page_instead_of_a_checksum_is_refused(site: Site, tmp_path: Path) -> None:
    site.change("kube-apiserver.sha256", b"<html>Please log in</html>")
    with pytest.raises(LabError, match="not a SHA-256") as caught:
        fetch(site, tmp_path / VERSION)
    assert "portal" in caught.value.hint


def test_reachable_site_has_no_reason(site: Site) -> None:
    assert ReleaseSite(site.url, arch="amd64").why_unreachable(VERSION) is None


def test_missing_version_is_a_reason(site: Site) -> None:
    reason = ReleaseSite(site.url, arch="amd64").why_unreachable("v1.99.0")
    assert reason == "it answers 404 Not Found"


def test_refused_connection_is_a_reason_and_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = ReleaseSite(f"http://127.0.0.1:{port}", timeout=1, arch="amd64")
    assert server.why_unreachable(VERSION) == "Connection refused"
    with pytest.raises(LabError, match="Connection refused") as caught:
        server.fetch(VERSION, tmp_path / VERSION, lambda _: None)
    assert "--kubernetes auto" in caught.value.hint


def test_silent_site_is_a_reason_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = ReleaseSite(f"http://127.0.0.1:{silent.getsockname()[1]}", arch="amd64")
        assert server.why_unreachable(VERSION, timeout=0.2) == "timed out"


def test_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEHA_RELEASE_URL", "http://mirror.example/")
    assert release_url() == "http://mirror.example"


def test_auto_prefers_the_official_release(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEHA_CACHE", str(tmp_path))
    monkeypatch.setenv("KUBEHA_RELEASE_URL", site.url)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    server = b"#!/bin/sh\necho Kubernetes v1.33.4\n"
    site.change("kube-apiserver", server)
    site.change("kube-apiserver.sha256", hashlib.sha256(server).hexdigest().encode())
    found = binaries.obtain("auto", lambda _: None)
    assert (found.version, found.directory) == ("v1.33.4", tmp_path / "kubernetes" / "v1.33.4")
