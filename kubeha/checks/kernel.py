"""What the kernel grants keepalived and HAProxy, and what it does with packets to the VIP."""

from collections.abc import Iterator

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.facts import NodeFacts
from kubeha.facts.machine import Process
from kubeha.systemd import descriptors
from kubeha.world import World, is_ours

STRICT = 1
# arp_ignore (ip-sysctl.rst): 8 answers nobody. 2 answers senders in the subnet of the address asked
# for, and the node's own address on that interface counts: tried, the VIP is answered.
MUTE = (8,)
# HAProxy's own descriptors beside two for each connection: listeners, checks, logs, pipes.
HAPROXY_ITSELF = 100


def reverse_path(world: World) -> Iterator[Finding]:
    """Strict filtering drops clients whose way back leads through another interface."""
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        interface = world.vip_interface(facts)
        if facts.machine is None or interface is None or vip.version != 4:
            continue
        kernel = facts.machine.kernel
        ways = kernel.default_devices
        if kernel.strictest("rp_filter", interface) == STRICT and ways and interface not in ways:
            yield kinds.REVERSE_PATH.at(
                facts.name,
                f"strict reverse path filtering on {interface} drops clients from other networks:"
                f" the way back to them is the default route, through {ways[0]}",
                f"loose filtering is enough: sysctl -w net.ipv4.conf.{interface}.rp_filter=2, and"
                " the same line in /etc/sysctl.d/; or a route to these clients through"
                f" {interface}",
                f"rp_filter={STRICT} on {interface}, default route through {', '.join(ways)}",
            )


def muted_vip(world: World) -> Iterator[Finding]:
    """Settings with which this node would hold the VIP and nobody could reach it."""
    vip = world.cluster.endpoint.vip
    for facts in world.load_balancers:
        interface = world.vip_interface(facts)
        if facts.machine is None or interface is None:
            continue
        name = "arp_ignore" if vip.version == 4 else "disable_ipv6"
        value = facts.machine.kernel.strictest(name, interface)
        if value in (MUTE if vip.version == 4 else (1,)):
            family = "ipv4" if vip.version == 4 else "ipv6"
            reason = "answers no ARP for" if vip.version == 4 else "cannot have"
            yield kinds.MUTED_VIP.at(
                facts.name,
                f"with {name}={value} on {interface} this node {reason} the VIP {vip}",
                f"sysctl -w net.{family}.conf.all.{name}=0 net.{family}.conf.{interface}.{name}=0"
                " (arp_ignore=1 is fine, too), and in /etc/sysctl.d/ where it is set",
                f"net.{family}.conf.{{all,{interface}}}.{name}, the greater of both: {value}",
            )


def file_descriptors(world: World) -> Iterator[Finding]:
    """Somebody else's drop-in, or the kernel, allows HAProxy fewer files than it needs to start."""
    most = world.cluster.haproxy.max_connections
    needed = 2 * most + HAPROXY_ITSELF
    ours = paths.HAPROXY_DROP_IN.rpartition("/")[2]
    for facts in world.load_balancers:
        if facts.machine is None:
            continue
        limits = facts.machine.programs.file_limits
        later = [one for one in limits if one.path.rpartition("/")[2] > ours]
        if later and later[-1].files is not None and later[-1].files < needed:
            yield kinds.FEW_DESCRIPTORS.at(
                facts.name,
                f"{later[-1].path} lets HAProxy open {later[-1].files} files, it needs {needed} for"
                f" {most} connections and would not start",
                "take LimitNOFILE= out of it, then: systemctl daemon-reload; or lower"
                " haproxy.max_connections",
                f"LimitNOFILE={later[-1].files}, read after {ours}",
            )
        highest = facts.machine.kernel.open_files
        if highest is not None and highest < descriptors(world.cluster):
            yield kinds.FEW_DESCRIPTORS.at(
                facts.name,
                f"the kernel lets no process open more than {highest} files, HAProxy's unit asks"
                f" for {descriptors(world.cluster)}",
                "sysctl -w fs.nr_open=1048576, and in /etc/sysctl.d/; or lower"
                " haproxy.max_connections",
                f"fs.nr_open = {highest}",
            )


def real_time(world: World) -> Iterator[Finding]:
    """keepalived at work without the priority that its unit asked for."""
    for facts in world.load_balancers:
        workers = _workers(facts)
        if workers and not any(process.real_time for process in workers):
            yield kinds.NOT_REAL_TIME.at(
                facts.name,
                "keepalived has no real-time priority although its unit asks for it: a busy machine"
                " may look like a dead one and lose the VIP",
                "in a container: grant CAP_SYS_NICE; with cgroup v1 and RT_GROUP_SCHED:"
                " sysctl -w kernel.sched_rt_runtime_us=-1; then systemctl restart keepalived on"
                " nodes that do not hold the VIP, the holder last",
                f"chrt -p {workers[0].pid} says SCHED_OTHER",
            )


def inotify(world: World) -> Iterator[Finding]:
    """A keepalived that watches no file: it does not see a HAProxy that ends, nor a drain."""
    for facts in world.load_balancers:
        workers = _workers(facts)
        if workers and not any(process.inotify for process in workers):
            error = facts.machine.inotify_error if facts.machine else None
            yield kinds.NO_INOTIFY.at(
                facts.name,
                "keepalived watches none of its files: it sees neither a drain nor at once that"
                " HAProxy has ended",
                "sysctl -w fs.inotify.max_user_instances=8192, and in /etc/sysctl.d/; then"
                " systemctl restart keepalived",
                f"no inotify instance in process {workers[0].pid}"
                + (f"; a new one is refused: {error}" if error else ""),
            )


def _workers(facts: NodeFacts) -> list[Process]:
    """The processes that speak VRRP: children of the main process of a keepalived set up by us."""
    unit = facts.units.get("keepalived.service")
    ours = is_ours(facts.text_of(paths.KEEPALIVED_DROP_IN))
    if not ours or unit is None or not unit.active or facts.machine is None:
        return []
    return [one for one in facts.machine.processes or () if one.parent == unit.main_pid]
