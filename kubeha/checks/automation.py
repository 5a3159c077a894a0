"""What would restart the holder's services on its own, without asking who holds the VIP."""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.facts import NodeFacts
from kubeha.facts.machine import PACKAGES
from kubeha.world import World

UNITS = tuple(f"{name}.service" for name in PACKAGES)
# From this release on needrestart restarts services after any apt run unless it is told not to.
UBUNTU_RESTARTS = (24, 4)


def unattended_upgrades(world: World) -> Iterator[Finding]:
    """One finding for all nodes: an upgrade restarts both services, on whichever node."""
    found: dict[str, list[str]] = {}
    for facts in world.load_balancers:
        if facts.machine is None or "unattended-upgrades" not in facts.packages:
            continue
        packages = [name for name in PACKAGES if facts.machine.automation.upgraded(name)]
        if packages:
            found[facts.name] = packages
    if found:
        packages = sorted({name for names in found.values() for name in names})
        yield kinds.UNATTENDED_UPGRADES.at(
            "",
            f"unattended-upgrades may upgrade {' and '.join(packages)} and so restart the holder's"
            " services at any time, on several nodes at once",
            "to upgrade them yourself, one node after the other: apt-mark hold"
            f" {' '.join(packages)} (on {', '.join(found)}); their security updates are then yours"
            " to watch",
            "; ".join(f"{node}: {', '.join(names)}" for node, names in found.items()),
        )


def needrestart(world: World) -> Iterator[Finding]:
    """One finding for all nodes whose needrestart would restart the services by itself."""
    nodes = [facts.name for facts in world.load_balancers if _restarts(facts)]
    if nodes:
        yield kinds.NEEDRESTART.at(
            "",
            "needrestart restarts keepalived and HAProxy on its own when a library of theirs was"
            " upgraded, on the holder too",
            "echo '$nrconf{override_rc}{qr(^(haproxy|keepalived)[.]service)} = 0;'"
            " >/etc/needrestart/conf.d/kubeha.conf; then restart them yourself, the holder last",
            ", ".join(nodes),
        )


def _restarts(facts: NodeFacts) -> bool:
    if facts.machine is None or "needrestart" not in facts.packages:
        return False
    automation = facts.machine.automation
    if all(automation.spared_by_needrestart(unit) for unit in UNITS):
        return False
    if automation.restart_mode is not None:
        return automation.restart_mode == "a"
    return facts.os is not None and facts.os.id == "ubuntu" and _release(facts) >= UBUNTU_RESTARTS


def _release(facts: NodeFacts) -> tuple[int, ...]:
    words = (facts.os.version if facts.os else "").split(".")
    return tuple(int(word) for word in words if word.isdigit())
