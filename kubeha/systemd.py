"""systemd: drop-ins for both services, tmpfiles.d, the environment file.

No sysctl.d file is needed: HAProxy is bound to any address, so no ip_nonlocal_bind; the VIP has a
host prefix, so no promote_secondaries; arp_ignore and friends would change what other programs on
the node (CNI plugins, IPVS) count on. The one kernel limit that matters (inotify instances) is
raised by keepalived's unit, because sysctl.d could only set it, and so might lower it.
"""

from kubeha import paths, vrrp
from kubeha.model import Cluster
from kubeha.templates import fill

# Checks, listeners, the admin socket, log sockets, and the old process's during a reload.
DESCRIPTORS_BESIDE_CONNECTIONS = 1000
INOTIFY_LIMIT = "/proc/sys/fs/inotify/max_user_instances"


def descriptors(cluster: Cluster) -> int:
    """How many files HAProxy's unit lets it open (LimitNOFILE)."""
    return 2 * cluster.haproxy.max_connections + DESCRIPTORS_BESIDE_CONNECTIONS


def render_haproxy_drop_in(cluster: Cluster) -> str:
    """What haproxy.service gets on top of the package's unit."""
    return fill(
        "haproxy-drop-in.conf.j2",
        nofile=descriptors(cluster),
        tmpfiles=paths.TMPFILES,
        haproxy_file=paths.HAPROXY_FILE,
        state_file=paths.SERVER_STATE_FILE,
        admin_script=paths.ADMIN_SCRIPT,
    )


def render_keepalived_drop_in(cluster: Cluster, *, interface: str) -> str:
    """What keepalived.service gets on top of the package's unit."""
    return fill(
        "keepalived-drop-in.conf.j2",
        env_file=paths.KEEPALIVED_ENV,
        tmpfiles=paths.TMPFILES,
        interface=interface,
        vip=str(cluster.endpoint.vip),
        prefix=cluster.endpoint.vip.max_prefixlen,
        holder_file=paths.HOLDER_FILE,
        fresh_file=paths.FRESH_FILE,
        inotify_limit=INOTIFY_LIMIT,
    )


def render_tmpfiles() -> str:
    """tmpfiles.d: the files under /run/kubeha with values that are safe until services write."""
    return fill(
        "tmpfiles.conf.j2",
        run_directory=paths.RUN_DIRECTORY,
        haproxy_file=paths.HAPROXY_FILE,
        holder_file=paths.HOLDER_FILE,
        fresh_file=paths.FRESH_FILE,
        aside_file=paths.ASIDE_FILE,
        guard_file=paths.GUARD_FILE,
        state_file=paths.SERVER_STATE_FILE,
        drain_file=paths.DRAIN_FILE,
        drain=vrrp.DRAIN,
    )


def render_env() -> str:
    """keepalived's command line options."""
    return fill("keepalived.env.j2")
