"""Do the clocks agree? Certificates, Leases and etcd live by them; VRRP does not."""

from collections.abc import Iterator
from statistics import median_low

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.world import World

# Tokens and certificates that are "not yet valid", Leases that seem expired: seconds matter there.
MOST = 5.0


def clock_off(world: World) -> Iterator[Finding]:
    """A clock far from most others; the operator's own has one voice among them."""
    nodes = world.seen((*world.cluster.nodes, *world.cluster.clients))
    offsets = {f.name: f.clock_offset for f in nodes if f.clock_offset is not None}
    middle = median_low([0.0, *offsets.values()])
    for name, offset in offsets.items():
        off = offset - middle
        if abs(off) > MOST:
            way = "fast" if off > 0 else "slow"
            yield kinds.CLOCK_OFF.at(
                name,
                f"its clock is {abs(off):.0f} s {way}",
                "see timedatectl there, and make one time service run on all nodes: systemctl"
                " enable --now systemd-timesyncd (or chrony)",
                ", ".join(f"{each} {value:+.1f} s" for each, value in offsets.items())
                + " from the clock of this machine",
            )
