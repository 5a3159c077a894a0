"""Settings and routes of a node's kernel: raw text -> values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeha.remote import Command, Completed, FileState

_NAMES = ("rp_filter", "arp_ignore", "disable_ipv6")
_PLACES = ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf")
NR_OPEN = "/proc/sys/fs/nr_open"
FILES = (NR_OPEN,)
COMMANDS = {
    "settings": Command(("grep", "-rs", "", *(f"--include={name}" for name in _NAMES), *_PLACES)),
    "routes": Command(("ip", "-j", "-4", "route", "show", "default")),
    "rules": Command(("ip", "-j", "-4", "rule", "show")),
}


@dataclass(frozen=True)
class Kernel:
    """`settings`: name -> interface ("all", "default" too) -> value. `default_devices`: where the
    default routes of the main table go, None if not known or where there are rules of somebody's.
    `open_files`: the most that any process may be allowed."""

    settings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    default_devices: tuple[str, ...] | None = None
    open_files: int | None = None

    def strictest(self, name: str, interface: str) -> int | None:
        """The greater of an interface's value and that of "all": for these settings it counts.

        ip-sysctl.rst: rp_filter, arp_ignore and arp_announce. None if it is not known.
        """
        values = self.settings.get(name, {})
        if interface not in values or "all" not in values:
            return None
        return max(values[interface], values["all"])


def parse(commands: Mapping[str, Completed], files: Mapping[str, FileState]) -> Kernel:
    """What could be read; the rest is None or missing."""
    settings, routes, rules = (commands.get(name) for name in COMMANDS)
    limit = files.get(NR_OPEN)
    text = ((limit.content if limit else None) or "").strip()
    plain = _only_default_rules(rules.stdout if rules and rules.ok else "")
    return Kernel(
        parse_settings(settings.stdout if settings else ""),
        parse_default_devices(routes.stdout) if routes and routes.ok and plain else None,
        int(text) if text.isdigit() else None,
    )


def parse_settings(text: str) -> dict[str, dict[str, int]]:
    """`grep -r`: /proc/sys/net/ipv4/conf/INTERFACE/NAME:VALUE lines."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        path, _, value = line.rpartition(":")
        parts = path.split("/")
        if len(parts) > 2 and value.isdigit():
            found.setdefault(parts[-1], {})[parts[-2]] = int(value)
    return found


def parse_default_devices(text: str) -> tuple[str, ...] | None:
    """`ip -j route show default`: the interfaces of all default routes."""
    try:
        routes = json.loads(text or "[]")
        found = [route.get("dev") for route in routes]
        found += [hop.get("dev") for route in routes for hop in route.get("nexthops", ())]
        return tuple(name for name in found if isinstance(name, str))
    except (ValueError, TypeError, AttributeError):
        return None


def _only_default_rules(text: str) -> bool:
    """Are there no rules but local, main and default, so that the main table decides?"""
    try:
        rules = json.loads(text)
        return all(rule.get("table") in ("local", "main", "default") for rule in rules)
    except (ValueError, TypeError, AttributeError):
        return False
