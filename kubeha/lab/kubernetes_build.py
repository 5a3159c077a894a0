"""Kubernetes built from Debian 12's source package, for boxes which cannot reach the releases.

Debian 12 has the complete, vendored source of Kubernetes 1.20 but packages only kubectl. Both
the source and the matching Go (1.19) come from the archive which this box's apt uses; nothing is
installed on this box. About three to five minutes on two cores, 2 GB of disk on the way.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab.debian import PrivateApt
from kubeha.lab.releases import PROGRAMS, Progress
from kubeha.lab.streaming import stream

SUITE = "bookworm"
VERSION = "v1.20.2"
GO_PACKAGES = ("golang-1.19-go", "golang-1.19-src")

_IMPORT = "k8s.io/kubernetes"
_GENERATED = "pkg/generated/openapi"
# Packages without the marker which the generated code names all the same (hack/make-rules of
# Kubernetes passes them by hand too), and trees which no server contains.
_UNMARKED = tuple(
    f"{_IMPORT}/vendor/k8s.io/apimachinery/pkg/{name}"
    for name in ("apis/meta/v1", "runtime", "version")
)
_MARKED_TREES = ("cmd", "pkg", "plugin", "staging/src/k8s.io")
_FOREIGN_TREES = ("code-generator", "sample-apiserver")
_MARKER = "+k8s:openapi-gen="


def openapi_packages(marked: Iterable[str]) -> tuple[str, ...]:
    """Import paths for openapi-gen, from directories (relative to the tree) with the marker.

    What lies below staging/src is imported through the vendor directory's links.
    """
    paths = set(_UNMARKED)
    for directory in marked:
        if not any(part in _FOREIGN_TREES for part in directory.split("/")):
            paths.add(f"{_IMPORT}/" + re.sub(r"^staging/src/", "vendor/", directory))
    return tuple(sorted(paths))


def version_flags(version: str) -> str:
    """Linker flags that tell the programs their version, which they else call v0.0.0-master.

    Two packages hold it: --version is answered from the one, an API server's /version from the
    other, which the aggregator uses (hack/lib/version.sh sets both).
    """
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = [
        f"{_IMPORT}/vendor/k8s.io/{name}/version" for name in ("component-base", "client-go/pkg")
    ]
    flags = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    return " ".join(["-s -w", *flags])


def build(directory: Path, work: Path, progress: Progress) -> None:
    """Make `directory` with every program, whole or not at all; go on where a try stopped.

    `work` is for the way there and is removed at the end; its log is kept when something fails.
    Only one process builds, others wait for it. Raises LabError.
    """
    if directory.is_dir():
        return
    work.mkdir(parents=True, exist_ok=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with only_one(work.with_name(f"{work.name}.lock"), "another build", progress):
        # Whoever was waited for may have made it.
        if not directory.is_dir():
            _Build(work, progress).into(directory)
    shutil.rmtree(work, ignore_errors=True)


@contextmanager
def only_one(lock: Path, holder: str, progress: Progress, every: float = 3.0) -> Iterator[None]:
    """Hold `lock` exclusively; says that it waits, at most every `every` seconds."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(f"waiting for {holder}, {time.monotonic() - started:.0f} s")
                time.sleep(every)
        yield


