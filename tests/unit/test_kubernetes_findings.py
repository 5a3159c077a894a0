"""What is wrong with the control plane behind the endpoint, judged from what was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address

import pytest
from certificates import Wanted, issued
from test_health import OF, VIP, healthy, stat
from worlds import answer, no_answer, text_file

from kubeha.checks.finding import Finding, Severity
from kubeha.checks.health import health, thorough
from kubeha.checks.preflight import preflight
from kubeha.facts import Fetched, NodeFacts, Unreachable
from kubeha.facts.control_plane import (
    ControlPlane,
    Etcd,
    EtcdMember,
    Kubeconfig,
    Process,
    Server,
    parse_control_plane,
)
from kubeha.lab.pki import Authorities, new_authorities
from kubeha.model import Cluster, Endpoint
from kubeha.world import (
    API_READYZ,
    CONTROLLERS,
    ENDPOINT_READ,
    ENDPOINT_READYZ,
    ENDPOINT_VERSION,
    LEASE,
    World,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NODES = ("m1", "m2", "m3")
ADDRESSES = {"m1": "198.51.100.11", "m2": "198.51.100.12", "m3": "198.51.100.13"}
NAMES = ("kubernetes", "kubernetes.default.svc", "localhost", VIP, *ADDRESSES.values())
ENDPOINT_URL = f"https://{VIP}:8443"


@cache
def authorities() -> Authorities:
    return new_authorities()


@cache
def pem(
    names: tuple[str, ...] = NAMES, start: float = -1, days: float = 365, foreign: bool = False
) -> str:
    authority = new_authorities().cluster if foreign else authorities().cluster
    return issued(Wanted(authority, names, start, days), NOW)[0]


def flags(name: str, **more: str) -> dict[str, str]:
    own = {
        "advertise-address": ADDRESSES[name],
        "etcd-servers": "https://127.0.0.1:2379",
        "tls-cert-file": "/etc/kubernetes/pki/apiserver.crt",
    }
    return {**own, **{key.replace("_", "-"): value for key, value in more.items()}}


def running(name: str) -> tuple[Process, ...]:
    """What a healthy control plane node runs."""
    controllers = [Process(one, {"leader-elect": "true"}) for one in CONTROLLERS]
    return (Process("kube-apiserver", flags(name)), *controllers)


def member(name: str, number: int, **changes: object) -> EtcdMember:
    address = ADDRESSES.get(name, "198.51.100.99")
    healthy = EtcdMember(
        id=str(number),
        name=name,
        urls=(f"https://{address}:2379",),
        peers=(f"https://{address}:2380",),
        learner=False,
        answers=True,
        error="",
        leader="1",
        version="3.5.9",
        alarms=(),
    )
    return replace(healthy, **changes)  # type: ignore[arg-type]


MEMBERS = tuple(member(name, number) for number, name in enumerate(NODES, 1))
GONE: dict[str, object] = {"answers": False, "error": "Connection refused", "leader": None}


def etcd(members: Sequence[EtcdMember] = MEMBERS, **changes: object) -> Etcd:
    seen = Etcd(("https://127.0.0.1:2379",), tuple(members), "")
    return replace(seen, **changes)  # type: ignore[arg-type]


def plane(name: str, **changes: object) -> ControlPlane:
    home = kubeconfig("/etc/kubernetes/scheduler.conf", f"https://{ADDRESSES[name]}:6443")
    admin = kubeconfig("/etc/kubernetes/admin.conf", ENDPOINT_URL)
    whole = ControlPlane(running(name), (admin, home), etcd())
    return replace(whole, **changes)  # type: ignore[arg-type]


def kubeconfig(path: str, *urls: str, known: Mapping[str, str] | None = None) -> Kubeconfig:
    """`known`: name -> address, for names that the node can resolve."""
    servers = []
    for url in urls:
        host, port = url.removeprefix("https://").rsplit(":", 1)
        text = (known or {}).get(host, host)
        try:
            addresses = (ip_address(text.strip("[]")),)
        except ValueError:
            addresses = None
        servers.append(Server(url, host.strip("[]"), int(port), addresses))
    return Kubeconfig(path, tuple(servers))


def shown(certificate: str, kind: str = "", words: str = "") -> Fetched:
    """An API server's answer on its own node, with the certificate that it showed."""
    seen = no_answer(kind, words) if kind else answer()
    return replace(seen, certificate=certificate)


