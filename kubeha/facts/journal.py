"""keepalived's journal: `journalctl -o json` -> lines, and what they say of adverts and states.

Two generations of wording are in use: up to 2.3.2 each dropped advert is a line and hardly any
names its sender; from 2.3.3 on the sender is named, and a line comes once for each sender (limited
in rate). Lines of 1.2 and 1.3, which articles quote, are understood, too. Sources: vrrp/vrrp.c
(vrrp_check_packet, vrrp_state_master_rx) and vrrp/vrrp_scheduler.c of each version.
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from kubeha.remote import Command

Address = IPv4Address | IPv6Address

_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,_SYSTEMD_INVOCATION_ID"
# 200 lines: of a rival that is dropped every 0.1 s, the last 20 seconds. Not with --since: then
# systemd 252 prints the first lines of that time, not the last.
COMMANDS = {
    "keepalived_journal": Command(
        ("journalctl", "-b", "-u", "keepalived", "-o", "json", f"--output-fields={_FIELDS}",
         "-n", "200", "-q", "--no-pager"),
        timeout=3.0,
    )
}  # fmt: skip
_PROGRAM = "keepalived"


@dataclass(frozen=True)
class JournalLine:
    """A line that keepalived logged: seconds since 1970 by the node's clock."""

    time: float
    message: str
    invocation: str


def parse_journal(text: str) -> tuple[JournalLine, ...]:
    """keepalived's own lines, oldest first; systemd's lines about the unit are not among them."""
    rows = (_row(line) for line in text.splitlines())
    return tuple(row for row in rows if row is not None)


def _row(line: str) -> JournalLine | None:
    try:
        entry = json.loads(line)
        if not str(entry.get("SYSLOG_IDENTIFIER", "")).lower().startswith(_PROGRAM):
            return None
        message = entry["MESSAGE"]
        # journald gives what is not UTF-8 as an array of bytes (systemd.journal-fields(7)).
        text = bytes(message).decode(errors="replace") if isinstance(message, list) else message
        time = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        return JournalLine(time, str(text), str(entry.get("_SYSTEMD_INVOCATION_ID", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class Said(StrEnum):
    """What a line says."""

    # An advert was refused, or could have been: why.
    VIPS = "its VIPs are not ours"
    VERSION = "another version of VRRP"
    INTERVAL = "another advertisement interval"
    AUTHENTICATION = "another authentication"
    NOT_A_PEER = "not one of our unicast peers"
    UNREADABLE = "a malformed advert"
    # Another master was heard.
    LOWER = "a master of lower priority"
    EQUAL = "a master of the same priority"
    HIGHER = "a master of higher priority"
    FOLLOWS = "it follows this master"
    # Changes of state.
    MASTER = "it became the master"
    BACKUP = "it became a backup"
    FAULT = "it went to FAULT"
    # The process.
    STARTED = "keepalived was started"
    RELOADED = "keepalived read its file anew"
    KILLED = "a process of keepalived was killed"


@dataclass(frozen=True)
class Event:
    """One line understood. `source` is the sender of the advert, where the line names it."""

    said: Said
    time: float
    instance: str = ""
    source: Address | None = None
    line: str = ""
    invocation: str = ""


_A = r"(?P<source>[0-9a-fA-F.:]+?)"
_FROM = rf"(?: from {_A})?"
_PATTERNS: tuple[tuple[Said, str], ...] = (
    (Said.VIPS, rf"ip address associated with VRID ?\d* not present in [a-z ]*advert{_FROM} ?:"),
    (Said.VIPS, r"ip address associated with VRID ?\d* not present in received packet"),
    (Said.VIPS, r"receive(?:d)? an (?:unexpected|invalid) ip number count"),
    (Said.VIPS, r"expected \d+ VIPs? but received \d+"),
    (Said.VERSION, rf"(?:wrong|invalid) (?:VRRP )?version{_FROM}\. "),
    (Said.INTERVAL, rf"adverti[sz]e?ment interval mismatch(?: with {_A} )?"),
    (Said.AUTHENTICATION, rf"received an invalid passwd(?: from {_A}!)?"),
    (Said.AUTHENTICATION, rf"received a \d+ auth{_FROM}, expecting"),
    (Said.NOT_A_PEER, rf"unicast source address {_A} not a unicast peer"),
    (Said.UNREADABLE, r"bogus VRRP packet|invalid VRRPv\d checksum"),
    (Said.LOWER, rf"received advert{_FROM} with lower priority"),
    (Said.LOWER, r"received lower prio advert"),
    (Said.LOWER, rf"received lower priority \(\d+\) advert from {_A} "),
    (Said.EQUAL, rf"received advert{_FROM} with same priority"),
    (Said.HIGHER, rf"received advert{_FROM} with higher priority"),
    (Said.HIGHER, r"received higher prio advert"),
    (Said.FOLLOWS, rf"master set to {_A}$"),
    (Said.MASTER, r"Entering MASTER STATE"),
    (Said.BACKUP, r"Entering BACKUP STATE"),
    (Said.FAULT, r"Entering FAULT STATE"),
    (Said.STARTED, r"^Starting (?:VRRP child process|Keepalived v)"),
    (Said.RELOADED, r"^Reload(?:ing| complete| finished)"),
    (Said.KILLED, r"exited due to signal \d+"),
)  # fmt: skip
_COMPILED = tuple((said, re.compile(pattern, re.IGNORECASE)) for said, pattern in _PATTERNS)
# 1.x names the instance "VRRP_Instance(VI_1)", 2.x "(VI_1)".
_INSTANCE = re.compile(r"^(?:VRRP_Instance)?\((?P<name>[^)]*)\) ")


@lru_cache(maxsize=64)
def events(lines: tuple[JournalLine, ...]) -> tuple[Event, ...]:
    """What of these lines is about adverts, states and the process itself, in their order."""
    return tuple(found for line in lines if (found := _event(line)))


def _event(line: JournalLine) -> Event | None:
    for said, pattern in _COMPILED:
        if found := pattern.search(line.message):
            named = _INSTANCE.match(line.message)
            source = _address(found.groupdict().get("source"))
            name = named["name"] if named else ""
            return Event(said, line.time, name, source, line.message, line.invocation)
    return None


def _address(word: str | None) -> Address | None:
    try:
        return ip_address(word) if word else None
    except ValueError:
        return None
