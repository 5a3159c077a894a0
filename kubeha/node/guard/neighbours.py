"""Whose MAC address is which, and whether anybody answers at all."""

from typing import Dict, List, Optional, Set, Tuple

from kubeha.node.guard.events import Claimed, spelled
from kubeha.node.guard.timing import CARDS, LONELY, NEVER, PATIENCE, RECENT, STALE


class Neighbours:
    """Who has answered for which address, and so from where a peer's claims count."""

    def __init__(self, peers: Dict[bytes, str]) -> None:
        self.peers = peers
        # Who has answered for an address, the newest last.
        self.macs: Dict[bytes, List[bytes]] = {}
        # The newest claim of each peer from a MAC address that has not answered for it.
        self.unproven: Dict[bytes, Tuple[float, Claimed]] = {}
        # When all peers were asked.
        self.asked = -NEVER

    def learn(self, now: float, address: bytes, mac: bytes) -> Optional[Claimed]:
        """Returns the claim that came from there just before the answer: it counts now."""
        known = [one for one in self.macs.get(address, ()) if one != mac]
        self.macs[address] = [*known, mac][-CARDS:]
        heard, claimed = self.unproven.get(address, (-NEVER, None))
        if claimed is None or claimed.mac != mac:
            return None
        del self.unproven[address]
        return claimed if now - heard <= STALE else None

    def doubt(self, now: float, claimed: Claimed) -> None:
        """Keep a claim until its sender has answered for the peer's address."""
        self.unproven[claimed.claim.address] = now, claimed

    def macs_of(self, now: float, peer: bytes) -> List[bytes]:
        """Whose claims count: anybody can claim to be a peer, so they have to answer for it.

        Where the nodes' addresses are on another card than the VIP, no peer ever answers here.
        Then what they claim is all there is.
        """
        if any(one in self.macs for one in self.peers) or now - self.asked < PATIENCE:
            return self.macs.get(peer, [])
        return [self.unproven[peer][1].mac] if peer in self.unproven else []

    def all_macs(self, now: float) -> Set[bytes]:
        """Of all peers."""
        return {mac for peer in self.peers for mac in self.macs_of(now, peer)}

    def newest_mac(self, address: bytes) -> Optional[bytes]:
        return self.macs[address][-1] if address in self.macs else None

    def name(self, now: float, mac: Optional[bytes]) -> str:
        """The peer's that has this MAC address, or the MAC address itself."""
        for address, name in self.peers.items():
            if mac in self.macs_of(now, address):
                return name
        return spelled(mac or b"")


class Surroundings:
    """Does anybody answer this node? It asks in rounds, while it holds the VIP."""

    def __init__(self, peers: Dict[bytes, str]) -> None:
        self.peers = peers
        self.gateway: Optional[bytes] = None
        self.gateway_answered = False
        self.peer_heard = -NEVER
        self.somebody = False
        self.rounds_alone = 0
        self.rounds = 0

    def begin(self) -> None:
        self.rounds_alone = 0
        self.somebody = True

    def heard(self, now: float, address: bytes) -> None:
        self.somebody = True
        self.gateway_answered = self.gateway_answered or address == self.gateway
        if address in self.peers:
            self.peer_heard = now

    def found(self, gateway: Optional[bytes]) -> None:
        """The default route leads there now."""
        if gateway != self.gateway:
            self.gateway, self.gateway_answered = gateway, False

    def end_round(self) -> None:
        self.rounds_alone = 0 if self.somebody else self.rounds_alone + 1
        self.rounds += 1
        self.somebody = False

    def cut_off(self) -> bool:
        """A gateway that never answered is not missed, and a single node is always alone."""
        known = self.gateway_answered and self.gateway is not None and bool(self.peers)
        return known and self.rounds_alone >= LONELY

    def lonely(self, now: float, since: float) -> bool:
        """Has no peer answered for long? Then only the gateway can be waited for."""
        return now - max(self.peer_heard, since) > RECENT