def nodes() -> dict[str, NodeFacts]:
    """Three healthy nodes behind a healthy endpoint."""
    ca = text_file(OF.kubernetes.ca, authorities().cluster.certificate.decode())
    return {
        name: replace(
            facts,
            files={**facts.files, ca.path: ca},
            clock=NOW.timestamp(),
            control_plane=plane(name),
            fetched={**facts.fetched, API_READYZ: shown(pem()), ENDPOINT_READ: answer()},
        )
        for name, facts in healthy().items()
    }


def with_plane(name: str, **changes: object) -> NodeFacts:
    return replace(nodes()[name], control_plane=plane(name, **changes))


def with_answer(name: str, seen: Fetched, key: str = API_READYZ) -> NodeFacts:
    facts = nodes()[name]
    return replace(facts, fetched={**facts.fetched, key: seen})


def verify(of: Cluster = OF, **changes: NodeFacts | Unreachable) -> tuple[Finding, ...]:
    return thorough(World(of, {**nodes(), **changes}))


def check(of: Cluster = OF, **changes: NodeFacts | Unreachable) -> tuple[Finding, ...]:
    return preflight(World(of, {**nodes(), **changes}))


def told(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(each.code, each.node) for each in found]


def same(**changes: NodeFacts | Unreachable) -> Finding:
    """The one finding that check and verify have in common, and no other, as verify tells it."""
    before, after = check(**changes), verify(**changes)
    assert told(before) == told(after)
    assert len(after) == 1, after
    return after[0]


def everywhere(**changes: object) -> dict[str, NodeFacts]:
    return {name: with_plane(name, **changes) for name in NODES}


def test_a_healthy_control_plane_has_no_findings() -> None:
    assert check() == ()
    assert verify() == ()


# Certificates


@pytest.mark.provokes("KH604")
def test_one_certificate_does_not_name_the_vip() -> None:
    names = tuple(name for name in NAMES if name != VIP)
    found = same(m2=with_answer("m2", shown(pem(names))))
    assert (found.code, found.node, found.severity) == ("KH604", "m2", Severity.ERROR)
    assert found.message.startswith(f"the API server's certificate does not name {VIP}: ")
    assert f"add {VIP} to apiServer.certSANs" in found.fix
    assert "kubeadm init phase certs apiserver --config" in found.fix
    assert found.evidence == f"it names {', '.join(names)}"


@pytest.mark.provokes("KH604")
def test_the_name_of_the_endpoint_counts_as_well() -> None:
    endpoint = Endpoint.model_validate({"vip": VIP, "name": "api.example.org"}, strict=False)
    of = OF.model_copy(update={"endpoint": endpoint})
    right = {name: with_answer(name, shown(pem((*NAMES, "API.example.org")))) for name in NODES}
    assert check(of, **right) == ()
    wildcard = with_answer("m1", shown(pem((*NAMES, "*.example.org"))))
    assert check(of, **{**right, "m1": wildcard}) == ()
    found = check(of, **{**right, "m3": with_answer("m3", shown(pem((*NAMES, "*.org"))))})
    assert told(found) == [("KH604", "m3")]
    assert "does not name api.example.org" in found[0].message
    assert f"add {VIP} and api.example.org to" in found[0].fix


@pytest.mark.provokes("KH604")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("/etc/kubernetes/ssl/kubernetes.pem", "ezctl setup NAME 04 -t change_cert,restart_master"),
        ("/srv/pki/api.pem", f"issue /srv/pki/api.pem anew with {VIP} among its SANs"),
    ],
    ids=["kubeasz", "binaries"],
)
def test_how_to_issue_a_certificate_depends_on_who_made_the_cluster(file: str, words: str) -> None:
    server = Process("kube-apiserver", flags("m2", tls_cert_file=file))
    facts = with_answer("m2", shown(pem(("kubernetes",))))
    whole = plane("m2", processes=(server, *running("m2")[1:]))
    found = same(m2=replace(facts, control_plane=whole))
    assert found.code == "KH604"
    assert words in found.fix


