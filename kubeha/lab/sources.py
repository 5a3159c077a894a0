"""Where this box gets its Debian packages, rewritten for another Debian release.

No mirror is named in this program: an operator's own (perhaps the only one that their network
reaches) is asked of apt (`apt-get indextargets`). A box that is not Debian gives none, and
mmdebstrap then takes its own default.
"""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kubeha.lab.process import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What a machine of the lab should be able to see; backports and proposed updates it should not.
KINDS = ("", "-updates", "-security")
_TARGET = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"


@dataclass(frozen=True)
class Source:
    """One archive and the kind of suite it carries: '' (the release), '-updates', '-security'."""

    uri: str
    kind: str

    def stanza(self, release: str, keyring: Path | None) -> str:
        """As deb822 for `release` (sources.list(5))."""
        signed = f"Signed-By: {keyring}\n" if keyring else ""
        suite = f"Suites: {release}{self.kind}\nComponents: main\n"
        return f"Types: deb\nURIs: {self.uri}\n{suite}{signed}"


def parse_targets(lines: Iterable[str], codename: str) -> tuple[Source, ...]:
    """The archives of Debian `codename` among apt's index targets, each once."""
    found: dict[Source, None] = {}
    for line in lines:
        uri, _, rest = line.strip().partition("|")
        for kind in KINDS:
            if rest == f"{codename}{kind}|main":
                found[Source(uri, kind)] = None
    return tuple(found)


def of_this_box() -> tuple[Source, ...]:
    """Every Debian archive which apt uses here; () where this box is not Debian."""
    release = platform.freedesktop_os_release()
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian":
        return ()
    return parse_targets(_targets(), codename) or parse_targets(_targets_afresh(), codename)


def sources_list(release: str) -> str:
    """A whole source list for `release` from this box's archives; '' if there are none."""
    keyring = KEYRING if KEYRING.exists() else None
    return "\n".join(source.stanza(release, keyring) for source in of_this_box())


def _targets(*options: str) -> list[str]:
    target = ["apt-get", *options, "indextargets", "--format", _TARGET, "Created-By: Packages"]
    return run(target).stdout.splitlines()


def _targets_afresh() -> list[str]:
    """apt names only what it has fetched: fetch it, beside the box's own lists, and ask again."""
    with TemporaryDirectory(prefix="kubeha-lists-") as lists:
        (Path(lists) / "partial").mkdir()
        aside = ("-o", f"Dir::State::lists={lists}", "-o", "APT::Sandbox::User=root")
        run(["apt-get", *aside, "update", "--quiet"], timeout=300)
        return _targets(*aside)
