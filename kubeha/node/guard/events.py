"""What the guard hears and what it does, as values."""

from typing import Dict, NamedTuple, Optional

CONFLICT, HUNG, ISOLATED = "conflict", "hung", "isolated"


class Me(NamedTuple):
    """This node; addresses are packed."""

    address: bytes
    vip: bytes
    vrid: int
    rank: int
    peers: Dict[bytes, str]  # address -> name
    advert_interval: float
    port: int


class Claim(NamedTuple):
    """What a guard says of its node. `held`: for how long, in seconds. `mute`: it holds the VIP and
    sends no advertisements. `asks`: everybody is to answer."""

    vrid: int
    vip: bytes
    address: bytes
    rank: int
    holds: bool
    mute: bool
    asks: bool
    held: float


# Events.
Started = NamedTuple("Started", [])
Taken = NamedTuple("Taken", [("held", float)])  # the VIP is on my interface, since so long
Lost = NamedTuple("Lost", [])
Answer = NamedTuple("Answer", [("address", bytes), ("mac", bytes)])  # ARP or NDP, not my own
Claimed = NamedTuple("Claimed", [("mac", bytes), ("claim", Claim)])
OwnAdvert = NamedTuple("OwnAdvert", [])  # my keepalived has sent one
Alive = NamedTuple("Alive", [("address", bytes)])  # this node's HAProxy answers
Stopped = NamedTuple("Stopped", [])  # the processes of my keepalived stand still
Gone = NamedTuple("Gone", [])  # it has none: the VIP was left behind
Advert = NamedTuple("Advert", [("source", bytes)])  # has passed this node's packet filter
Gateway = NamedTuple("Gateway", [("address", Optional[bytes])])
Tick = NamedTuple("Tick", [])

# Actions.
Say = NamedTuple("Say", [("claim", Claim)])
Ask = NamedTuple("Ask", [("address", bytes), ("mac", Optional[bytes])])  # None: everybody
Announce = NamedTuple("Announce", [])  # gratuitous ARP, unsolicited neighbour advertisement
Block = NamedTuple("Block", [("value", bool)])  # the guard file
# Nobody hears what my keepalived says, for a moment that ends by itself; False: clear up.
Hush = NamedTuple("Hush", [("on", bool)])
Settled = NamedTuple("Settled", [])
End = NamedTuple("End", [])  # kill keepalived, take the VIP off the interface
WatchOwn = NamedTuple("WatchOwn", [("on", bool)])  # OwnAdvert, Stopped, Gone
WatchPeers = NamedTuple("WatchPeers", [("on", bool)])  # Advert
FindGateway = NamedTuple("FindGateway", [])  # Gateway
Try = NamedTuple("Try", [("address", bytes)])  # Alive
Tell = NamedTuple("Tell", [("why", Optional[str]), ("other", str), ("text", str)])


def spelled(mac: bytes) -> str:
    return ":".join("%02x" % byte for byte in mac)
