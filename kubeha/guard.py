"""The guard (node/guard.py): what a node needs for it. Knows nothing of what it does."""

import json
from importlib.resources import files

from kubeha import paths
from kubeha.model import Cluster, Node
from kubeha.templates import MARK, fill


def program(name: str) -> str:
    """The text of a program that stays on the nodes, as it is in this package."""
    return files("kubeha.node").joinpath(f"{name}.py").read_text(encoding="utf-8")


def render_settings(cluster: Cluster, node: Node, *, interface: str, vrid: int) -> str:
    """node.json: what the programs that stay on a node have to know of the cluster."""
    nodes = cluster.load_balancer_nodes
    settings = {
        "comment": f"{MARK}. Changes made here are lost at the next apply.",
        "cluster": cluster.cluster,
        "name": node.name,
        "address": str(node.address),
        "interface": interface,
        "vip": str(cluster.endpoint.vip),
        "prefix": cluster.endpoint.vip.max_prefixlen,
        "port": cluster.endpoint.port,
        "vrid": vrid,
        "advert_interval": cluster.vrrp.advert_interval,
        "rank": nodes.index(node),
        "peers": {peer.name: str(peer.address) for peer in nodes if peer != node},
    }
    return json.dumps(settings, indent=2) + "\n"


def render_unit() -> str:
    """kubeha-guard.service; see its own text."""
    return fill(
        "kubeha-guard.service.j2",
        program=paths.GUARD_PROGRAM,
        tmpfiles=paths.TMPFILES,
        run_directory=paths.RUN_DIRECTORY,
        guard_file=paths.GUARD_FILE,
        state_file=paths.GUARD_STATE,
    )
