"""Root file systems: one read-only tree per Debian release, made once, shared by all machines.

A tree is named by the digest of its recipe, so that a changed recipe makes a new one. It is built
beside its place and renamed when it is whole: what has the right name is always finished. The
builder dies with this process, and the next one removes what an interrupted build has left.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from kubeha.errors import LabError
from kubeha.lab import sources
from kubeha.lab.lab import RELEASES, cache_directory
from kubeha.lab.process import run
from kubeha.lab.streaming import stream

Progress = Callable[[str], None]

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "procps",
    # Not python3-minimal: it lacks json, ssl and asyncio, and any Debian server has the whole.
    "python3",
    "sudo",
    "nftables",
    "ca-certificates",
    "etcd-server",
    "etcd-client",
)
# What the machines can install from inside: what kubeha needs, and what other ways to the same end
# need, which the benchmarks measure beside it (killall, curl: their checks; ab: the load).
OFFERED = (
    "keepalived",
    "haproxy",
    "nginx",
    "libnginx-mod-stream",
    "psmisc",
    "curl",
    "apache2-utils",
)

# The builder is in namespaces of its own and dies with us, its mounts with it.
_CONTAINED = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"]
_CONTAINED += ["--kill-child", "--mount-proc"]


def base(release: str, progress: Progress = lambda _: None) -> Path:
    """The tree of a release, built now if it is not there yet (about a minute).

    Raises LabError when it cannot be built.
    """
    if release not in RELEASES:
        raise LabError(f"no release '{release}'", hint=f"one of {', '.join(RELEASES)}")
    place = _directory() / f"{release}-{_recipe(release)}"
    if not place.is_dir():
        with _building(place) as unfinished:
            if unfinished:
                progress(f"building the Debian image '{release}' (once, about a minute)")
                _bootstrap(release, unfinished, progress)
    return place


def _directory() -> Path:
    directory = cache_directory() / "images"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _recipe(release: str) -> str:
    """Digest of all that decides what is in the tree, except for the archive's own changes."""
    customize = (files("kubeha.lab") / "files/customize-image").read_bytes()
    words = "\n".join((release, *PACKAGES, "--", *OFFERED)).encode()
    return hashlib.sha256(words + customize).hexdigest()[:12]


@contextmanager
def _building(place: Path) -> Iterator[Path | None]:
    """A directory to build in, renamed to `place` at the end; None if somebody else built it.

    One builder at a time: the lock is the kernel's and ends with the process that holds it.
    """
    unfinished = place.with_name(f".{place.name}.unfinished")
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            yield None
            return
        if unfinished.exists():
            shutil.rmtree(unfinished)
        try:
            yield unfinished
            unfinished.rename(place)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _bootstrap(release: str, target: Path, progress: Progress) -> None:
    """Run mmdebstrap with this box's package sources."""
    archives = target.with_name(f"{target.name}.sources")
    archives.write_text(sources.sources_list(release))
    try:
        with as_file(files("kubeha.lab") / "files/customize-image") as customize:
            stream(
                [
                    *_CONTAINED,
                    "mmdebstrap",
                    "--mode=root",
                    "--variant=minbase",
                    "--format=directory",
                    f"--include={','.join(PACKAGES)}",
                    f'--customize-hook=sh {customize} "$1" {" ".join(OFFERED)}',
                    release,
                    str(target),
                    *([str(archives)] if archives.stat().st_size else []),
                ],
                log=target.with_name(f"{release}.log"),
                on_line=lambda line: progress(f"image: {line[3:]}") if line[:3] == "I: " else None,
                on_beat=lambda seconds: progress(f"image: still at it after {seconds:.0f} s"),
                every=15.0,
            )
    finally:
        archives.unlink()
    _check_sshd(target)


def _check_sshd(target: Path) -> None:
    """sshd is there and will accept keys: it refuses those below a directory that others write."""
    target.chmod(0o755)
    if not (target / "usr/sbin/sshd").exists():
        raise LabError(f"mmdebstrap ended well, but there is no sshd in {target}")


def with_packages(
    release: str, packages: Sequence[str], progress: Progress = lambda _: None
) -> tuple[Path, ...]:
    """Trees, uppermost first, in which `packages` are installed from the offline repository."""
    lower = base(release, progress)
    if not packages:
        return (lower,)
    place = lower.with_name(f"{lower.name}+{'+'.join(sorted(packages))}")
    if not place.is_dir():
        with _building(place) as unfinished:
            if unfinished:
                progress(f"installing {', '.join(packages)} into a layer over '{release}'")
                unfinished.mkdir()
                install = ["apt-get", "install", "--yes", "--quiet", *packages]
                _in_overlay((lower,), unfinished, ["apt-get", "update", "--quiet"], 60.0, True)
                _in_overlay((lower,), unfinished, install, 300.0, True)
    return (place, lower)


def run_in_image(
    release: str,
    argv: Sequence[str],
    files: Mapping[str, str],
    packages: Sequence[str] = (),
    *,
    timeout: float = 60.0,
) -> CompletedProcess[str]:
    """Run a program as root in a throw-away copy of an image, without network and without booting.

    `files` (absolute path: text) are there before, readable by all. Nothing stays behind, also
    after a SIGKILL: the copy is a mount in the program's own namespace.
    """
    lowers = with_packages(release, packages)
    with TemporaryDirectory(prefix="run-", dir=_directory(), ignore_cleanup_errors=True) as scratch:
        upper = Path(scratch) / "upper"
        upper.mkdir(mode=0o755)
        for path, text in files.items():
            place = upper / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(0o755 if text.startswith("#!") else 0o644)
        return _in_overlay(lowers, upper, argv, timeout, False)


# $0 is the upper tree, $1 the lower ones; the rest is the command.
_OVERLAY = """
set -e
work=$(dirname "$0")/.$(basename "$0").work
mkdir -p "$work/work" "$work/root"
lower=$1
shift
mount -t overlay -o "lowerdir=$lower,upperdir=$0,workdir=$work/work" overlay "$work/root"
mount -t proc proc "$work/root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$work/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$work/root/tmp"
exec chroot "$work/root" "$@"
"""


def _in_overlay(
    lowers: Sequence[Path], upper: Path, argv: Sequence[str], timeout: float, check: bool
) -> CompletedProcess[str]:
    """Run `argv` in an overlay whose changes go to `upper`."""
    environment = {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    try:
        return run(
            [*_CONTAINED, "--net", "sh", "-c", _OVERLAY, str(upper), ":".join(map(str, lowers))]
            + list(argv),
            timeout=timeout,
            check=check,
            env=environment,
        )
    finally:
        shutil.rmtree(upper.with_name(f".{upper.name}.work"), ignore_errors=True)
