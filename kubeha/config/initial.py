"""The first cluster file, written by `kubeha init`: the least that works, and comments."""

import re
from collections.abc import Sequence

from kubeha import vrrp
from kubeha.config.parse import judge
from kubeha.errors import ConfigError
from kubeha.model import Node
from kubeha.templates import Quoted, fill

_PLAIN = re.compile(r"[a-z][a-z0-9-]*|[0-9]+(\.[0-9]+){3}")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def render_initial(
    cluster: str,
    vip: str,
    control_plane: Sequence[tuple[str, str]],
    *,
    port: int = 8443,
    load_balancers: Sequence[tuple[str, str]] = (),
) -> str:
    """A commented cluster file that loads. Nodes are pairs of name and address.

    Raises ConfigError with every problem of the values.
    """
    tree = {
        "cluster": cluster,
        "endpoint": {"vip": vip, "port": port},
        "control_plane": tuple({"name": n, "address": a} for n, a in control_plane),
    }
    if load_balancers:
        tree["load_balancers"] = tuple({"name": n, "address": a} for n, a in load_balancers)
    loaded, found = judge(tree)
    if loaded is None or found:
        raise ConfigError(
            "no cluster file can be written from these values",
            problems=tuple(problem.text() for problem in found),
            hint="see: kubeha init --help",
        )
    return fill(
        "kubeha.yaml.j2",
        cluster=_word(loaded.cluster),
        vip=_word(str(loaded.endpoint.vip)),
        port=loaded.endpoint.port,
        control_plane=_words(loaded.control_plane),
        load_balancers=_words(loaded.load_balancer_nodes if load_balancers else ()),
        vrid=vrrp.derived_vrid(loaded.endpoint.vip),
    )


def _words(nodes: Sequence[Node]) -> list[dict[str, str | Quoted]]:
    return [{"name": _word(node.name), "address": _word(str(node.address))} for node in nodes]


def _word(text: str) -> str | Quoted:
    """The text as YAML needs it: in quotes where it would be read as something else than text."""
    return text if _PLAIN.fullmatch(text) and text not in _YAML_WORDS else Quoted(text)