@pytest.mark.provokes("KH604")
def test_clients_that_met_the_certificate_add_nothing_to_it() -> None:
    """HAProxy gave m1's connection, and its read and its Leases, to the API server on m2."""
    bad = pem(("kubernetes",))
    met = no_answer("name", "certificate is not valid for '198.51.100.10'")
    keys = (ENDPOINT_READYZ, ENDPOINT_VERSION, ENDPOINT_READ, *(LEASE + one for one in CONTROLLERS))
    m1 = nodes()["m1"]
    m1 = replace(m1, fetched={**m1.fetched, **dict.fromkeys(keys, met)})
    assert told(verify(m1=m1, m2=with_answer("m2", shown(bad)))) == [("KH604", "m2")]
    # Where no API server showed it, the client's word is all there is.
    alone = verify(m1=m1)
    assert ("KH604", "m1") in told(alone)


@pytest.mark.provokes("KH612")
@pytest.mark.parametrize(
    ("start", "days", "words"),
    [
        (-365, -0.5, "the API server's certificate expired on 2026-03-01 00:00 UTC"),
        (0.5, 365, "the API server's certificate is not valid before 2026-03-02 00:00 UTC"),
    ],
    ids=["expired", "not-yet"],
)
@pytest.mark.parametrize("kind", ["", "certificate"], ids=["unverified", "refused"])
def test_a_certificate_outside_its_time(start: float, days: float, words: str, kind: str) -> None:
    seen = shown(pem(NAMES, start, days), kind, "certificate verify failed: expired")
    found = same(m3=with_answer("m3", seen))
    assert (found.code, found.node, found.severity) == ("KH612", "m3", Severity.ERROR)
    assert found.message.startswith(words)
    assert "issued by CN=kubernetes" in found.evidence


@pytest.mark.provokes("KH612")
def test_without_a_clock_the_node_is_believed() -> None:
    seen = shown(pem(NAMES, -365, -1), "certificate", "verify failed: certificate has expired")
    facts = replace(with_answer("m3", seen), clock=None)
    assert told(check(m3=facts)) == [("KH612", "m3")]
    unverified = replace(with_answer("m3", shown(pem(NAMES, -365, -1))), clock=None)
    assert check(m3=unverified) == ()


@pytest.mark.provokes("KH613")
def test_a_certificate_that_expires_soon() -> None:
    assert check(m3=with_answer("m3", shown(pem(NAMES, -1, 30)))) == ()
    found = same(m3=with_answer("m3", shown(pem(NAMES, -1, 29.9))))
    assert (found.code, found.severity) == ("KH613", Severity.WARNING)
    assert found.message == (
        "the API server's certificate expires in 29 days, on 2026-03-31 09:36 UTC"
    )
    assert found.fix.startswith("there: kubeadm certs renew apiserver; then restart")


@pytest.mark.provokes("KH614")
def test_a_certificate_of_another_ca() -> None:
    words = "certificate verify failed: unable to get local issuer certificate"
    found = same(m3=with_answer("m3", shown(pem(foreign=True), "certificate", words)))
    assert (found.code, found.node, found.severity) == ("KH614", "m3", Severity.ERROR)
    assert found.message.endswith("is not signed by /etc/kubernetes/pki/ca.crt")
    assert words in found.evidence


@pytest.mark.provokes("KH614")
def test_a_node_without_the_ca_is_judged_by_the_others() -> None:
    facts = with_answer("m3", shown(pem(foreign=True)))
    alone = {path: state for path, state in facts.files.items() if path != OF.kubernetes.ca}
    assert told(check(m3=replace(facts, files=alone))) == [("KH614", "m3")]
    right = replace(nodes()["m3"], files=alone)
    assert check(m3=right) == ()


@pytest.mark.provokes("KH615")
def test_a_certificate_that_haproxy_would_not_take() -> None:
    names = tuple(name for name in NAMES if name != "kubernetes")
    seen = shown(pem(names), "name", "certificate is not valid for 'kubernetes'")
    found = same(m3=with_answer("m3", seen))
    assert (found.code, found.node, found.severity) == ("KH615", "m3", Severity.ERROR)


