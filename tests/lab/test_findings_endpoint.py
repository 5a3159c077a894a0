"""Every finding of a running endpoint, provoked on real machines: break, see just that, heal.

Each test begins and ends with an endpoint on which nothing is found.
"""

from collections.abc import Iterator

import pytest
from breaking import Breaking
from conftest import labs
from endpoint import NODES, Endpoint

VIP = "198.51.100.10"
EVERYWHERE = (*NODES, "c1")
SERVERS = tuple(f"kube-apiserver/{name}" for name in NODES)


@pytest.fixture(scope="module")
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Breaking]:
    """A cluster with its endpoint, where m1 holds the VIP."""
    for lab in labs(request, tmp_path_factory.mktemp("findings")):
        endpoint = Endpoint(lab)
        endpoint.apply()
        endpoint.wait_until_healthy()
        yield Breaking(endpoint)


@pytest.fixture
def broken(deployed: Breaking) -> Iterator[Breaking]:
    """What a test may break; afterwards nothing may be found any more, and m1 holds the VIP."""
    assert deployed.endpoint.holders() == ["m1"]
    yield deployed
    deployed.finds("verify", set(), timeout=60)
    if deployed.endpoint.holders() != ["m1"]:
        others = [name for name in NODES if name != "m1"]
        deployed.run(others, "systemctl", "restart", "keepalived")
        deployed.endpoint.wait_for_holder(other_than="m2")
        deployed.finds("status", set())


def on(code: str, *nodes: str) -> set[tuple[str, str]]:
    return {(code, node) for node in nodes}


# The VIP, on interfaces and on the wire.


@pytest.mark.provokes("KH304")
def test_a_holder_that_answers_no_arp(broken: Breaking) -> None:
    chain = "chain in { type filter hook input priority 0;"
    chain += f" arp operation request arp daddr ip {VIP} drop; }}"
    with broken.mended("m1", "nft delete table arp test"):
        broken.run("m1", "nft", f"table arp test {{ {chain}; }}")
        broken.finds("verify", on("KH304", "m1"))


@pytest.mark.provokes("KH401", "KH406", "KH603")
def test_no_holder_because_nobody_has_a_haproxy(broken: Breaking) -> None:
    """The file by which HAProxy's unit tells keepalived that it is gone."""
    with broken.mended(reversed(NODES), "echo 0 >/run/kubeha/haproxy"):
        broken.shell(NODES, "echo 1 >/run/kubeha/haproxy")
        wanted = on("KH401", "") | on("KH406", *NODES) | on("KH603", *EVERYWHERE)
        broken.finds("status", wanted)


@pytest.mark.provokes("KH402", "KH404")
def test_an_address_that_keepalived_knows_nothing_of(broken: Breaking) -> None:
    """A guard would take it away at once, or make way for it."""
    start = "systemctl start kubeha-guard"
    broken.endpoint.stop_guards()
    with (
        broken.mended(["m1", "m3"], start),
        broken.mended("m2", f"ip address del {VIP}/24 dev eth0; {start}"),
    ):
        broken.run("m2", "ip", "address", "add", f"{VIP}/24", "dev", "eth0")
        broken.finds("status", on("KH402", "") | on("KH404", "m2") | on("KH424", *NODES))


@pytest.mark.provokes("KH408")
def test_a_vip_that_nobody_manages(broken: Breaking) -> None:
    start = f"ip address del {VIP}/24 dev eth0; systemctl start keepalived"
    broken.run(NODES, "systemctl", "stop", "keepalived")
    with broken.mended(["m1", "m3"], "systemctl start keepalived"), broken.mended("m2", start):
        broken.run("m2", "ip", "address", "add", f"{VIP}/24", "dev", "eth0")
        broken.finds("check", on("KH408", "m2"))


# keepalived


@pytest.mark.provokes("KH403")
def test_a_keepalived_that_was_stopped(broken: Breaking) -> None:
    with broken.mended("m2", "systemctl start keepalived"):
        broken.run("m2", "systemctl", "stop", "keepalived")
        broken.finds("status", on("KH403", "m2"))


@pytest.mark.provokes("KH406")
def test_a_keepalived_without_its_interface(broken: Breaking) -> None:
    with broken.mended("m3", "echo 0 >/run/kubeha/haproxy"):
        broken.shell("m3", "echo 1 >/run/kubeha/haproxy")
        broken.finds("status", on("KH406", "m3"))


@pytest.mark.provokes("KH407")
def test_a_keepalived_that_hangs(broken: Breaking) -> None:
    with broken.mended("m3", "systemctl kill --signal=CONT keepalived"):
        broken.run("m3", "systemctl", "kill", "--signal=STOP", "keepalived")
        broken.finds("status", on("KH407", "m3"))


@pytest.mark.provokes("KH405")
def test_a_cluster_file_with_another_vrid(broken: Breaking) -> None:
    with broken.file_with("vrrp: {vrid: 77}"):
        broken.finds("check", on("KH405", *NODES))
    broken.finds("check", set())


@pytest.mark.provokes("KH410")
def test_nodes_that_were_drained_and_forgotten(broken: Breaking) -> None:
    with broken.mended(["m2", "m3"], "echo 0 >/etc/kubeha/drain"):
        broken.shell(["m2", "m3"], "echo -127 >/etc/kubeha/drain")
        broken.finds("status", on("KH410", ""))


# HAProxy


