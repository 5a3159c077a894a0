"""The observed world that checks judge, and the questions that many of them share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeha import keepalived, paths
from kubeha.facts import (
    Advert,
    Connection,
    Fetched,
    NodeFacts,
    Observed,
    Passage,
    Unreachable,
)
from kubeha.model import Cluster, IPAddress, Node
from kubeha.templates import MARK

# Names under which node/look.py's answers are kept in NodeFacts.fetched.
API_READYZ = "api:readyz"
API_VERSION = "api:version"
ENDPOINT_READYZ = "endpoint:readyz"
ENDPOINT_VERSION = "endpoint:version"
ENDPOINT_READ = "endpoint:read"
LEASE = "lease:"
# Elected by Leases in kube-system.
CONTROLLERS = ("kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class World:
    """The cluster file beside everything that was seen, at one moment.

    `vip_answers`: node -> MAC addresses that answer ARP or NDP for the VIP, as heard from there;
    None where it could not be asked, empty when nobody was. `strangers`: address -> a machine that
    deployed nodes have as a peer although it is not in the cluster file.

    `adverts`: node -> VRRP heard there, None where nobody could listen; empty when nobody did.
    `passages`: (sender, receiver) -> whether protocol 112 passes. `connections`: (load balancer
    node, control plane node) -> TCP to its API server. `neighbours`: node -> address of a node (its
    own, too) or the VIP -> MAC addresses of machines that answer it for that.

    `before`: an earlier look, where the first one showed an election that had not settled.
    """

    cluster: Cluster
    nodes: Mapping[str, Observed]
    clients: Mapping[str, Observed] = field(default_factory=dict)
    vip_answers: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    strangers: Mapping[str, Observed] = field(default_factory=dict)
    adverts: Mapping[str, tuple[Advert, ...] | None] = field(default_factory=dict)
    passages: Mapping[tuple[str, str], Passage] = field(default_factory=dict)
    connections: Mapping[tuple[str, str], Connection] = field(default_factory=dict)
    neighbours: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    before: "World | None" = None

    @property
    def unreachable(self) -> tuple[Unreachable, ...]:
        both = (*self.nodes.values(), *self.clients.values())
        return tuple(seen for seen in both if isinstance(seen, Unreachable))

    def seen(self, nodes: tuple[Node, ...]) -> tuple[NodeFacts, ...]:
        """Facts of those of the given nodes that could be asked, in the order given."""
        found = (self.nodes.get(node.name) or self.clients.get(node.name) for node in nodes)
        return tuple(facts for facts in found if isinstance(facts, NodeFacts))

    @property
    def load_balancers(self) -> tuple[NodeFacts, ...]:
        return self.seen(self.cluster.load_balancer_nodes)

    @property
    def control_plane(self) -> tuple[NodeFacts, ...]:
        return self.seen(self.cluster.control_plane)

    @property
    def everybody(self) -> tuple[NodeFacts, ...]:
        return self.seen((*self.cluster.nodes, *self.cluster.clients))

    @property
    def holders(self) -> tuple[str, ...]:
        """Names of the nodes on whose interfaces the VIP is, whatever keepalived says."""
        vip = self.cluster.endpoint.vip
        return tuple(facts.name for facts in self.load_balancers if facts.holds(vip))

    def vip_interface(self, facts: NodeFacts) -> str | None:
        """The interface of a node that has the VIP, or would hear who has it; None if not known.

        The cluster file names it for load balancer nodes only: on others, a card of the same name
        may be in any segment.
        """
        named = (
            self.cluster.interface_of(node)
            for node in self.cluster.load_balancer_nodes
            if node.name == facts.name
        )
        return next(named, None) or facts.interface_for(self.cluster.endpoint.vip)

    def ca(self) -> str | None:
        """The cluster CA, as the first control plane node that has a usable one shows it."""
        return next((text for text in self.cas().values() if has_certificate(text)), None)

    @property
    def bootstrapping(self) -> bool:
        """No CA and no API server anywhere: the endpoint is deployed ahead of the cluster."""
        asked = [f.fetched[API_READYZ] for f in self.control_plane if API_READYZ in f.fetched]
        refused = [answer.error_kind == "refused" for answer in asked]
        return bool(refused) and all(refused) and not self.cas()

    def cas(self) -> dict[str, str]:
        """node -> CA in PEM, for those control plane nodes that have one."""
        path = self.cluster.kubernetes.ca
        found = ((facts.name, facts.text_of(path)) for facts in self.control_plane)
        return {name: text for name, text in found if text}

    def deployed_vrid(self) -> int | None:
        """The VRID of the first node whose keepalived.conf kubeha wrote."""
        for facts in self.load_balancers:
            text = facts.text_of(paths.KEEPALIVED_CONFIG)
            if text is not None and is_ours(text):
                return keepalived.identity(text).vrid
        return None

    def lease(self, controller: str) -> Fetched | None:
        """The answer to the question for a controller's Lease, None if it was not asked."""
        key = LEASE + controller
        return next((f.fetched[key] for f in self.everybody if key in f.fetched), None)

    def unknown_peers(self) -> tuple[IPAddress, ...]:
        """Addresses that running nodes have as peers and the cluster file does not name."""
        texts = (facts.text_of(paths.KEEPALIVED_CONFIG) for facts in self.load_balancers)
        peers = {
            p for text in texts if text and is_ours(text) for p in keepalived.unicast_peers(text)
        }
        return tuple(sorted(peers - {node.address for node in self.cluster.nodes}, key=str))

    def heard(self) -> dict[str, list[str]]:
        """MAC address -> the nodes that heard it answer for the VIP."""
        found: dict[str, list[str]] = {}
        for node, macs in self.vip_answers.items():
            for mac in macs or ():
                found.setdefault(mac, []).append(node)
        return found

    def macs_of(self, node: str) -> frozenset[str]:
        """MAC addresses of a node, or those that answer for its address; empty if not known."""
        facts = self.nodes.get(node)
        if isinstance(facts, NodeFacts):
            return frozenset(link.mac for link in facts.links or () if link.ethernet)
        address = next((str(n.address) for n in self.cluster.nodes if n.name == node), "")
        answers = (heard.get(address, ()) for heard in self.neighbours.values())
        return frozenset(mac for macs in answers for mac in macs)

    def machine_with(self, mac: str) -> str | None:
        """The node whose interface has this MAC address, None if it is nobody's of ours."""
        return next(
            (node.name for node in self.cluster.nodes if mac in self.macs_of(node.name)), None
        )

    def addresses_of_ours(self) -> frozenset[IPAddress]:
        """All addresses of the cluster's nodes: those in the file, and those on interfaces."""
        named = {node.address for node in self.cluster.nodes}
        seen = (facts for facts in self.nodes.values() if isinstance(facts, NodeFacts))
        return frozenset(named | {one.address.ip for f in seen for one in f.addresses or ()})

    def heard_adverts(self) -> tuple[tuple[str, Advert], ...]:
        """Every advertisement, with the node that heard it."""
        return tuple((node, each) for node, seen in self.adverts.items() for each in seen or ())

    def endpoint_answer(self) -> Fetched | None:
        """A successful /version through the endpoint from anywhere, else any answer at all."""
        answers = [
            facts.fetched[ENDPOINT_VERSION]
            for facts in self.everybody
            if ENDPOINT_VERSION in facts.fetched
        ]
        good = [answer for answer in answers if answer.status == 200]
        return next(iter(good or answers), None)


def is_ours(text: str | None) -> bool:
    """Did kubeha write this? Its mark is in the first lines of every file that it writes."""
    return text is not None and any(MARK in line for line in text.split("\n", 3)[:3])


def has_certificate(text: str) -> bool:
    """Is there anything that looks like a certificate in this PEM text?"""
    return "-----BEGIN CERTIFICATE-----" in text and "-----END CERTIFICATE-----" in text
