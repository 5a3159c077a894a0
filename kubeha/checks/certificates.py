"""The CA and the certificates of the cluster."""

from collections.abc import Iterator

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding
from kubeha.world import World, has_certificate, is_ours


def cluster_ca(world: World) -> Iterator[Finding]:
    cas = world.cas()
    if not world.control_plane:
        return
    bad = [name for name, text in cas.items() if not has_certificate(text)]
    for name in bad:
        yield kinds.UNREADABLE.at(
            name,
            f"{world.cluster.kubernetes.ca} holds no certificate",
            "correct kubernetes.ca in the cluster file, or the file on the node",
        )
    checked = [f.name for f in world.load_balancers if is_ours(f.text_of(paths.CA_FILE))]
    if not cas and checked:
        yield kinds.CA_GONE.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca}, but HAProxy on"
            f" {', '.join(checked)} checks with a CA: an apply would go back to TCP checks",
            "correct kubernetes.ca in the cluster file",
        )
    elif not cas:
        yield kinds.NO_CA.at(
            "",
            f"no control plane node has {world.cluster.kubernetes.ca} yet",
            "go on (kubeadm init can use the endpoint now), then run kubeha apply once more",
        )
    elif len({text.strip() for text in cas.values()}) > 1:
        yield kinds.CAS_DIFFER.at(
            "",
            "control plane nodes have different cluster CAs: " + ", ".join(sorted(cas)),
            "these nodes belong to different clusters: correct control_plane",
        )
