"""Reads the cluster file that the command line names."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kubeha.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from kubeha.model import Cluster, Node


def load(context: typer.Context, *, ignore: Sequence[str] = (), warn: bool = True) -> "Cluster":
    """The cluster of `-f FILE`, with what `--ignore` adds to it.

    `warn`: its warnings go to stderr; verbs that check give them as findings (KH101) instead.
    Raises ConfigError with every problem, or the reason why the file cannot be read, and
    UsageError for an `--ignore` that makes no sense.
    """
    from kubeha.config import parse

    name: str = context.obj["file"]
    loaded = parse(read(name), name)
    for warning in loaded.warnings if warn else ():
        print(f"warning: {warning}", file=sys.stderr)
    if loaded.cluster.load_balancers == "external":
        raise UsageError(
            f"{name}: load_balancers: external is reserved: there is nothing for kubeha to run",
            hint="name the machines that shall run HAProxy and keepalived, or leave it out",
        )
    cluster = beside(loaded.cluster, Path(name).resolve().parent)
    return ignoring(cluster, ignore) if ignore else cluster


def ignoring(cluster: "Cluster", values: Sequence[str]) -> "Cluster":
    """The cluster with the findings that `--ignore` names; they come before those of the file."""
    from kubeha.cli.options import ignores

    names = [node.name for node in (*cluster.nodes, *cluster.clients)]
    wanted = ignores(values)
    for each in wanted:
        if each.node and each.node not in names:
            close = get_close_matches(each.node, names, n=1)
            raise UsageError(
                f"--ignore {each.words}: there is no node {each.node} in the cluster file",
                hint=f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}",
            )
    return cluster.model_copy(update={"ignore": (*wanted, *cluster.ignore)})


def beside(cluster: "Cluster", directory: Path) -> "Cluster":
    """The cluster with relative paths of SSH configurations taken from the file's directory."""

    def resolved(path: str | None) -> str | None:
        return path if path is None or path.startswith("~") else str(directory / path)

    def with_path(node: "Node") -> "Node":
        if node.ssh is None:
            return node
        ssh = node.ssh.model_copy(update={"config": resolved(node.ssh.config)})
        return node.model_copy(update={"ssh": ssh})

    ssh = cluster.ssh.model_copy(update={"config": resolved(cluster.ssh.config)})
    changes: dict[str, object] = {
        "ssh": ssh,
        "control_plane": tuple(map(with_path, cluster.control_plane)),
        "clients": tuple(map(with_path, cluster.clients)),
    }
    if not isinstance(cluster.load_balancers, str):
        changes["load_balancers"] = tuple(map(with_path, cluster.load_balancers))
    return cluster.model_copy(update=changes)


def read(name: str) -> bytes:
    """The file's bytes, at most a little more than a cluster file may have."""
    from kubeha.config import LARGEST_FILE

    try:
        with open(name, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{name}: there is no such file",
            hint="write one with: kubeha init --cluster NAME --vip ADDRESS m1=ADDRESS m2=ADDRESS "
            "m3=ADDRESS, or name another with -f",
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory", hint="name the file in it with -f") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
