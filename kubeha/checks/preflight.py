"""What would make an apply fail or do harm, found before anything is touched."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from kubeha import keepalived, paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import Unreachable
from kubeha.world import World, has_certificate, is_ours

MIB = 1024 * 1024
# keepalived and haproxy with their dependencies unpack to about 60 MB on Debian 12.
NEEDED_BYTES = {"/": 300 * MIB, "/etc": 4 * MIB, "/var": 300 * MIB}
REPLACED = paths.WRITTEN
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
        words = " and ".join(missing)
        if facts.os is None or not facts.os.debian_family:
            name = facts.os.pretty_name if facts.os else "an unknown distribution"
            yield kinds.UNSUPPORTED_OS.at(
                facts.name,
                f"{name}: kubeha has been tried on the Debian family only",
                "use Debian or Ubuntu there, or take the files from: kubeha render",
                f"ID={facts.os.id} ID_LIKE={' '.join(facts.os.like)}" if facts.os else "",
            )
        elif missing and world.cluster.packages == "preinstalled":
            yield kinds.PACKAGE_MISSING.at(
                facts.name,
                f"{words} not installed, and the cluster file says packages: preinstalled",
                f"install {words} on {facts.name}, or set packages: install",
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


def unreadable(world: World) -> Iterator[Finding]:
    """What could not be found out must not pass for 'there is nothing'."""
    for facts in world.load_balancers:
        for line in facts.unanswered:
            yield kinds.UNREADABLE.at(
                facts.name, f"a question got no answer: {line}", "install what is missing there"
            )
        for path in REPLACED:
            state = facts.files.get(path)
            if state is not None and state.exists and (state.content is None or state.link):
                why = state.error or f"it is a symbolic link to {state.link}"
                yield kinds.UNREADABLE.at(
                    facts.name,
                    f"{path} cannot be replaced, for it could not be put back: {why}",
                    "move it away",
                )


def masked(world: World) -> Iterator[Finding]:
    for facts in world.load_balancers:
        for unit in facts.units.values():
            if unit.masked:
                yield kinds.MASKED.at(
                    facts.name,
                    f"{unit.name} is masked by somebody",
                    f"if that is no longer wanted: systemctl unmask {unit.name}",
                )


def stale_vip(world: World) -> Iterator[Finding]:
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        unit = facts.units.get("keepalived.service")
        if unit is not None and unit.active:
            continue
        for seen in facts.addresses or ():
            if seen.address.ip == vip:
                yield kinds.STALE_VIP.at(
                    facts.name,
                    f"{vip} is on {seen.interface}, but keepalived does not run there",
                    f"if nothing else manages it: ip address del {seen.address} dev"
                    f" {seen.interface}",
                )


def two_holders(world: World) -> Iterator[Finding]:
    """With two holders there is no order in which a change could be made."""
    if len(world.holders) > 1:
        yield kinds.TWO_HOLDERS.at(
            "",
            f"{world.cluster.endpoint.vip} is on {' and '.join(world.holders)} at once",
            "see what is wrong with kubeha verify; mend that first",
        )


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


def left_behind(world: World) -> Iterator[Finding]:
    """Once the others have forgotten it, it hears nothing and takes the VIP as well."""
    for address, seen in world.strangers.items():
        if isinstance(seen, Unreachable):
            found = kinds.LEFT_BEHIND.at(
                "",
                f"{address} is still a peer, is not in the cluster file, and cannot be asked:"
                f" {seen.reason}",
                "if it ever comes back: systemctl disable --now keepalived haproxy there first",
            )
            yield replace(found, severity=Severity.WARNING)
        elif (unit := seen.units.get("keepalived.service")) and unit.active:
            yield kinds.LEFT_BEHIND.at(
                "",
                f"{address} is not in the cluster file any more, but its keepalived runs",
                f"on {address}: systemctl disable --now keepalived haproxy",
            )


def router_change(world: World) -> Iterator[Finding]:
    """Changed node by node, the nodes would not understand each other: two holders, or none."""
    cluster = world.cluster
    several = len(cluster.load_balancer_nodes) > 1
    for facts in world.load_balancers:
        text = facts.text_of(paths.KEEPALIVED_CONFIG)
        unit = facts.units.get("keepalived.service")
        if text is None or not is_ours(text) or unit is None or not unit.active:
            continue
        now = keepalived.identity(text)
        vips = keepalived.virtual_addresses(text)
        unicast = cluster.vrrp.mode == "unicast" and several
        changes = [
            f"vrrp.vrid {now.vrid} -> {cluster.vrrp.vrid}"
            if cluster.vrrp.vrid not in (None, now.vrid) else "",
            f"endpoint.vip {vips[0]} -> {cluster.endpoint.vip}"
            if vips and cluster.endpoint.vip not in vips else "",
            f"{'unicast' if now.unicast else 'multicast'} -> {'uni' if unicast else 'multi'}cast"
            if now.unicast != unicast else "",
        ]  # fmt: skip
        if words := ", ".join(change for change in changes if change):
            yield kinds.ROUTER_CHANGE.at(
                facts.name,
                f"{words}: changed node by node, two nodes would hold a VIP, or none",
                "take the value back; or plan an interruption: systemctl stop keepalived on every"
                " load balancer node, then kubeha apply",
                f"{paths.KEEPALIVED_CONFIG} there",
            )


def vip_taken(world: World) -> Iterator[Finding]:
    """The VIP answers on the wire although none of our nodes has it."""
    lost = {node.name for node in world.unreachable}
    if world.holders or lost & {node.name for node in world.cluster.load_balancer_nodes}:
        # Then the answer may be our own holder's; its MAC address is not known.
        return
    for mac, nodes in sorted(world.heard().items()):
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
        named = world.cluster.interface_of(node)
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
        named = world.cluster.interface_of(node)
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
            ours = "haproxy.service" in facts.units and facts.units["haproxy.service"].active
            if listener.port == port and not (ours and listener.program == "haproxy"):
                yield kinds.PORT_TAKEN.at(
                    facts.name,
                    f"port {port} is in use by {listener.program or 'a program'},"
                    " which haproxy.service did not start",
                    "stop it there (a container?), or choose another endpoint.port",
                    f"{listener.address}:{listener.port} {listener.program}",
                )


def cluster_ca(world: World) -> Iterator[Finding]:
    cas = world.cas()
    if not world.control_plane:
        return
    bad = [name for name, text in cas.items() if not has_certificate(text)]
    for name in bad:
        yield kinds.UNREADABLE.at(
            name,
            f"{world.cluster.kubernetes.ca} holds no certificate",
            "correct kubernetes.ca in the cluster file, or the file on the node",
        )
    checked = [f.name for f in world.load_balancers if is_ours(f.text_of(paths.CA_FILE))]
    if not cas and checked:
        yield kinds.CA_GONE.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca}, but HAProxy on"
            f" {', '.join(checked)} checks with a CA: an apply would go back to TCP checks",
            "correct kubernetes.ca in the cluster file",
        )
    elif not cas:
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
    unreadable,
    masked,
    disk,
    read_only,
    stale_vip,
    two_holders,
    router_change,
    left_behind,
    vip_taken,
    vip_subnet,
    named_interface,
    port_taken,
    cluster_ca,
)


def preflight(world: World) -> tuple[Finding, ...]:
    """Every finding that speaks against an apply, in the order of the checks."""
    return tuple(finding for check in CHECKS for finding in check(world))
