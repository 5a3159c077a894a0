"""What the cluster file alone shows: nodes whose loss nothing makes good."""

from collections.abc import Iterator

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.model import Node
from kubeha.world import World


def single_nodes(world: World) -> Iterator[Finding]:
    """One of a kind is no high availability, however well it is set up."""
    balancers, servers = world.cluster.load_balancer_nodes, world.cluster.control_plane
    if len(balancers) == 1:
        yield kinds.FILE_WARNING.at(
            "",
            f"only one load balancer node, {balancers[0].name}: when it fails, nothing takes the"
            " VIP over and the endpoint is gone until it is back",
            "name two or more, in control_plane or in load_balancers",
            _listed("load balancer nodes", balancers),
        )
    if len(servers) == 1:
        yield kinds.FILE_WARNING.at(
            "",
            f"only one control plane node, {servers[0].name}: when it fails, the endpoint leads to"
            " no API server",
            "join more control plane nodes to the cluster (three, for etcd to survive the loss of"
            " one), name them in control_plane, then: kubeha apply",
            _listed("control_plane", servers),
        )


def _listed(what: str, nodes: tuple[Node, ...]) -> str:
    return f"{what}: " + ", ".join(f"{node.name} {node.address}" for node in nodes)
