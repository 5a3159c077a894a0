"""What speaks against an apply, each with what it says."""

import hashlib
from dataclasses import replace

import pytest
from worlds import CA, DEBIAN, addresses, bare, cluster, text_file, unit

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


@pytest.mark.provokes("KH201")
def test_an_unreachable_node() -> None:
    lost = Unreachable("m2", "connection refused by 198.51.100.12:22", "start sshd there")
    found = only(preflight(world(m2=lost)))
    assert (found.code, found.node, found.severity) == ("KH201", "m2", Severity.ERROR)
    assert found.message == "connection refused by 198.51.100.12:22"
    assert found.fix == "start sshd there"


@pytest.mark.provokes("KH202")
def test_a_machine_without_systemd() -> None:
    found = only(preflight(world(m2=m2(systemd=False))))
    assert (found.code, found.node) == ("KH202", "m2")
    assert found.message == "this machine was not booted with systemd"


@pytest.mark.provokes("KH203")
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
@pytest.mark.parametrize("packages", ["install", "preinstalled"])
def test_any_family_but_debians_is_refused(os: Os, code: str | None, packages: str) -> None:
    of = cluster(packages=packages)
    there = {"haproxy": "2.4", "keepalived": "2.2.8"}
    nodes = {
        name: replace(facts, packages=there)
        for name, facts in world(of).nodes.items()
        if isinstance(facts, NodeFacts)
    }
    found = preflight(World(of, {**nodes, "m2": m2(os=os, packages=there)}))
    assert [finding.code for finding in found] == ([code] if code else [])
    if code:
        name = os.pretty_name
        assert found[0].message == f"{name}: kubeha has been tried on the Debian family only"


@pytest.mark.provokes("KH204")
def test_preinstalled_packages_have_to_be_there() -> None:
    of = cluster(packages="preinstalled")
    found = [f for f in preflight(world(of)) if f.node == "m2"]
    assert [finding.code for finding in found] == ["KH204"]
    assert found[0].message == (
        "haproxy and keepalived not installed, and the cluster file says packages: preinstalled"
    )


@pytest.mark.provokes("KH205")
def test_a_foreign_configuration_is_in_the_way() -> None:
    foreign = text_file(paths.HAPROXY_CONFIG, "# our own\nglobal\n    daemon\nfrontend x\n")
    found = only(preflight(world(m2=with_file(m2(), foreign))))
    assert (found.code, found.node) == ("KH205", "m2")
    assert found.message == "/etc/haproxy/haproxy.cfg was not written by kubeha"
    assert "--adopt" in found.fix
    assert found.evidence == "# our own / global / daemon"


def test_the_first_lines_of_a_foreign_configuration_are_shown_without_a_secret() -> None:
    foreign = text_file(paths.KEEPALIVED_CONFIG, "$AUTH_PASS=Hunter2xyz\nvrrp_instance A {\n}\n")
    (found,) = [f for f in preflight(world(m2=with_file(m2(), foreign))) if f.code == "KH205"]
    assert found.evidence == "$AUTH_PASS=******** / vrrp_instance A { / }"


def test_what_the_package_ships_and_what_kubeha_wrote_is_not_foreign() -> None:
    shipped = "global\n    log /dev/log\n"
    digest = hashlib.md5(shipped.encode(), usedforsecurity=False).hexdigest()
    state = text_file(paths.HAPROXY_CONFIG, shipped)
    pristine = replace(with_file(m2(), state), conffiles={state.path: digest})
    assert preflight(world(m2=pristine)) == ()
    ours = text_file(paths.HAPROXY_CONFIG, "# Written by kubeha for node m2.\nglobal\n")
    assert preflight(world(m2=with_file(m2(), ours))) == ()


@pytest.mark.provokes("KH206")
def test_too_little_space() -> None:
    found = only(preflight(world(m2=m2(free_bytes={"/": 100 * 1024 * 1024}))))
    assert found.code == "KH206"
    assert found.message == "/ has 100 MiB free, 300 MiB are needed"


def test_an_installed_node_needs_little_space() -> None:
    there = m2(
        packages={"haproxy": "2.6", "keepalived": "2.2"}, free_bytes={"/": 100 * 1024 * 1024}
    )
    assert preflight(world(m2=there)) == ()


@pytest.mark.provokes("KH207")
def test_a_read_only_etc() -> None:
    found = only(preflight(world(m2=m2(etc_writable=False))))
    assert (found.code, found.node) == ("KH207", "m2")
    assert found.message == "/etc cannot be written to: its file system is mounted read-only"