@dataclass(frozen=True)
class _Build:
    """The stages, in order; each is skipped when its result is there."""

    work: Path
    progress: Progress

    def into(self, directory: Path) -> None:
        self._fetch()
        self._generate()
        compiled = self.work / "out"
        self._compile(compiled)
        # The cache may be on another file system than the work: copy, then one rename.
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(compiled, partial)
        partial.rename(directory)

    @property
    def _gopath(self) -> Path:
        return self.work / "go"

    @property
    def _tree(self) -> Path:
        return self._gopath / "src" / _IMPORT

    @property
    def _toolchain(self) -> Path:
        return self.work / "toolchain"

    def _fetch(self) -> None:
        apt = PrivateApt(self.work / "apt", SUITE)
        apt.directory.mkdir(exist_ok=True)
        if not self._toolchain.is_dir():
            self.progress("fetching Go 1.19 (about 90 MB)")
            apt.update()
            partial = self.work / "toolchain.partial"
            apt.unpack(GO_PACKAGES, partial)
            partial.rename(self._toolchain)
        if not self._tree.is_dir():
            self.progress("fetching the source of Kubernetes 1.20 (35 MB)")
            apt.update()
            partial = self.work / "tree.partial"
            shutil.rmtree(partial, ignore_errors=True)
            apt.unpack_source("kubernetes", partial)
            self._tree.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(self._tree)

    def _generate(self) -> None:
        """Write the OpenAPI definitions: the only generated file that the source leaves out."""
        result = self._tree / _GENERATED / "zz_generated.openapi.go"
        if result.exists():
            return
        self.progress("generating the OpenAPI definitions")
        generator, header = self.work / "openapi-gen", self.work / "no-header"
        header.touch()
        source = f"{_IMPORT}/vendor/k8s.io/kube-openapi/cmd/openapi-gen"
        self._go("generator", "build", "-o", str(generator), source)
        packages = openapi_packages(marked_directories(self._tree))
        options = {
            "output-base": self._gopath / "src",
            "output-package": f"{_IMPORT}/{_GENERATED}",
            # Renamed when it is whole: its being there is how a later try knows.
            "output-file-base": "zz_partial.openapi",
            "go-header-file": header,
            "report-filename": self.work / "openapi-violations",
            "input-dirs": ",".join(packages),
        }
        given = [f"--{key}={value}" for key, value in options.items()]
        self._run("generating the OpenAPI definitions", [str(generator), *given])
        result.with_name("zz_partial.openapi.go").rename(result)

    def _compile(self, out: Path) -> None:
        commands = [f"{_IMPORT}/cmd/{name}" for name in PROGRAMS]
        out.mkdir(exist_ok=True)
        # -v names each package when it is compiled: that is the progress.
        options = ["-v", "-ldflags", version_flags(VERSION), "-o", f"{out}/"]
        self._go(f"compiling Kubernetes {VERSION}", "build", *options, *commands)
        missing = [name for name in PROGRAMS if not (out / name).is_file()]
        if missing:
            raise LabError(f"the build made no {', '.join(missing)}", hint=f"see {self._log}")

    @property
    def _log(self) -> Path:
        return self.work / "build.log"

    def _go(self, what: str, *arguments: str) -> None:
        go = self._toolchain / "usr/lib/go-1.19/bin/go"
        self._run(what, [str(go), *arguments])

    def _run(self, what: str, argv: list[str]) -> None:
        """Low priority, a sign of life every few seconds, everything in the log."""
        compiled = 0

        def count(line: str) -> None:
            nonlocal compiled
            compiled += "/" in line and " " not in line

        def beat(seconds: float) -> None:
            packages = f", {compiled} packages" if compiled else ""
            self.progress(f"{what}: {seconds:.0f} s{packages}")

        stream(
            # Whoever kills this process means the compiler too.
            ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", *argv],
            log=self._log,
            on_line=count,
            on_beat=beat,
            cwd=self._tree,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        root = self._toolchain / "usr/lib/go-1.19"
        return {
            "GOROOT": str(root),
            "GOPATH": str(self._gopath),
            "GOCACHE": str(self.work / "cache"),
            # The source package has no modules but a vendor directory, laid out for GOPATH.
            "GO111MODULE": "off",
            "GOFLAGS": "",
            # Static programs run on every machine, whatever its C library.
            "CGO_ENABLED": "0",
            "PATH": f"{root}/bin:{os.environ.get('PATH', os.defpath)}",
        }


def marked_directories(tree: Path) -> tuple[str, ...]:
    """Directories relative to `tree` with a Go file that asks for OpenAPI definitions."""
    found = set[str]()
    for top in _MARKED_TREES:
        for path in (tree / top).rglob("*.go"):
            if path.is_file() and _MARKER in path.read_text("utf-8", "replace"):
                found.add(str(path.parent.relative_to(tree)))
    return tuple(sorted(found))
