"""What upgrades packages and restarts services by itself on a node: raw text -> values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubeha.remote import Command, Completed

TIMER = "apt-daily-upgrade.timer"
COMMANDS = {
    "apt_config": Command(("apt-config", "dump")),
    "apt_timer": Command(("systemctl", "show", "-p", "Id,ActiveState", TIMER)),
    "needrestart": Command(
        ("grep", "-rhsvE", "^[[:space:]]*(#|$)", "--include=*.conf", "/etc/needrestart")
    ),
}
_CONFIG_LINE = re.compile(r'(?P<key>\S+) "(?P<value>.*)";')
_MODE = re.compile(r"""\$nrconf\{['"]?restart['"]?\}\s*=\s*['"](?P<mode>\w)""")
# qr(^dbus) => 0,    $nrconf{override_rc}{qr(^haproxy)} = 0;
_OVERRIDE = re.compile(r"qr[({/](?P<pattern>.*)[)}/]\s*(?:=>|\}\s*=)\s*(?P<value>[01])\b")


@dataclass(frozen=True)
class Automation:
    """`upgrades`: does apt's timer run unattended-upgrades? None if that is not known.
    `never_upgraded`: patterns of packages that it leaves alone (Package-Blacklist).
    `restart_mode`: needrestart's, as configured (l, i, a), None if it is not.
    `never_restarted`: patterns of units that needrestart leaves alone.
    `held`: packages that dpkg holds at their version."""

    upgrades: bool | None
    never_upgraded: tuple[str, ...]
    restart_mode: str | None
    never_restarted: tuple[str, ...]
    held: frozenset[str]

    def upgraded(self, package: str) -> bool:
        """Would unattended-upgrades take this one? It matches patterns at the name's start."""
        spared = any(_matches(pattern, package, re.match) for pattern in self.never_upgraded)
        return bool(self.upgrades) and package not in self.held and not spared

    def spared_by_needrestart(self, unit: str) -> bool:
        return any(_matches(pattern, unit, re.search) for pattern in self.never_restarted)


def parse(commands: Mapping[str, Completed]) -> Automation:
    """What could be read; the rest is None or empty."""
    text = {name: done.stdout for name, done in commands.items() if done.error is None}
    config = parse_config(text.get("apt_config", ""))
    upgrades: bool | None = None
    if config and "apt_timer" in text:
        switched_on = config.get("APT::Periodic::Unattended-Upgrade", ["0"])[-1] not in ("0", "")
        upgrades = switched_on and "ActiveState=active" in text["apt_timer"]
    return Automation(
        upgrades,
        tuple(config.get("Unattended-Upgrade::Package-Blacklist::", ())),
        parse_mode(text.get("needrestart", "")),
        parse_overrides(text.get("needrestart", "")),
        parse_held(text.get("packages", "")),
    )


def parse_config(text: str) -> dict[str, list[str]]:
    """`apt-config dump`: key -> its values; lists are keys that end in "::"."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := _CONFIG_LINE.fullmatch(line.strip()):
            found.setdefault(match["key"], []).append(match["value"])
    return found


def parse_mode(text: str) -> str | None:
    """needrestart.conf (Perl): (l)ist, (i)nteractive, (a)utomatic; None: as it comes."""
    modes = _MODE.findall(text)
    return modes[-1] if modes else None


def parse_overrides(text: str) -> tuple[str, ...]:
    """needrestart.conf (Perl): patterns of units that are not restarted; the last word counts."""
    last: dict[str, str] = {}
    for line in text.splitlines():
        if match := _OVERRIDE.search(line):
            last[match["pattern"]] = match["value"]
    return tuple(pattern for pattern, value in last.items() if value == "0")


def parse_held(text: str) -> frozenset[str]:
    r"""`dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n'`: what is held."""
    rows = (line.split("\t") for line in text.splitlines())
    return frozenset(row[0] for row in rows if len(row) == 3 and row[2].startswith("h"))


def _matches(pattern: str, word: str, how: object) -> bool:
    """A pattern that is none matches nothing."""
    try:
        return (re.match if how is re.match else re.search)(pattern, word) is not None
    except re.error:
        return False
