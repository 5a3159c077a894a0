"""The gateway of the lab's segment: every machine's default route, to a host that leads nowhere.

It answers ARP, NDP and pings like any router, and says of everything outside the segment that it
cannot be reached, so that nobody waits for it.
"""

from kubeha.lab import network, stranger
from kubeha.lab.lab import GATEWAY, GATEWAY6, GATEWAY_NUMBER, Lab
from kubeha.lab.process import run
from kubeha.lab.stranger import Stranger

# Name of its port in the bridge.
PORT = "gateway"
# A host that does not forward is silent about what is not for it.
_FORWARD = "for family in ipv4 ipv6; do echo 1 >/proc/sys/net/$family/conf/all/forwarding; done"


def bring(lab: Lab) -> None:
    """Put the gateway on the segment; `lab down` takes it away."""
    gateway = Stranger(lab.id, PORT, GATEWAY_NUMBER)
    stranger.bring(lab, gateway, [f"{GATEWAY}/24", f"{GATEWAY6}/64"])
    inside = gateway.namespace
    network.batch(inside, "route add unreachable default", "route add unreachable ::/0")
    run(["ip", "netns", "exec", inside, "sh", "-c", _FORWARD])
