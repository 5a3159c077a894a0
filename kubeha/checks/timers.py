"""What the timers of the cluster file promise more than machines keep."""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.model import Cluster
from kubeha.units import format_duration
from kubeha.world import World

# Below it, pauses that virtual machines have anyway look like deaths, in seconds.
SAFE_INTERVAL = 0.1


def short_interval(world: World) -> Iterator[Finding]:
    """An advertisement interval for machines that are never paused."""
    yield from hasty(world.cluster)


def hasty(cluster: Cluster) -> Iterator[Finding]:
    """The same from the cluster file alone."""
    interval = cluster.vrrp.advert_interval
    if interval < SAFE_INTERVAL:
        yield kinds.SHORT_INTERVAL.at(
            "",
            f"with vrrp.advert_interval {format_duration(interval)} the VIP moves when its holder"
            f" is paused for {3 * interval * 1000:.0f} ms, and each move breaks connections",
            "use 100ms, or 300ms where machines are paused often; keep it on machines that are"
            ' nobody\'s guests: --ignore KH102="bare metal"',
            f"vrrp.advert_interval: {format_duration(interval)}",
        )
