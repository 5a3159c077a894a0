"""What only the wire tells, asked from all nodes at once.

Nothing here knows what an answer means. What is sent and heard is in node/listen.py, node/probe.py
and node/passage.py, and for operators in docs/how-it-works.md.
"""

import asyncio
import logging
from collections.abc import Mapping

from kubeha.errors import HostError
from kubeha.facts import Advert, NodeFacts, Observed
from kubeha.host import Host
from kubeha.model import Cluster

log = logging.getLogger(__name__)

# One whole interval of an advertiser that speaks every 3 s, and how late it may be.
LISTENING = 3.3


async def listen_for_adverts(
    hosts: Mapping[str, Host], seconds: float = LISTENING
) -> dict[str, tuple[Advert, ...] | None]:
    """VRRP heard on every node within `seconds`; None where nobody could listen."""

    async def listen(name: str) -> tuple[str, tuple[Advert, ...] | None]:
        try:
            return name, await hosts[name].listen(seconds)
        except HostError as error:
            log.info("%s: %s", name, error)
            return name, None

    return dict(await asyncio.gather(*(listen(name) for name in hosts)))


async def listen_for_vip(
    cluster: Cluster, hosts: Mapping[str, Host], facts: Mapping[str, Observed]
) -> dict[str, tuple[str, ...] | None]:
    """Ask by ARP or NDP from every node that does not hold the VIP who has it: node -> MACs.

    None where the question could not be asked.
    """
    vip = cluster.endpoint.vip
    named = {node.name: cluster.interface_of(node) for node in cluster.nodes}

    async def ask(name: str, interface: str) -> tuple[str, tuple[str, ...] | None]:
        try:
            return name, await hosts[name].arp_probe(interface, str(vip))
        except HostError as error:
            log.info("%s: %s", name, error)
            return name, None

    asking = [
        ask(name, interface)
        for name, seen in facts.items()
        if name in hosts and isinstance(seen, NodeFacts) and not seen.holds(vip)
        if (interface := named.get(name) or seen.interface_for(vip))
    ]
    return dict(await asyncio.gather(*asking))
