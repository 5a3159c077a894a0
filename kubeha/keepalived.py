"""keepalived: renders its configuration. Knows nothing of HAProxy but the file that tells of it."""

from kubeha import paths, vrrp
from kubeha.model import Cluster, Node
from kubeha.templates import fill

INSTANCE = "kubeha"


def render_config(cluster: Cluster, node: Node, *, interface: str, vrid: int) -> str:
    """keepalived.conf of a load balancer node."""
    nodes = cluster.load_balancer_nodes
    index = nodes.index(node)
    peers = [str(peer.address) for peer in nodes if peer.name != node.name]
    return fill(
        "keepalived.conf.j2",
        name=node.name,
        address=str(node.address),
        # A single load balancer node has no peer to send to.
        unicast=cluster.vrrp.mode == "unicast" and bool(peers),
        peers=peers,
        interface=interface,
        vrid=vrid,
        priority=vrrp.base_priorities(len(nodes))[index],
        bonus=vrrp.holder_bonus(len(nodes), index),
        drain=vrrp.DRAIN,
        hung=vrrp.HUNG,
        advert_interval=f"{cluster.vrrp.advert_interval:g}",
        vip=str(cluster.endpoint.vip),
        prefix=cluster.endpoint.vip.max_prefixlen,
        instance=INSTANCE,
        check_script=paths.ADMIN_SCRIPT,
        holder_script=paths.HOLDER_SCRIPT,
        haproxy_file=paths.HAPROXY_FILE,
        holder_file=paths.HOLDER_FILE,
        drain_file=paths.DRAIN_FILE,
    )


def render_holder_script() -> str:
    """The script that keepalived runs at each change of state; see its own text."""
    return fill("holder.sh.j2", holder_file=paths.HOLDER_FILE)