def deployed(vrid: int = 10, vip: str = "198.51.100.10", unicast: bool = True) -> NodeFacts:
    peers = "unicast_peer {\n 198.51.100.11\n 198.51.100.13\n }\n" if unicast else ""
    text = (
        "# Written by kubeha for node m2.\nvrrp_instance kubeha {\n"
        f"virtual_router_id {vrid}\n{peers}virtual_ipaddress {{\n {vip}/32 dev eth0\n }}\n}}\n"
    )
    running = m2(units={"keepalived.service": unit("keepalived.service")})
    return with_file(running, text_file(paths.KEEPALIVED_CONFIG, text))


def vrrp(**changes: object) -> Cluster:
    return OF.model_copy(update={"vrrp": OF.vrrp.model_copy(update=changes)})


@pytest.mark.provokes("KH405")
@pytest.mark.parametrize(
    ("of", "facts", "words"),
    [
        (vrrp(vrid=51), deployed(), "vrrp.vrid 10 -> 51"),
        (OF, deployed(vip="198.51.100.20"), "endpoint.vip 198.51.100.20 -> 198.51.100.10"),
        (vrrp(mode="multicast"), deployed(), "unicast -> multicast"),
        (OF, deployed(unicast=False), "multicast -> unicast"),
    ],
    ids=["vrid", "vip", "to-multicast", "to-unicast"],
)
def test_another_virtual_router_is_not_rolled_out(
    of: Cluster, facts: NodeFacts, words: str
) -> None:
    found = only(preflight(world(of, m2=facts)))
    assert (found.code, found.node) == ("KH405", "m2")
    assert found.message.startswith(words)


def test_the_same_virtual_router_and_one_that_is_stopped_are_fine() -> None:
    assert preflight(world(vrrp(vrid=10), m2=deployed())) == ()
    stopped = replace(deployed(), units={})
    assert preflight(world(vrrp(vrid=51), m2=stopped)) == ()


@pytest.mark.provokes("KH409")
def test_a_node_that_left_the_file_has_to_be_stopped_first() -> None:
    text = deployed().files[paths.KEEPALIVED_CONFIG].content or ""
    file = text_file(paths.KEEPALIVED_CONFIG, text.replace("198.51.100.13", "198.51.100.14"))
    seen = world(m2=with_file(deployed(), file))
    assert [str(peer) for peer in seen.unknown_peers()] == ["198.51.100.14"]
    running = bare("198.51.100.14", "198.51.100.14")
    running = replace(running, units={"keepalived.service": unit("keepalived.service")})
    found = only(preflight(replace(seen, strangers={"198.51.100.14": running})))
    assert (found.code, found.severity) == ("KH409", Severity.ERROR)
    assert found.fix == "on 198.51.100.14: systemctl disable --now keepalived haproxy kubeha-guard"
    stopped = replace(running, units={})
    assert preflight(replace(seen, strangers={"198.51.100.14": stopped})) == ()
    dead = Unreachable("198.51.100.14", "no answer")
    assert only(preflight(replace(seen, strangers={dead.name: dead}))).severity is Severity.WARNING


@pytest.mark.provokes("KH301")
def test_a_vip_that_a_stranger_answers_for() -> None:
    heard = {"m1": ("02:00:00:00:00:99",), "m2": ("02:00:00:00:00:99",), "m3": ()}
    found = only(preflight(replace(world(), vip_answers=heard)))
    assert (found.code, found.node) == ("KH301", "")
    assert "02:00:00:00:00:99" in found.message
    assert found.evidence == "it answered m1, m2"


def test_a_vip_that_our_own_node_answers_for_is_no_stranger() -> None:
    holder = m2(
        addresses=addresses("198.51.100.12", "198.51.100.10/32"),
        units={"keepalived.service": unit("keepalived.service")},
    )
    heard = {"m1": ("02:00:00:00:00:02",), "m3": ("02:00:00:00:00:02",)}
    assert preflight(replace(world(m2=holder), vip_answers=heard)) == ()


@pytest.mark.provokes("KH201")
def test_a_vip_that_may_be_our_own_silent_nodes_is_no_stranger() -> None:
    """sshd on the holder is down: its MAC address is not known."""
    heard = {"m1": ("02:00:00:00:00:02",), "m3": ("02:00:00:00:00:02",)}
    silent = world(m2=Unreachable("m2", "connection refused"))
    assert only(preflight(replace(silent, vip_answers=heard))).code == "KH201"


@pytest.mark.provokes("KH408")
def test_a_vip_left_on_an_interface() -> None:
    stale = m2(addresses=addresses("198.51.100.12", "198.51.100.10/24"))
    found = only(preflight(world(m2=stale)))
    assert (found.code, found.node) == ("KH408", "m2")
    assert "ip address del 198.51.100.10/24 dev eth0" in found.fix


@pytest.mark.provokes("KH402")
def test_two_holders_before_a_change() -> None:
    units = {"keepalived.service": unit("keepalived.service")}
    both = {
        name: replace(
            bare(name, f"198.51.100.1{name[1]}"),
            addresses=addresses(f"198.51.100.1{name[1]}", "198.51.100.10/32"),
            units=units,
        )
        for name in ("m2", "m3")
    }
    assert only(preflight(world(**both))).code == "KH402"


