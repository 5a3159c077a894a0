"""What only the wire tells, asked from all nodes at once.

Nothing here knows what an answer means. What is sent and heard is in node/listen.py, node/probe.py
and node/passage.py, and for operators in docs/how-it-works.md.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping

from kubeha import passages, paths
from kubeha.errors import HostError
from kubeha.facts import Advert, NodeFacts, Observed, Unreachable, node_facts
from kubeha.host import Host
from kubeha.model import Cluster
from kubeha.remote import Command, PassageAnswer, PassageRequest
from kubeha.world import World

log = logging.getLogger(__name__)

# One whole interval of an advertiser that speaks every 3 s, and how late it may be.
LISTENING = 3.3
INTERFACES = {"addresses": Command(("ip", "-j", "address", "show"))}


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
    world = World(cluster, facts)

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
        if (interface := world.vip_interface(seen))
    ]
    return dict(await asyncio.gather(*asking))


async def cross(cluster: Cluster, hosts: Mapping[str, Host]) -> Mapping[str, PassageAnswer | str]:
    """What passes between the nodes, and who answers for their addresses; `passages` tells more.

    A text instead of an answer says why there is none. Nobody sends before all can receive, or
    have failed to.
    """
    world = await _preview(cluster, hosts)
    asked = passages.requests(world, secrets.token_bytes(passages.RUN_BYTES))
    go = asyncio.Event()
    waiting = set(asked)

    def arrive(name: str) -> None:
        waiting.discard(name)
        if not waiting:
            go.set()

    async def one(name: str, request: PassageRequest) -> tuple[str, PassageAnswer | str]:
        try:
            return name, await hosts[name].passage(request, lambda: arrive(name), go)
        except HostError as error:
            log.info("%s: %s", name, error)
            return name, error.message
        finally:
            arrive(name)

    return dict(await asyncio.gather(*(one(name, request) for name, request in asked.items())))


async def _preview(cluster: Cluster, hosts: Mapping[str, Host]) -> World:
    """Interfaces and VRIDs of all nodes: all that the questions depend on, and quick to have."""

    async def see(name: str) -> Observed:
        try:
            seen = await hosts[name].collect(INTERFACES, (paths.KEEPALIVED_CONFIG,))
        except HostError as error:
            return Unreachable(name, error.message, error.hint)
        return node_facts(name, seen)

    seen = await asyncio.gather(*(see(name) for name in hosts))
    return World(cluster, {facts.name: facts for facts in seen})