@pytest.mark.provokes("KH612")
def test_what_haproxy_says_of_a_bad_certificate_is_told_once() -> None:
    seen = shown(pem(NAMES, -365, -1), "certificate", "certificate has expired")
    down = stat(m1="UP", m2="UP", m3="DOWN")
    facts = {name: replace(one, haproxy_stat=down) for name, one in nodes().items()}
    facts["m3"] = replace(facts["m3"], fetched={**facts["m3"].fetched, API_READYZ: seen})
    assert told(verify(**facts)) == [("KH612", "m3")]
    facts["m3"] = replace(facts["m3"], fetched={**facts["m3"].fetched, API_READYZ: shown(pem())})
    assert told(verify(**facts)) == [("KH502", name) for name in NODES]


def test_status_sees_certificates_too() -> None:
    facts = replace(with_answer("m2", shown(pem(("kubernetes",)))), control_plane=None)
    assert told(health(World(OF, {**nodes(), "m2": facts}))) == [("KH604", "m2")]


def test_what_is_no_certificate_is_not_judged() -> None:
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert check(m2=with_answer("m2", shown(text))) == ()


# Flags of the API servers


@pytest.mark.provokes("KH505")
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_readyz_is_a_warning_before_an_apply(status: int) -> None:
    refusing = {name: with_answer(name, replace(shown(pem()), status=status)) for name in NODES}
    (found,) = check(**refusing)
    assert (found.code, found.severity) == ("KH505", Severity.WARNING)
    assert "on m1, m2, m3 refuse an anonymous /readyz" in found.message
    assert "would use all that accept connections" in found.message
    assert found.evidence == f"m1: HTTP {status}, m2: HTTP {status}, m3: HTTP {status}"
    (one,) = check(m2=refusing["m2"])
    assert one.message.endswith("HAProxy would use the others alone")


def with_flag(name: str, **flag: str) -> NodeFacts:
    server = Process("kube-apiserver", flags(name, **flag))
    return with_plane(name, processes=(server, *running(name)[1:]))


@pytest.mark.provokes("KH626")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_api_server_that_listens_on_loopback(address: str) -> None:
    facts = with_flag("m2", bind_address=address)
    facts = replace(facts, fetched={**facts.fetched, API_READYZ: no_answer("refused")})
    found = same(m2=facts)
    assert (found.code, found.node) == ("KH626", "m2")
    assert f"take --bind-address={address} out" in found.fix
    assert check(m2=with_flag("m2", bind_address="0.0.0.0")) == ()


@pytest.mark.provokes("KH627")
def test_an_api_server_that_advertises_the_vip() -> None:
    found = same(m2=with_flag("m2", advertise_address=VIP))
    assert (found.code, found.node, found.severity) == ("KH627", "m2", Severity.WARNING)


# Controllers


def controllers(name: str, scheduler: Mapping[str, str]) -> NodeFacts:
    server, manager, _ = running(name)
    processes = (server, manager, Process("kube-scheduler", scheduler))
    return with_plane(name, processes=processes)


@pytest.mark.provokes("KH616")
@pytest.mark.parametrize("word", ["false", "False", "0", "f"])
def test_several_schedulers_without_election(word: str) -> None:
    found = same(m1=controllers("m1", {"leader-elect": word}))
    assert (found.code, found.node, found.severity) == ("KH616", "", Severity.ERROR)
    assert found.message.startswith("kube-scheduler on m1 runs without leader election")


def test_election_is_on_by_default_and_not_needed_alone() -> None:
    assert check(m1=controllers("m1", {})) == ()
    alone = {
        name: with_plane(name, processes=(Process("kube-apiserver", flags(name)),))
        for name in ("m2", "m3")
    }
    found = check(m1=controllers("m1", {"leader-elect": "false"}), **alone)
    assert "KH616" not in [code for code, _ in told(found)]


@pytest.mark.provokes("KH617")
def test_a_controller_that_does_not_run() -> None:
    server, manager, scheduler = running("m2")
    found = same(m2=with_plane("m2", processes=(server, scheduler)))
    assert (found.code, found.node, found.severity) == ("KH617", "m2", Severity.WARNING)
    assert found.message == "kube-controller-manager does not run beside the API server"
    # A node that has not joined yet has neither; one that was not looked at is unknown.
    assert check(m2=with_plane("m2", processes=())) == ()
    assert check(m2=replace(nodes()["m2"], control_plane=None)) == ()


# Kubeconfigs


def configs(name: str, *them: Kubeconfig) -> NodeFacts:
    return with_plane(name, kubeconfigs=them)


