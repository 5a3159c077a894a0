"""The rules of a host's firewall, whichever program wrote them: raw text -> tables.

The kernel keeps two kinds of rules. nft shows its own in full and those of iptables-nft as opaque
expressions, iptables-nft-save the latter in full; iptables-legacy-save shows the old kind. Without
-t it looks only at tables that are loaded: asking for one by name would load a kernel module.
"""

from collections.abc import Mapping

from kubeha.facts.iptables_rules import parse_iptables
from kubeha.facts.nft_rules import parse_nft
from kubeha.facts.packet_filter import Table
from kubeha.remote import Command, Completed

_SECONDS = 3.0
COMMANDS = {
    "nft": Command(("nft", "-j", "list", "ruleset"), _SECONDS),
    "iptables-nft": Command(("iptables-nft-save", "-t", "filter"), _SECONDS),
    "ip6tables-nft": Command(("ip6tables-nft-save", "-t", "filter"), _SECONDS),
    "iptables-legacy": Command(("iptables-legacy-save",), _SECONDS),
    "ip6tables-legacy": Command(("ip6tables-legacy-save",), _SECONDS),
}


def parse(commands: Mapping[str, Completed]) -> tuple[Table, ...] | None:
    """All tables that could be read; None if no program could show any."""
    found: list[Table] = []
    answered = False
    for name in COMMANDS:
        done = commands.get(name)
        if done is None or not done.ok:
            continue
        if name == "nft":
            tables = parse_nft(done.stdout)
        else:
            tables = parse_iptables(done.stdout, "ip6" if name.startswith("ip6") else "ip")
        answered = answered or tables is not None
        found += tables or ()
    return tuple(found) if answered else None
