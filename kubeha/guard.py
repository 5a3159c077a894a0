"""Programs that stay on nodes (node/guard, node/handover) and what they need there.

Knows nothing of what they do.
"""

import json
from functools import cache
from importlib.resources import files

from kubeha import joining, paths
from kubeha.model import Cluster, Node
from kubeha.templates import MARK, fill

_HEAD = f"#!/usr/bin/python3 -ISE\n# {MARK}. Changes made here are lost at the next apply.\n"


@cache
def program(name: str) -> str:
    """The text of a program that stays on the nodes: one file there, a package here."""
    place = files("kubeha.node").joinpath(name)
    modules = [each for each in place.iterdir() if each.name.endswith(".py")]
    texts = {each.name.removesuffix(".py"): each.read_text(encoding="utf-8") for each in modules}
    return _HEAD + joining.join(f"kubeha.node.{name}", texts)


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
        table=paths.GUARD_TABLE,
    )