@pytest.mark.provokes("KH618")
def test_kubeconfigs_that_lead_to_one_master() -> None:
    kubelet = kubeconfig("/etc/kubernetes/kubelet.conf", "https://198.51.100.11:6443")
    root = kubeconfig("/root/.kube/config", "https://m1:6443", known={"m1": "198.51.100.11"})
    found = same(m2=configs("m2", kubelet, root))
    assert (found.code, found.node, found.severity) == ("KH618", "m2", Severity.WARNING)
    assert found.message.startswith(
        "/etc/kubernetes/kubelet.conf and /root/.kube/config lead to one machine"
    )
    assert (
        f"sed -i -e 's#https://198.51.100.11:6443#{ENDPOINT_URL}#'"
        f" -e 's#https://m1:6443#{ENDPOINT_URL}#'"
        " /etc/kubernetes/kubelet.conf /root/.kube/config"
    ) in found.fix
    assert "https://m1:6443 (m1)" in found.evidence


@pytest.mark.provokes("KH618")
def test_the_vip_past_haproxy_and_a_controllers_master() -> None:
    past = kubeconfig("/root/.kube/config", f"https://{VIP}:6443")
    found = same(m2=configs("m2", past))
    assert (found.code, found.evidence) == (
        "KH618",
        f"/root/.kube/config: https://{VIP}:6443: the VIP, but past HAProxy",
    )
    server, manager, _ = running("m3")
    led = Process("kube-scheduler", {"master": "https://198.51.100.11:6443"})
    found = same(m3=with_plane("m3", processes=(server, manager, led)))
    assert found.message.startswith("--master of kube-scheduler leads to one machine")


@pytest.mark.provokes("KH618")
def test_what_only_a_container_has_is_mended_in_its_configmap() -> None:
    inside = kubeconfig(
        "kube-proxy:/var/lib/kube-proxy/kubeconfig.conf", "https://198.51.100.11:6443"
    )
    found = same(m2=configs("m2", inside))
    assert found.code == "KH618"
    assert "sed" not in found.fix
    assert "kubectl -n kube-system edit configmap kube-proxy" in found.fix


@pytest.mark.parametrize(
    "config",
    [
        kubeconfig("/root/.kube/config", ENDPOINT_URL),
        kubeconfig("/root/.kube/config", ENDPOINT_URL, "https://198.51.100.11:6443"),
        kubeconfig("/root/.kube/config", "https://api.elsewhere.example:6443"),
        kubeconfig("/root/.kube/config", "https://203.0.113.5:6443"),
        kubeconfig("/etc/kubernetes/controller-manager.conf", "https://198.51.100.12:6443"),
        kubeconfig("/etc/kubernetes/kubelet.conf", "https://198.51.100.12:6443"),
        kubeconfig("/etc/kubernetes/kube-scheduler.kubeconfig", "https://127.0.0.1:6443"),
    ],
    ids=[
        "endpoint", "endpoint-and-another", "unknown-name", "another-cluster",
        "controller-manager-home", "kubelet-home", "kubeasz-home",
    ],
)  # fmt: skip
def test_kubeconfigs_that_are_as_they_should_be(config: Kubeconfig) -> None:
    assert check(m2=configs("m2", config)) == ()


@pytest.mark.provokes("KH618")
def test_a_controllers_kubeconfig_must_lead_home() -> None:
    astray = kubeconfig("/etc/kubernetes/scheduler.conf", "https://198.51.100.11:6443")
    assert same(m2=configs("m2", astray)).code == "KH618"


@pytest.mark.provokes("KH619")
@pytest.mark.parametrize("host", ["198.51.100.12", "127.0.0.1", "[::1]"])
def test_a_kubeconfig_that_knows_the_own_api_server_alone(host: str) -> None:
    admin = kubeconfig("/etc/kubernetes/admin.conf", f"https://{host}:6443")
    found = same(m2=configs("m2", admin))
    assert (found.code, found.node, found.severity) == ("KH619", "m2", Severity.INFO)
    assert f"--server={ENDPOINT_URL}" in found.fix


