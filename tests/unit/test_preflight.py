"""What speaks against an apply, each with what it says."""

import hashlib
from dataclasses import replace

import pytest
from worlds import CA, DEBIAN, addresses, bare, cluster, text_file

from kubeha import paths
from kubeha.checks.finding import Finding, Severity
from kubeha.checks.preflight import preflight
from kubeha.facts import Listener, NodeFacts, Os, Unreachable
from kubeha.model import Cluster
from kubeha.remote import FileState
from kubeha.world import World

OF = cluster()


def world(of: Cluster = OF, **changes: NodeFacts | Unreachable) -> World:
    """Bare machines with a CA on m1, some of them changed."""
    nodes = {node.name: bare(node.name, str(node.address)) for node in of.control_plane}
    return World(of, {**nodes, "m1": with_file(nodes["m1"], ca()), **changes})


def ca(text: str = CA) -> FileState:
    return text_file(OF.kubernetes.ca, text)


def with_file(facts: NodeFacts, state: FileState) -> NodeFacts:
    return replace(facts, files={**facts.files, state.path: state})


def m2(**changes: object) -> NodeFacts:
    return replace(bare("m2", "198.51.100.12"), **changes)  # type: ignore[arg-type]


def only(found: tuple[Finding, ...]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def test_bare_debian_machines_are_fine() -> None:
    assert preflight(world()) == ()


def test_an_unreachable_node() -> None:
    lost = Unreachable("m2", "connection refused by 198.51.100.12:22", "start sshd there")
    found = only(preflight(world(m2=lost)))
    assert (found.code, found.node, found.severity) == ("KH201", "m2", Severity.ERROR)
    assert found.message == "connection refused by 198.51.100.12:22"
    assert found.fix == "start sshd there"


def test_a_machine_without_systemd() -> None:
    found = only(preflight(world(m2=m2(systemd=False))))
    assert (found.code, found.node) == ("KH202", "m2")
    assert found.message == "this machine was not booted with systemd"


@pytest.mark.parametrize(
    ("os", "code"),
    [
        (Os("rocky", ("rhel", "fedora"), "9.4", "Rocky Linux 9.4"), "KH203"),
        (Os("alpine", (), "3.20", "Alpine Linux"), "KH203"),
        (Os("ubuntu", ("debian",), "24.04", "Ubuntu 24.04"), None),
        (DEBIAN, None),
    ],
    ids=["rocky", "alpine", "ubuntu", "debian"],
)
def test_packages_are_installed_on_the_debian_family_only(os: Os, code: str | None) -> None:
    found = preflight(world(m2=m2(os=os)))
    assert [finding.code for finding in found] == ([code] if code else [])
    if code:
        assert found[0].message.startswith(os.pretty_name)
        assert "packages: preinstalled" in found[0].fix


def test_preinstalled_packages_have_to_be_there_on_any_distribution() -> None:
    of = cluster(packages="preinstalled")
    rocky = Os("rocky", ("rhel",), "9.4", "Rocky Linux 9.4")
    there = {"haproxy": "2.4", "keepalived": "2.2.8"}
    nodes = {name: replace(facts, packages=there) for name, facts in world(of).nodes.items()}  # type: ignore[type-var]
    assert preflight(World(of, {**nodes, "m2": m2(os=rocky, packages=there)})) == ()
    found = only(preflight(World(of, {**nodes, "m2": m2(packages={"haproxy": "2.4"})})))
    assert found.code == "KH204"
    assert found.message == (
        "keepalived not installed, and the cluster file says packages: preinstalled"
    )


def test_a_foreign_configuration_is_in_the_way() -> None:
    foreign = text_file(paths.HAPROXY_CONFIG, "# our own\nglobal\n    daemon\nfrontend x\n")
    found = only(preflight(world(m2=with_file(m2(), foreign))))
    assert (found.code, found.node) == ("KH205", "m2")
    assert found.message == "/etc/haproxy/haproxy.cfg was not written by kubeha"
    assert "--adopt" in found.fix
    assert found.evidence == "# our own / global / daemon"


def test_what_the_package_ships_and_what_kubeha_wrote_is_not_foreign() -> None:
    shipped = "global\n    log /dev/log\n"
    digest = hashlib.md5(shipped.encode(), usedforsecurity=False).hexdigest()
    state = text_file(paths.HAPROXY_CONFIG, shipped)
    pristine = replace(with_file(m2(), state), conffiles={state.path: digest})
    assert preflight(world(m2=pristine)) == ()
    ours = text_file(paths.HAPROXY_CONFIG, "# Written by kubeha for node m2.\nglobal\n")
    assert preflight(world(m2=with_file(m2(), ours))) == ()


def test_too_little_space() -> None:
    found = only(preflight(world(m2=m2(free_bytes={"/": 100 * 1024 * 1024}))))
    assert found.code == "KH206"
    assert found.message == "/ has 100 MiB free, 300 MiB are needed"


def test_an_installed_node_needs_little_space() -> None:
    there = m2(
        packages={"haproxy": "2.6", "keepalived": "2.2"}, free_bytes={"/": 100 * 1024 * 1024}
    )
    assert preflight(world(m2=there)) == ()


def test_a_read_only_etc() -> None:
    found = only(preflight(world(m2=m2(etc_writable=False))))
    assert (found.code, found.node) == ("KH207", "m2")
    assert found.message == "/etc cannot be written to: its file system is mounted read-only"


def test_a_vrid_that_is_not_the_deployed_one() -> None:
    text = "# Written by kubeha for node m2.\nvrrp_instance kubeha {\n    virtual_router_id 10\n}\n"
    deployed = with_file(m2(), text_file(paths.KEEPALIVED_CONFIG, text))
    of = OF.model_copy(update={"vrrp": OF.vrrp.model_copy(update={"vrid": 51})})
    found = only(preflight(world(of, m2=deployed)))
    assert found.code == "KH405"
    assert found.message.startswith("virtual router id 10 is deployed, the cluster file says 51")
    assert found.fix == "put vrrp.vrid: 10 into the cluster file"
    same = OF.model_copy(update={"vrrp": OF.vrrp.model_copy(update={"vrid": 10})})
    assert preflight(world(same, m2=deployed)) == ()


def test_a_vip_that_a_stranger_answers_for() -> None:
    heard = {"m1": ("02:00:00:00:00:99",), "m2": ("02:00:00:00:00:99",), "m3": ()}
    found = only(preflight(replace(world(), vip_answers=heard)))
    assert (found.code, found.node) == ("KH301", "")
    assert "02:00:00:00:00:99" in found.message
    assert found.evidence == "it answered m1, m2"


def test_a_vip_that_our_own_node_answers_for_is_no_stranger() -> None:
    holder = m2(addresses=addresses("198.51.100.12", "198.51.100.10/32"))
    heard = {"m1": ("02:00:00:00:00:02",), "m3": ("02:00:00:00:00:02",)}
    assert preflight(replace(world(m2=holder), vip_answers=heard)) == ()


def test_a_vip_outside_the_nodes_subnet() -> None:
    found = only(preflight(world(m2=m2(addresses=addresses("192.0.2.12")))))
    assert (found.code, found.node) == ("KH302", "m2")
    assert "198.51.100.10" in found.message and found.evidence == "eth0 192.0.2.12/24"


def test_a_named_interface_that_is_not_there() -> None:
    of = OF.model_copy(update={"vrrp": OF.vrrp.model_copy(update={"interface": "bond0"})})
    found = preflight(world(of))
    assert {finding.code for finding in found} == {"KH302"} and len(found) == 3
    assert "bond0" in found[0].message and found[0].evidence == "eth0"


def test_a_port_in_use() -> None:
    taken = m2(listeners=(Listener("*", 8443, "nginx"),))
    found = only(preflight(world(m2=taken)))
    assert (found.code, found.message) == ("KH303", "port 8443 is in use by nginx")
    ours = m2(listeners=(Listener("*", 8443, "haproxy"),))
    assert preflight(world(m2=ours)) == ()


def test_no_ca_yet_is_a_warning_that_says_how_to_go_on() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.control_plane}
    found = only(preflight(World(OF, nodes)))
    assert (found.code, found.severity) == ("KH602", Severity.WARNING)
    assert "kubeadm init" in found.fix


def test_two_clusters_in_one_file() -> None:
    other = with_file(m2(), ca(CA.replace("MIIB", "MIIC")))
    found = only(preflight(world(m2=other)))
    assert found.code == "KH608"
    assert "m1, m2" in found.message