@pytest.mark.provokes("KH210")
def test_a_question_without_an_answer() -> None:
    found = only(preflight(world(m2=m2(unanswered=("addresses: ip: not found",)))))
    assert (found.code, found.node) == ("KH210", "m2")
    assert found.message == "a question got no answer: addresses: ip: not found"


@pytest.mark.provokes("KH210")
def test_a_file_that_could_not_be_put_back() -> None:
    link = replace(
        text_file(paths.KEEPALIVED_CONFIG, "# Written by kubeha\n"), link="/srv/keepalived.conf"
    )
    found = only(preflight(world(m2=with_file(m2(), link))))
    assert found.code == "KH210" and "/srv/keepalived.conf" in found.message


@pytest.mark.provokes("KH211")
def test_a_service_that_somebody_masked() -> None:
    masked = {"haproxy.service": unit("haproxy.service", active=False, state="masked")}
    found = only(preflight(world(m2=m2(units=masked))))
    assert (found.code, found.message) == ("KH211", "haproxy.service is masked by somebody")


@pytest.mark.provokes("KH302")
def test_a_vip_outside_the_nodes_subnet() -> None:
    found = only(preflight(world(m2=m2(addresses=addresses("192.0.2.12")))))
    assert (found.code, found.node) == ("KH302", "m2")
    assert "198.51.100.10" in found.message and found.evidence == "eth0 192.0.2.12/24"


@pytest.mark.provokes("KH302")
def test_a_named_interface_that_is_not_there() -> None:
    of = OF.model_copy(update={"vrrp": OF.vrrp.model_copy(update={"interface": "bond0"})})
    found = preflight(world(of))
    assert {finding.code for finding in found} == {"KH302"} and len(found) == 3
    assert "bond0" in found[0].message and found[0].evidence == "eth0"


@pytest.mark.provokes("KH303")
def test_a_port_in_use() -> None:
    taken = m2(listeners=(Listener("*", 8443, "nginx"),))
    found = only(preflight(world(m2=taken)))
    assert found.code == "KH303"
    assert found.message == "port 8443 is in use by nginx, which haproxy.service did not start"
    container = m2(listeners=(Listener("*", 8443, "haproxy"),))
    assert only(preflight(world(m2=container))).code == "KH303"
    ours = replace(container, units={"haproxy.service": unit("haproxy.service")})
    assert preflight(world(m2=ours)) == ()


@pytest.mark.provokes("KH602")
def test_no_ca_yet_is_a_warning_that_says_how_to_go_on() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.control_plane}
    found = only(preflight(World(OF, nodes)))
    assert (found.code, found.severity) == ("KH602", Severity.WARNING)
    assert "kubeadm init" in found.fix


@pytest.mark.provokes("KH611")
def test_a_ca_that_is_gone_is_no_young_cluster() -> None:
    """A typo in kubernetes.ca would take the verified checks away."""
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.control_plane}
    checked = with_file(m2(), text_file(paths.CA_FILE, "# Written by kubeha\n" + CA))
    found = only(preflight(World(OF, {**nodes, "m2": checked})))
    assert (found.code, found.severity) == ("KH611", Severity.ERROR)


@pytest.mark.provokes("KH210")
def test_a_ca_without_a_certificate() -> None:
    nodes = {node.name: bare(node.name, str(node.address)) for node in OF.control_plane}
    cut = with_file(m2(), ca("-----BEGIN CERT"))
    found = only(preflight(World(OF, {**nodes, "m2": cut})))
    assert (found.code, found.node) == ("KH210", "m2")


@pytest.mark.provokes("KH608")
def test_two_clusters_in_one_file() -> None:
    other = with_file(m2(), ca(CA.replace("MIIB", "MIIC")))
    found = only(preflight(world(m2=other)))
    assert found.code == "KH608"
    assert "m1, m2" in found.message


@pytest.mark.provokes("KH101")
def test_a_cluster_file_with_one_machine_is_no_high_availability() -> None:
    of = cluster(1)
    found = preflight(World(of, {"m1": with_file(bare("m1", "198.51.100.11"), ca())}))
    assert [(each.code, each.severity) for each in found] == [("KH101", Severity.WARNING)] * 2
    assert found[0].message.startswith("only one load balancer node, m1: when it fails, nothing")
    assert found[1].message.startswith("only one control plane node, m1: when it fails, the")
    two = cluster(2)
    nodes = {node.name: bare(node.name, str(node.address)) for node in two.control_plane}
    nodes["m1"] = with_file(nodes["m1"], ca())
    assert preflight(World(two, nodes)) == ()
    several = cluster(2, load_balancers=(two.control_plane[0],))
    assert [each.code for each in preflight(World(several, nodes))] == ["KH101"]
