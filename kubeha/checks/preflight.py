"""What would make an apply fail or do harm, found before anything is touched."""

from collections.abc import Callable, Iterator

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.world import World, is_ours

MIB = 1024 * 1024
# keepalived and haproxy with their dependencies unpack to about 60 MB on Debian 12.
NEEDED_BYTES = {"/": 300 * MIB, "/etc": 4 * MIB, "/var": 300 * MIB}
REPLACED = (paths.HAPROXY_CONFIG, paths.KEEPALIVED_CONFIG)
PACKAGES = ("haproxy", "keepalived")


def unreachable(world: World) -> Iterator[Finding]:
    for node in world.unreachable:
        yield kinds.UNREACHABLE.at(node.name, node.reason, node.hint or "make it reachable")


def no_systemd(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        if not facts.systemd:
            yield kinds.NO_SYSTEMD.at(
                facts.name,
                "this machine was not booted with systemd",
                "use a machine with systemd, or take the files from: kubeha render",
            )


def packages(world: World) -> Iterator[Finding]:
    """Either they can be installed, or they must be there."""
    for facts in world.load_balancers:
        missing = [name for name in PACKAGES if name not in facts.packages]
        if not missing:
            continue
        words = " and ".join(missing)
        if world.cluster.packages == "preinstalled":
            yield kinds.PACKAGE_MISSING.at(
                facts.name,
                f"{words} not installed, and the cluster file says packages: preinstalled",
                f"install {words} on {facts.name}, or set packages: install",
            )
        elif facts.os is None or not facts.os.debian_family:
            name = facts.os.pretty_name if facts.os else "an unknown distribution"
            yield kinds.UNSUPPORTED_OS.at(
                facts.name,
                f"{name}: kubeha installs packages on the Debian family only",
                f"install {words} by hand and set packages: preinstalled",
                f"ID={facts.os.id} ID_LIKE={' '.join(facts.os.like)}" if facts.os else "",
            )


def foreign_files(world: World) -> Iterator[Finding]:
    """Somebody else's configuration is never overwritten silently."""
    for facts in world.load_balancers:
        for path in REPLACED:
            state = facts.files.get(path)
            if state is None or not state.exists or is_ours(facts.text_of(path)):
                continue
            if not facts.is_pristine(path):
                yield kinds.FOREIGN_FILE.at(
                    facts.name,
                    f"{path} was not written by kubeha",
                    "look at it; to replace it and keep a copy: kubeha apply --adopt",
                    _first_lines(facts.text_of(path) or ""),
                )


def _first_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[:count])


def disk(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        installed = all(name in facts.packages for name in PACKAGES)
        for path, free in sorted(facts.free_bytes.items()):
            needed = min(NEEDED_BYTES.get(path, 0), 4 * MIB if installed else NEEDED_BYTES["/"])
            if free < needed:
                yield kinds.DISK_FULL.at(
                    facts.name,
                    f"{path} has {free // MIB} MiB free, {needed // MIB} MiB are needed",
                    f"make room on {facts.name}",
                )


def read_only(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        if facts.etc_writable is False:
            yield kinds.READ_ONLY.at(
                facts.name,
                "/etc cannot be written to: its file system is mounted read-only",
                f"see why in the log (dmesg) of {facts.name}, then: mount -o remount,rw /etc",
            )


def vrid_change(world: World) -> Iterator[Finding]:
    """A rolling change of the VRID would leave two virtual routers side by side."""
    wanted, deployed = world.cluster.vrrp.vrid, world.deployed_vrid()
    if wanted is not None and deployed is not None and wanted != deployed:
        yield kinds.VRID_CHANGE.at(
            "",
            f"virtual router id {deployed} is deployed, the cluster file says {wanted}: changed"
            " node by node, both would hold the VIP",
            f"put vrrp.vrid: {deployed} into the cluster file",
            f"virtual_router_id {deployed} in {paths.KEEPALIVED_CONFIG}",
        )


def vip_taken(world: World) -> Iterator[Finding]:
    """The VIP answers on the wire although none of our nodes has it."""
    if world.holders:
        return
    heard: dict[str, list[str]] = {}
    for node, macs in world.vip_answers.items():
        for mac in macs:
            heard.setdefault(mac, []).append(node)
    for mac, nodes in sorted(heard.items()):
        yield kinds.VIP_TAKEN.at(
            "",
            f"{world.cluster.endpoint.vip} is in use by a machine with the MAC address {mac}",
            "choose a free VIP, or take the address away from that machine",
            f"it answered {', '.join(sorted(nodes))}",
        )


def vip_subnet(world: World) -> Iterator[Finding]:
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        node = next(n for n in world.cluster.load_balancer_nodes if n.name == facts.name)
        named = node.interface or world.cluster.vrrp.interface
        if named or facts.addresses is None or facts.interface_for(vip):
            continue
        own = ", ".join(
            f"{seen.interface} {seen.address}"
            for seen in facts.addresses
            if not seen.address.ip.is_loopback and not seen.address.ip.is_link_local
        )
        yield kinds.VIP_NOT_ON_SUBNET.at(
            facts.name,
            f"no interface has an address in the subnet of the VIP {vip}",
            "choose a VIP in the nodes' subnet, or name the interface in the cluster file",
            own,
        )


def named_interface(world: World) -> Iterator[Finding]:
    """An interface named in the cluster file has to be there, with an address."""
    for facts in world.load_balancers:
        node = next(n for n in world.cluster.load_balancer_nodes if n.name == facts.name)
        named = node.interface or world.cluster.vrrp.interface
        present = {seen.interface for seen in facts.addresses or ()}
        if named and facts.addresses is not None and named not in present:
            yield kinds.VIP_NOT_ON_SUBNET.at(
                facts.name,
                f"the interface {named} of the cluster file is not there or has no address",
                f"correct 'interface' for {facts.name}",
                ", ".join(sorted(present)),
            )


def port_taken(world: World) -> Iterator[Finding]:
    port = world.cluster.endpoint.port
    for facts in world.load_balancers:
        for listener in facts.listeners or ():
            if listener.port == port and listener.program not in ("haproxy", ""):
                yield kinds.PORT_TAKEN.at(
                    facts.name,
                    f"port {port} is in use by {listener.program}",
                    f"stop {listener.program} there, or choose another endpoint.port",
                    f"{listener.address}:{listener.port} {listener.program}",
                )


def cluster_ca(world: World) -> Iterator[Finding]:
    cas = world.cas()
    if not world.control_plane:
        return
    if not cas:
        yield kinds.NO_CA.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca} yet",
            "go on (kubeadm init can use the endpoint now), then run kubeha apply once more",
        )
    elif len({text.strip() for text in cas.values()}) > 1:
        yield kinds.CAS_DIFFER.at(
            "",
            "control plane nodes have different cluster CAs: " + ", ".join(sorted(cas)),
            "these nodes belong to different clusters: correct control_plane",
        )


CHECKS: tuple[Callable[[World], Iterator[Finding]], ...] = (
    unreachable,
    no_systemd,
    packages,
    foreign_files,
    disk,
    read_only,
    vrid_change,
    vip_taken,
    vip_subnet,
    named_interface,
    port_taken,
    cluster_ca,
)


def preflight(world: World) -> tuple[Finding, ...]:
    """Every finding that speaks against an apply, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(world))