def test_loopback_on_a_machine_without_an_api_server_is_a_proxy_of_its_own() -> None:
    """As kubeasz has it on workers (kube-lb): where it leads cannot be seen here."""
    worker = OF.control_plane[0].model_copy(
        update={"name": "c1", "address": ip_address("198.51.100.101")}
    )
    of = OF.model_copy(update={"clients": (worker,)})
    facts = replace(
        nodes()["m1"],
        name="c1",
        control_plane=ControlPlane(
            (), (kubeconfig("/etc/kubernetes/kubelet.kubeconfig", "https://127.0.0.1:6443"),)
        ),
    )
    world = World(of, nodes(), {"c1": facts})
    assert preflight(world) == ()


# etcd


def states(**changes: dict[str, object]) -> tuple[EtcdMember, ...]:
    return tuple(replace(one, **changes.get(one.name, {})) for one in MEMBERS)  # type: ignore[arg-type]


@pytest.mark.provokes("KH621")
def test_a_member_that_is_down() -> None:
    facts = everywhere(etcd=etcd(states(m3=GONE)))
    facts["m3"] = with_plane("m3", etcd=etcd((), error="Connection refused", silent=True))
    found = same(**facts)
    assert (found.code, found.node, found.severity) == ("KH621", "m3", Severity.WARNING)
    assert found.message == (
        "etcd member m3 does not answer: the loss of one more stops the cluster"
    )
    assert "etcdctl member remove 3" in found.fix
    assert "https://198.51.100.13:2379: Connection refused" in found.evidence


def test_a_member_that_anybody_reaches_is_up() -> None:
    """A filter between the nodes: each reaches its own member alone."""
    facts = {}
    for name in NODES:
        others = {other: GONE for other in NODES if other != name}
        facts[name] = with_plane(name, etcd=etcd(states(**others)))
    assert check(**facts) == ()


def test_a_member_whose_state_is_unknown_is_not_down() -> None:
    dumb: dict[str, object] = {"answers": None, "error": "HTTP 500", "leader": None}
    assert check(**everywhere(etcd=etcd(states(m3=dumb)))) == ()


def test_the_member_of_a_lost_machine_is_not_told_twice() -> None:
    facts = {name: with_plane(name, etcd=etcd(states(m3=GONE))) for name in ("m1", "m2")}
    lost = Unreachable("m3", "no answer")
    assert told(check(**facts, m3=lost)) == [("KH201", "m3")]


@pytest.mark.provokes("KH620")
def test_no_leader() -> None:
    one_left: dict[str, object] = {"leader": "", "alarms": ("etcdserver: no leader",)}
    seen = etcd(states(m1=one_left, m2=GONE, m3=GONE))
    found = same(**everywhere(etcd=seen))
    assert (found.code, found.node, found.severity) == ("KH620", "", Severity.ERROR)
    assert "2 of 3 are needed" in found.fix
    assert found.evidence == "m1: no leader; m2: Connection refused; m3: Connection refused"


@pytest.mark.provokes("KH620", "KH625")
def test_etcd_answers_nobody() -> None:
    silent = etcd((), error="Connection refused", silent=True)
    assert same(**everywhere(etcd=silent)).code == "KH620"
    # One of three nodes was not asked: its member may be well.
    facts = {name: with_plane(name, etcd=silent) for name in ("m1", "m2")}
    lost = Unreachable("m3", "no answer")
    assert told(check(**facts, m3=lost)) == [("KH201", "m3"), ("KH625", "")]


@pytest.mark.provokes("KH625")
def test_etcd_that_cannot_be_asked() -> None:
    words = "No such file or directory: '/etc/kubernetes/pki/apiserver-etcd-client.key'"
    found = same(**everywhere(etcd=etcd((), error=words)))
    assert (found.code, found.severity) == ("KH625", Severity.INFO)
    assert words in found.evidence
    assert check(**everywhere(etcd=None)) == ()


@pytest.mark.provokes("KH622")
@pytest.mark.parametrize(("count", "survives"), [(2, "none"), (4, "1"), (6, "2")])
def test_an_even_number_of_members(count: int, survives: str) -> None:
    members = [member(f"m{n}", n) for n in range(1, count + 1)]
    found = same(**everywhere(etcd=etcd(members)))
    assert (found.code, found.severity) == ("KH622", Severity.WARNING)
    assert f"it survives the loss of {survives}, no more than {count - 1} would" in found.message


def test_learners_do_not_vote() -> None:
    learner = member("m4", 4, learner=True)
    assert check(**everywhere(etcd=etcd([*MEMBERS, learner]))) == ()


