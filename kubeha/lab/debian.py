"""Debian packages and sources, taken beside this box's own apt and without touching it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab.process import run
from kubeha.lab.sources import KEYRING, Source, of_this_box

FETCH_TIMEOUT = 900.0  # seconds; a slow mirror, not a hang


def source_list(archives: Iterable[Source], suite: str) -> str:
    """The box's own Debian archives as deb822, packages and sources of one suite."""
    keyring = KEYRING if KEYRING.exists() else None
    stanzas = [archive.stanza(suite, keyring) for archive in archives if archive.kind == ""]
    return "\n".join(stanza.replace("Types: deb\n", "Types: deb deb-src\n") for stanza in stanzas)


@dataclass(frozen=True)
class PrivateApt:
    """An apt with sources, lists and cache of its own below `directory`, for one suite."""

    directory: Path
    suite: str

    def update(self) -> None:
        """Fetch the package lists, unless an earlier call has. Raises LabError."""
        if self._done.exists():
            return
        archives = of_this_box()
        if not archives:
            raise LabError(
                "the package sources of this box name no Debian archive",
                hint="use --kubernetes VERSION (needs the Kubernetes release site) or DIRECTORY",
            )
        for name in ("lists/partial", "cache/archives/partial"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self._status.write_text("")
        self._sources.write_text(source_list(archives, self.suite))
        self._apt("update")
        self._done.touch()

    def unpack(self, packages: Iterable[str], root: Path) -> None:
        """Download packages and unpack them below `root`; nothing is installed on this box."""
        archives = self.directory / "archives"
        archives.mkdir(exist_ok=True)
        self._apt("download", *packages, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            run(["dpkg-deb", "-x", str(archive), str(root)])
            archive.unlink()

    def unpack_source(self, package: str, tree: Path) -> None:
        """Download a source package and unpack it, patched, as `tree`.

        apt has verified every file against the archive's signed index, which is why
        dpkg-source need not look for the uploader's own signature.
        """
        archives = self.directory / "source"
        archives.mkdir(exist_ok=True)
        self._apt("source", "--download-only", package, cwd=archives)
        (description,) = archives.glob("*.dsc")
        run(["dpkg-source", "-x", "--no-check", str(description), str(tree)])

    @property
    def _done(self) -> Path:
        return self.directory / "updated"

    @property
    def _sources(self) -> Path:
        return self.directory / "debian.sources"

    @property
    def _status(self) -> Path:
        """An empty dpkg status: what is installed on this box must not decide versions."""
        return self.directory / "status"

    def _apt(self, *arguments: str, cwd: Path | None = None) -> None:
        options = {
            "Dir::Etc::sourcelist": self._sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferencesparts": "-",
            "Dir::State::lists": self.directory / "lists",
            "Dir::State::status": self._status,
            "Dir::Cache": self.directory / "cache",
            # The unprivileged download user could not write below our directories.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        run(["apt-get", "-q", *given, *arguments], cwd=cwd, timeout=FETCH_TIMEOUT)
