"""Raw observations of a node -> facts. Observed state only, one module a subject."""

from kubeha.facts.answers import Fetched, parse_fetched
from kubeha.facts.debian import (
    Os,
    conffile_digest,
    parse_conffiles,
    parse_dpkg,
    parse_free,
    parse_os_release,
    parse_present,
)
from kubeha.facts.journal import JournalLine, parse_journal
from kubeha.facts.moving import Carried, parse_carried
from kubeha.facts.network import (
    InterfaceAddress,
    Link,
    Listener,
    parse_addresses,
    parse_links,
    parse_listeners,
)
from kubeha.facts.node import NodeFacts, Observed, Unreachable, node_facts, output
from kubeha.facts.units import Unit, parse_units
from kubeha.facts.wire import Advert, Connection, Passage, parse_adverts

__all__ = [
    "Advert", "Carried", "Connection", "Fetched", "InterfaceAddress", "JournalLine", "Link",
    "Listener", "NodeFacts", "Observed", "Os", "Passage", "Unit", "Unreachable", "conffile_digest",
    "node_facts", "output", "parse_addresses", "parse_adverts", "parse_carried",
    "parse_conffiles", "parse_dpkg", "parse_fetched", "parse_free", "parse_journal", "parse_links",
    "parse_listeners", "parse_os_release", "parse_present", "parse_units",
]  # fmt: skip