@pytest.mark.provokes("KH621", "KH622")
def test_a_member_that_was_added_and_never_started() -> None:
    never = member("", 4, urls=(), peers=("https://198.51.100.99:2380",), **GONE)
    found = check(**everywhere(etcd=etcd([*MEMBERS, never])))
    assert told(found) == [("KH621", ""), ("KH622", "")]
    assert "https://198.51.100.99:2380 was added and has never started" in found[0].message


@pytest.mark.provokes("KH623")
def test_a_single_member() -> None:
    found = same(**everywhere(etcd=etcd(MEMBERS[:1])))
    assert (found.code, found.severity) == ("KH623", Severity.WARNING)


@pytest.mark.provokes("KH616", "KH620", "KH624")
@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("KH616", {"m1": controllers("m1", {"leader-elect": "false"})}),
        ("KH620", everywhere(etcd=etcd((), error="Connection refused", silent=True))),
        ("KH624", everywhere(etcd=etcd(states(m2={"alarms": ("memberID:2 alarm:NOSPACE ",)})))),
    ],
)
def test_no_apply_is_refused_for_it(code: str, facts: Mapping[str, NodeFacts]) -> None:
    """Whoever mends the endpoint in an outage is told, and may go on."""
    assert [(found.code, found.severity) for found in check(**facts)] == [(code, Severity.WARNING)]


@pytest.mark.provokes("KH624")
def test_an_alarm() -> None:
    raised: dict[str, object] = {"alarms": ("memberID:2 alarm:NOSPACE ",)}
    found = same(**everywhere(etcd=etcd(states(m2=raised))))
    assert (found.code, found.severity) == ("KH624", Severity.ERROR)
    assert "alarm:NOSPACE" in found.message


@pytest.mark.provokes("KH628")
@pytest.mark.parametrize("own", ["https://127.0.0.1:2379", "https://198.51.100.11:2379"])
def test_api_servers_that_share_one_member(own: str) -> None:
    other = etcd(endpoints=("https://198.51.100.11:2379",))
    facts = everywhere(etcd=other)
    facts["m1"] = with_plane("m1", etcd=etcd(endpoints=(own,)))
    found = same(**facts)
    assert (found.code, found.severity) == ("KH628", Severity.WARNING)
    both = etcd(endpoints=("https://198.51.100.11:2379", "https://198.51.100.12:2379"))
    assert check(**everywhere(etcd=both)) == ()


# What a node answers


def test_an_answer_of_a_node_becomes_facts() -> None:
    answered = {
        "processes": [{"name": "kube-scheduler", "flags": {"leader-elect": "false"}}],
        "kubeconfigs": [
            {
                "path": "/a",
                "servers": [
                    {"url": "https://api.example.org", "addresses": None},
                    {"url": "https://[fe80::1]:6443", "addresses": ["fe80::1%eth0", "?"]},
                    {"url": "https://x:port", "addresses": []},
                ],
            }
        ],
        "etcd": {
            "endpoints": ["https://127.0.0.1:2379"],
            "error": None,
            "members": [
                {"id": "1", "name": "m1", "urls": ["https://a:2379"], "leader": "0"},
                {"id": "2", "name": "m2", "urls": ["https://b:2379"], "down": True, "error": "x"},
                {"id": "3", "name": "m3", "urls": ["https://c:2379"], "error": "HTTP 500"},
                {"id": "4", "name": "", "urls": [], "peers": ["https://d:2380"], "error": "never"},
            ],
        },
    }
    seen = parse_control_plane(answered)
    assert seen is not None and seen.etcd is not None
    assert seen.running("kube-scheduler") == (Process("kube-scheduler", {"leader-elect": "false"}),)
    link_local = (ip_address("fe80::1"),)
    assert seen.kubeconfigs[0].servers == (
        Server("https://api.example.org", "api.example.org", 443, None),
        Server("https://[fe80::1]:6443", "fe80::1", 6443, link_local),
    )
    told = [(one.label, one.answers, one.leader) for one in seen.etcd.members]
    assert told == [
        ("m1", True, ""),
        ("m2", False, None),
        ("m3", None, None),
        ("https://d:2380", False, None),
    ]
    assert parse_control_plane(None) is None and parse_control_plane({"error": "x"}) is None
