"""`kubeha render`: the files of every load balancer node, for people who deploy them otherwise."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kubeha.cli.cluster_file import load
from kubeha.errors import UsageError

if TYPE_CHECKING:
    from kubeha.desired import DesiredFile, Site
    from kubeha.model import Cluster, Node


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("render")(render)


def render(
    context: typer.Context,
    output: str = typer.Option(
        ...,
        "-o",
        "--output",
        metavar="DIRECTORY",
        help="Directory to write to, one per node in it.",
    ),
    interface: str = typer.Option(
        "", help="Interface of the VIP on nodes for which the cluster file names none."
    ),
    ca: str = typer.Option(
        "", metavar="FILE", help="The cluster's CA (PEM); without it, TCP checks only (bootstrap)."
    ),
) -> None:
    """Write the files of every load balancer node to a directory."""
    from kubeha.desired import desired_node

    cluster = load(context)
    pem = _read(ca) if ca else None
    directory = Path(output)
    for node in cluster.load_balancer_nodes:
        site = _site(cluster, node, interface, pem)
        for file in desired_node(cluster, node.name, site).files:
            _write(directory / node.name, file)
        print(f"wrote {directory / node.name}", file=sys.stderr)


def _site(cluster: "Cluster", node: "Node", interface: str, ca: str | None) -> "Site":
    """What the nodes would tell, from the command line instead."""
    from kubeha.desired import Site
    from kubeha.model import is_interface
    from kubeha.vrrp import derived_vrid

    name = cluster.interface_of(node) or interface
    if not is_interface(name):
        raise UsageError(
            f"{name}: not an interface name" if name else f"no interface is known for {node.name}",
            hint="name it with --interface, or vrrp.interface in the cluster file",
        )
    return Site(name, cluster.vrrp.vrid or derived_vrid(cluster.endpoint.vip), ca)


def _write(root: Path, file: "DesiredFile") -> None:
    path = root / file.path.removeprefix("/")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, encoding="utf-8")
        path.chmod(file.mode)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
