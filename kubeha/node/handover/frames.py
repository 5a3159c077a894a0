"""What former holders tell everybody on the wire."""

import json
from typing import Optional, Tuple

# IEEE 802 local experimental; no router passes it on.
ETHERTYPE = 0x88B5
MAGIC = b"kubeha-handover "


def frame(mac: bytes, vip: str, name: str, move: str, rest: float) -> bytes:
    """What a former holder tells everybody; `rest`: seconds that it will go on, 0: it is over."""
    said = json.dumps({"vip": vip, "name": name, "id": move, "rest": rest}, sort_keys=True)
    body = MAGIC + said.encode()
    return b"\xff" * 6 + mac + ETHERTYPE.to_bytes(2, "big") + body.ljust(46, b" ")


def read_frame(data: bytes, vip: str) -> Optional[Tuple[str, str, float]]:
    """(name, id, rest) of a former holder's frame about this VIP; None if it is not that."""
    if not data[14:].startswith(MAGIC):
        return None
    try:
        said = json.loads(data[14 + len(MAGIC) :].decode())
        if said["vip"] != vip:
            return None
        return str(said["name"]), str(said["id"]), float(said["rest"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
