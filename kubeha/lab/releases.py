"""Official Kubernetes release binaries, from the release site or a mirror of its layout.

Layout: `SITE/release/VERSION/bin/linux/ARCH/NAME`, with the hexadecimal SHA-256 of the file in
`NAME.sha256` beside it (https://kubernetes.io/releases/download/). Knows nothing of machines.
"""

import hashlib
import http.client
import os
import platform
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubeha.errors import LabError

Progress = Callable[[str], None]

# The one place on the network from which the product itself takes anything.
RELEASE_URL = "https://dl.k8s.io"
# Known to exist and to run with the flags of control_plane_units; raised by hand.
DEFAULT_VERSION = "v1.33.4"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-(?:alpha|beta|rc)\.\d+)?")
_CHUNK = 1 << 18
_RESUMES = 5


class Unreachable(Exception):
    """The site gave no answer; the text says why in a few words."""


def release_url() -> str:
    """The site to use: KUBEHA_RELEASE_URL where it is set."""
    return os.environ.get("KUBEHA_RELEASE_URL", "").rstrip("/") or RELEASE_URL


def architecture() -> str:
    """This box's architecture as Kubernetes spells it. Raises LabError for any other."""
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    machine = platform.machine()
    if machine not in names:
        raise LabError(
            f"no Kubernetes binaries are known for the architecture {machine}",
            hint="give a directory with your own: --kubernetes DIRECTORY",
        )
    return names[machine]


@dataclass(frozen=True)
class ReleaseSite:
    """The release site; `timeout` (seconds) bounds the wait for any one answer."""

    url: str = field(default_factory=release_url)
    timeout: float = 20.0
    arch: str = field(default_factory=architecture)

    def address(self, version: str, name: str) -> str:
        """Where a file of a version lies."""
        return f"{self.url}/release/{version}/bin/linux/{self.arch}/{name}"

    def why_unreachable(self, version: str, *, timeout: float = 4.0) -> str | None:
        """The reason why this version cannot be had from here, or None: a quick look only."""
        try:
            with self._open(self.address(version, f"{PROGRAMS[0]}.sha256"), timeout=timeout):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"it answers {error.code} {error.reason}"
        except Unreachable as error:
            return str(error)

    def fetch(self, version: str, directory: Path, progress: Progress) -> None:
        """Bring every program of `version` into `directory`: whole and verified, or not at all.

        What an interrupted call left behind is used by the next one. Raises LabError.
        """
        if directory.is_dir():
            return
        partial = directory.with_name(f"{directory.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            if not (partial / name).exists():
                self._fetch_program(version, name, partial, progress)
        partial.rename(directory)

    def _fetch_program(self, version: str, name: str, partial: Path, progress: Progress) -> None:
        address = self.address(version, name)
        with _explained(address, version):
            expected = self._checksum(f"{address}.sha256")
            part = partial / f"{name}.part"
            self._download(address, part, Meter(f"{name} {version}", progress))
        found = _sha256(part)
        if found != expected:
            part.unlink()
            raise LabError(
                f"{address}: the SHA-256 is {found}, the site says {expected}",
                hint="the download was damaged or tampered with and is thrown away: try again",
            )
        part.chmod(0o755)
        part.rename(partial / name)

    def _checksum(self, address: str) -> str:
        with self._open(address) as answer:
            words = answer.read(4096).decode("ascii", "replace").split()
        if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
            raise LabError(
                f"{address}: not a SHA-256",
                hint="something between here and the site answers in its place: a proxy, a portal?",
            )
        return str(words[0])

    def _download(self, address: str, part: Path, meter: "Meter") -> None:
        """Continue the file from what is there already; go on after a cut, a few times."""
        for attempt in range(_RESUMES):
            try:
                if self._continue(address, part, meter):
                    return
            except (Unreachable, http.client.HTTPException):
                if attempt == _RESUMES - 1:
                    raise
        raise Unreachable("the connection is cut again and again in the middle of the file")

    def _continue(self, address: str, part: Path, meter: "Meter") -> bool:
        """One request for the rest of the file. True when it is whole."""
        have = part.stat().st_size if part.exists() else 0
        try:
            answer = self._open(address, start=have)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            # Nothing is left to send: whole (or wrong, as the checksum then says).
            return True
        with answer:
            resumed = answer.status == http.client.PARTIAL_CONTENT
            have = have if resumed else 0
            whole = have + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if resumed else "wb") as output:
                for chunk in _chunks(answer):
                    output.write(chunk)
                    have += len(chunk)
                    meter.at(have, whole)
        return have >= whole

    def _open(
        self, address: str, *, start: int = 0, timeout: float | None = None
    ) -> http.client.HTTPResponse:
        request = urllib.request.Request(address, headers={"User-Agent": "kubeha"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            answer: http.client.HTTPResponse = urllib.request.urlopen(
                request, timeout=timeout or self.timeout
            )
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError as error:
            raise Unreachable(_words(error.reason)) from error
        except OSError as error:
            raise Unreachable(_words(error)) from error
        return answer


@dataclass
class Meter:
    """Tells how a download gets on, at most every `every` seconds."""

    subject: str
    progress: Progress
    every: float = 2.0
    _last: float = field(default_factory=time.monotonic)

    def at(self, have: int, whole: int) -> None:
        """`have` of `whole` bytes are here; `whole` is 0 where the site does not say."""
        now = time.monotonic()
        if now - self._last >= self.every:
            self._last = now
            total = f" of {whole / 1e6:.0f}" if whole else ""
            self.progress(f"downloading {self.subject}: {have / 1e6:.0f}{total} MB")


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    except OSError as error:
        raise Unreachable(_words(error)) from error


def _words(reason: str | BaseException) -> str:
    """A system error without its number."""
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


@contextmanager
def _explained(address: str, version: str) -> Iterator[None]:
    """Turn what the network said into a LabError with a hint."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        hint = f"the site answers {error.code} {error.reason}"
        if error.code == http.client.NOT_FOUND:
            hint = f"there is no Kubernetes {version} for this architecture: check the version"
        raise LabError(f"{address}: {error.code} {error.reason}", hint=hint) from error
    except (Unreachable, http.client.HTTPException) as error:
        raise LabError(
            f"{address}: {error}",
            hint="run it again to go on where it stopped, or use --kubernetes auto or DIRECTORY",
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
