"""The golden clusters: a cluster file each, and every file that is rendered from it.

A file that is the same on every node of a cluster is kept once, under `every-node`. Programs that
are the same in every cluster are not rendered, and not kept here.
"""

from pathlib import Path

from kubeha import paths
from kubeha.config import parse
from kubeha.desired import DesiredNode, Site, desired_node
from kubeha.model import Cluster
from kubeha.vrrp import derived_vrid

HERE = Path(__file__).parent
CLUSTERS = sorted(path.parent.name for path in HERE.glob("*/kubeha.yaml"))
WITHOUT_CA = {"bootstrap"}
PROGRAMS = {paths.GUARD_PROGRAM, paths.HANDOVER_PROGRAM}


def cluster_of(name: str) -> Cluster:
    """The cluster of a golden cluster file."""
    return parse((HERE / name / "kubeha.yaml").read_bytes(), f"{name}/kubeha.yaml").cluster


def nodes_of(name: str) -> list[DesiredNode]:
    """What its load balancer nodes should have, on machines whose interface is eth0."""
    cluster = cluster_of(name)
    ca = None if name in WITHOUT_CA else (HERE / "ca.pem").read_text()
    vrid = cluster.vrrp.vrid or derived_vrid(cluster.endpoint.vip)
    return [
        desired_node(cluster, node.name, Site(cluster.interface_of(node) or "eth0", vrid, ca))
        for node in cluster.load_balancer_nodes
    ]


def rendered(name: str) -> dict[str, str]:
    """`node/path` (or `every-node/path`) -> content."""
    nodes = nodes_of(name)
    files: dict[str, str] = {}
    for path in sorted({file.path for node in nodes for file in node.files} - PROGRAMS):
        texts = {n.name: f.content for n in nodes for f in n.files if f.path == path}
        if len(set(texts.values())) == 1 and len(texts) == len(nodes):
            files[f"every-node{path}"] = next(iter(texts.values()))
        else:
            files |= {f"{node}{path}": text for node, text in texts.items()}
    return files
