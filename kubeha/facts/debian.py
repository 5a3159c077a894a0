"""What a Debian machine is, has installed and has free: raw text -> values."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Os:
    """What /etc/os-release says."""

    id: str
    like: tuple[str, ...]
    version: str
    pretty_name: str

    @property
    def debian_family(self) -> bool:
        return self.id == "debian" or "debian" in self.like


def conffile_digest(text: str) -> str:
    """MD5, as dpkg keeps it of conffiles; nothing here relies on its strength."""
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def parse_os_release(text: str) -> Os:
    """os-release(5): shell-like assignments, values optionally quoted."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith("#"):
            values[key] = value.strip().strip("\"'")
    return Os(
        id=values.get("ID", ""),
        like=tuple(values.get("ID_LIKE", "").split()),
        version=values.get("VERSION_ID", ""),
        pretty_name=values.get("PRETTY_NAME") or values.get("ID", "unknown"),
    )


def parse_dpkg(text: str) -> dict[str, str]:
    r"""`dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n'`: what is installed.

    The second letter of the status tells: `ii` and `hi` (held) are, `iF` (half configured), `rc`
    (only configuration left) and `un` are not.
    """
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2][1:2] == "i"}


def parse_present(text: str) -> frozenset[str]:
    """From the same listing, every package of which there is more than its configuration."""
    rows = (line.split("\t") for line in text.splitlines())
    return frozenset(row[0] for row in rows if len(row) == 3 and row[2][1:2] not in ("n", "c", ""))


def parse_conffiles(text: str) -> dict[str, str]:
    r"""`dpkg-query -W -f '${Conffiles}\n'`: path -> MD5 digest of what the package shipped."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[0].startswith("/")}


def parse_free(text: str) -> dict[str, int]:
    """`df -P -B1 PATH...`: mount point -> bytes free for an ordinary user."""
    free: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and fields[3].isdigit():
            free[fields[5]] = int(fields[3])
    return free