@pytest.mark.provokes("KH501", "KH406")
def test_a_haproxy_that_was_stopped(broken: Breaking) -> None:
    with broken.mended("m2", "systemctl start haproxy"):
        broken.run("m2", "systemctl", "stop", "haproxy")
        broken.finds("status", on("KH501", "m2") | on("KH406", "m2"))


@pytest.mark.provokes("KH501")
def test_a_haproxy_that_hangs(broken: Breaking) -> None:
    with broken.mended("m2", "systemctl kill --signal=CONT haproxy"):
        broken.run("m2", "systemctl", "kill", "--signal=STOP", "haproxy")
        broken.finds("status", on("KH501", "m2"))


@pytest.mark.provokes("KH502", "KH503")
def test_api_servers_that_one_haproxy_does_not_use(broken: Breaking) -> None:
    try:
        broken.haproxy("m2", f"disable server {SERVERS[2]}")
        broken.finds("status", on("KH502", "m2"))
        broken.haproxy("m2", *(f"disable server {server}" for server in SERVERS))
        broken.finds("status", on("KH503", "m2"))
    finally:
        broken.haproxy("m2", *(f"enable server {server}" for server in SERVERS))


@pytest.mark.provokes("KH504", "KH208")
def test_a_haproxy_with_somebody_elses_file(broken: Breaking) -> None:
    config, kept = "/etc/haproxy/haproxy.cfg", "/etc/haproxy/kept.cfg"
    other = f"sed -i s/kube-apiserver/web/ {config} && systemctl reload haproxy"
    back = f"mv {kept} {config} && systemctl reload haproxy"
    broken.run("m2", "cp", "-p", config, kept)
    with broken.mended("m2", back):
        broken.shell("m2", other)
        broken.finds("verify", on("KH504", "m2") | on("KH208", "m2"))


@pytest.mark.provokes("KH209")
def test_a_service_that_was_disabled(broken: Breaking) -> None:
    with broken.mended("m3", "systemctl enable --quiet haproxy"):
        broken.run("m3", "systemctl", "disable", "--quiet", "haproxy")
        broken.finds("status", on("KH209", "m3"))


# The API servers behind it


@pytest.mark.provokes("KH601", "KH502", "KH610")
def test_api_servers_that_were_stopped(broken: Breaking) -> None:
    with broken.mended(["m2", "m3"], "systemctl start kube-apiserver"):
        broken.run("m3", "systemctl", "stop", "kube-apiserver")
        one = on("KH601", "m3") | on("KH502", *NODES)
        broken.finds("status", one)
        broken.run("m2", "systemctl", "stop", "kube-apiserver")
        broken.finds("status", one | on("KH601", "m2") | on("KH610", ""))


@pytest.mark.provokes("KH603")
def test_a_client_that_a_filter_keeps_away(broken: Breaking) -> None:
    chain = "chain out { type filter hook output priority 0; tcp dport 8443 drop; }"
    with broken.mended("c1", "nft delete table inet test"):
        broken.run("c1", "nft", f"table inet test {{ {chain}; }}")
        broken.finds("status", on("KH603", "c1"))


@pytest.mark.provokes("KH605")
def test_a_scheduler_that_runs_nowhere(broken: Breaking) -> None:
    """Its Lease ends 15 s later."""
    with broken.mended(NODES, "systemctl start kube-scheduler"):
        broken.run(NODES, "systemctl", "stop", "kube-scheduler")
        broken.finds("verify", on("KH605", "") | on("KH617", *NODES), timeout=40)


@pytest.mark.provokes("KH606")
def test_credentials_that_may_not_read(broken: Breaking) -> None:
    conf = "/etc/kubernetes/scheduler.conf"
    with broken.file_with(f"kubernetes: {{kubeconfig: {conf}}}"):
        # The scheduler's credentials read its own Lease, but no other.
        broken.finds("verify", on("KH606", *NODES) | on("KH605", ""))


@pytest.mark.provokes("KH607")
def test_no_credentials_to_read_with(broken: Breaking) -> None:
    with broken.file_with("kubernetes: {kubeconfig: /root/none}"):
        broken.finds("verify", on("KH607", ""))


@pytest.mark.provokes("KH608")
def test_a_node_with_the_ca_of_another_cluster(broken: Breaking) -> None:
    pki = "/etc/kubernetes/pki"
    make = (
        f"mv {pki}/ca.crt {pki}/kept.crt && openssl req -x509 -newkey rsa:2048 -nodes"
        f" -subj /CN=other -keyout /dev/null -out {pki}/ca.crt"
    )
    with broken.mended("m3", f"mv {pki}/kept.crt {pki}/ca.crt"):
        broken.shell("m3", make)
        broken.finds("check", on("KH608", "") | on("KH614", "m3"))


@pytest.mark.provokes("KH611")
def test_a_ca_that_is_nowhere_any_more(broken: Breaking) -> None:
    pki = "/etc/kubernetes/pki"
    with broken.mended(NODES, f"mv {pki}/kept.crt {pki}/ca.crt"):
        broken.run(NODES, "mv", f"{pki}/ca.crt", f"{pki}/kept.crt")
        broken.finds("check", on("KH611", ""))


# What the cluster file asks for


@pytest.mark.provokes("KH302")
def test_an_interface_that_is_not_there(broken: Breaking) -> None:
    with broken.file_with("vrrp: {interface: eth9}"):
        broken.finds("check", on("KH302", *NODES))
    broken.finds("check", set())
