"""What is wrong with a running endpoint, judged from what was seen."""

import json
from dataclasses import replace

import pytest
from worlds import (
    CA,
    addresses,
    answer,
    bare,
    cluster,
    deployed,
    healthy_answers,
    no_answer,
    said,
    text_file,
    unit,
)

from kubeha import lease as leases
from kubeha import paths
from kubeha.checks.finding import Finding, Severity
from kubeha.checks.health import drift, health, thorough
from kubeha.facts import Fetched, NodeFacts, Observed, Unreachable
from kubeha.plan import GUARD, HAPROXY, KEEPALIVED, wanted
from kubeha.world import (
    API_READYZ,
    ENDPOINT_READ,
    ENDPOINT_READYZ,
    ENDPOINT_VERSION,
    LEASE,
    World,
)

VIP = "198.51.100.10"
OF = cluster()
STAT_HEADER = "# pxname,svname,status,bck,check_status,check_code,last_chk,\n"


def stat(**status: str) -> str:
    rows = [f"kube-apiserver,{name},{word},0,L7OK,200,,\n" for name, word in status.items()]
    return STAT_HEADER + "".join(rows)


def healthy(holder: str | None = "m1") -> dict[str, NodeFacts]:
    bares = {node.name: bare(node.name, str(node.address)) for node in OF.control_plane}
    desired = wanted(World(OF, bares))
    nodes = {}
    for name, facts in bares.items():
        whole = deployed(desired[name], facts, holds=VIP if name == holder else None)
        nodes[name] = replace(
            whole,
            files={**whole.files, OF.kubernetes.ca: text_file(OF.kubernetes.ca, CA)},
            haproxy_stat=stat(m1="UP", m2="UP", m3="UP"),
            haproxy_info="Pid: 1\n",
            keepalived_json=said(2 if name == holder else 1),
            fetched=healthy_answers(),
        )
    return nodes


def found(nodes: dict[str, NodeFacts], **changes: Observed) -> tuple[Finding, ...]:
    return health(World(OF, {**nodes, **changes}))


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_healthy_endpoint_has_no_findings() -> None:
    assert found(healthy()) == ()


@pytest.mark.provokes("KH401")
def test_nobody_holds_the_vip() -> None:
    nodes = healthy(holder=None)
    assert [finding.code for finding in found(nodes)] == ["KH401"]


@pytest.mark.provokes("KH402", "KH404")
def test_two_nodes_hold_the_vip_whatever_keepalived_says() -> None:
    nodes = healthy("m1")
    both = replace(nodes["m3"], addresses=addresses("198.51.100.13", f"{VIP}/24"))
    findings = found(nodes, m3=both)
    assert [finding.code for finding in findings] == ["KH402", "KH404"]
    assert findings[0].message == f"{VIP} is on 2 nodes at once: m1, m3"
    assert findings[1].message == "keepalived says BACKUP, but the VIP is on the interface"


@pytest.mark.provokes("KH401", "KH404")
def test_a_master_that_holds_nothing() -> None:
    """A real failure: the kernel refused the address, keepalived believes that it is MASTER."""
    nodes = healthy(holder=None)
    findings = found(nodes, m1=replace(nodes["m1"], keepalived_json=said(2)))
    assert [finding.code for finding in findings] == ["KH401", "KH404"]
    assert "keepalived says MASTER, but the VIP is not on the interface" in findings[1].message


@pytest.mark.provokes("KH201", "KH401")
def test_a_vip_found_nowhere_while_a_node_is_silent() -> None:
    nodes = healthy("m1")
    findings = found(nodes, m1=Unreachable("m1", "no answer within 5 s"))
    assert [finding.code for finding in findings] == ["KH201", "KH401"]
    assert "m1 could not be" in findings[1].message


@pytest.mark.provokes("KH406")
def test_a_node_in_fault() -> None:
    nodes = healthy()
    finding = only(found(nodes, m2=replace(nodes["m2"], keepalived_json=said(3))))
    assert (finding.code, finding.node) == ("KH406", "m2")


@pytest.mark.provokes("KH424")
def test_a_guard_that_does_not_run() -> None:
    nodes = healthy()
    units = {**nodes["m2"].units, GUARD: unit(GUARD, active=False)}
    finding = only(found(nodes, m2=replace(nodes["m2"], units=units)))
    assert (finding.code, finding.node) == ("KH424", "m2")
    assert finding.message == "kubeha-guard.service is inactive"
    units = {name: unit for name, unit in nodes["m2"].units.items() if name != GUARD}
    finding = only(found(nodes, m2=replace(nodes["m2"], units=units)))
    assert (finding.message, finding.fix) == (
        "kubeha-guard.service is not installed",
        "kubeha apply",
    )


@pytest.mark.provokes("KH425")
@pytest.mark.parametrize(
    ("why", "other", "words"),
    [
        ("conflict", "m1", "m1 holds the VIP, and VRRP does not pass between the two"),
        ("isolated", "", "neither the gateway nor any other node answers"),
        ("hung", "", "held the VIP and sent no advertisements"),
    ],
)
def test_a_node_that_the_guard_keeps_the_vip_away_from(why: str, other: str, words: str) -> None:
    nodes = healthy()
    told = json.dumps({"why": why, "other": other, "text": "it was so", "since": 1})
    files = {**nodes["m2"].files, paths.GUARD_STATE: text_file(paths.GUARD_STATE, told)}
    finding = only(found(nodes, m2=replace(nodes["m2"], keepalived_json=said(3), files=files)))
    assert (finding.code, finding.node) == ("KH425", "m2")
    assert words in finding.message


@pytest.mark.provokes("KH403", "KH501")
@pytest.mark.parametrize(("name", "code"), [(HAPROXY, "KH501"), (KEEPALIVED, "KH403")])
def test_a_service_that_does_not_run(name: str, code: str) -> None:
    nodes = healthy()
    units = {**nodes["m2"].units, name: unit(name, active=False)}
    word = None if name == KEEPALIVED else said(1)
    finding = only(found(nodes, m2=replace(nodes["m2"], units=units, keepalived_json=word)))
    assert (finding.code, finding.node) == (code, "m2")
    assert finding.message == f"{name} is inactive (dead)"


@pytest.mark.provokes("KH407")
def test_a_keepalived_that_does_not_answer_its_signal() -> None:
    nodes = healthy()
    finding = only(found(nodes, m2=replace(nodes["m2"], keepalived_json=None)))
    assert (finding.code, finding.node) == ("KH407", "m2")


@pytest.mark.provokes("KH504")
def test_a_haproxy_that_runs_with_somebody_elses_configuration() -> None:
    nodes = healthy()
    other = STAT_HEADER + "web,app1,UP,0,L4OK,,,\n"
    finding = only(found(nodes, m2=replace(nodes["m2"], haproxy_stat=other)))
    assert (finding.code, finding.node) == ("KH504", "m2")


@pytest.mark.provokes("KH209")
def test_a_service_that_would_not_come_back_after_a_boot() -> None:
    nodes = healthy()
    units = {**nodes["m2"].units, HAPROXY: unit(HAPROXY, state="disabled")}
    finding = only(found(nodes, m2=replace(nodes["m2"], units=units)))
    assert (finding.code, finding.message) == ("KH209", "haproxy.service runs but is disabled")


@pytest.mark.provokes("KH501")
def test_a_hung_haproxy() -> None:
    nodes = healthy()
    finding = only(found(nodes, m2=replace(nodes["m2"], haproxy_stat=None)))
    assert finding.code == "KH501" and "does not answer on its admin socket" in finding.message


@pytest.mark.provokes("KH502", "KH503")
def test_one_api_server_down_and_all_of_them() -> None:
    nodes = healthy()
    one = replace(nodes["m2"], haproxy_stat=stat(m1="UP", m2="DOWN", m3="UP 1/3"))
    finding = only(found(nodes, m2=one))
    assert (finding.code, finding.node) == ("KH502", "m2")
    assert finding.message == "HAProxy has taken API server m2 out: DOWN"
    everything = replace(nodes["m2"], haproxy_stat=stat(m1="DOWN", m2="DOWN", m3="MAINT"))
    assert only(found(nodes, m2=everything)).code == "KH503"


@pytest.mark.provokes("KH601")
def test_an_api_server_that_is_not_ready() -> None:
    nodes = healthy()
    sick = {**nodes["m3"].fetched, API_READYZ: answer(500, "[-]etcd failed: reason withheld\n")}
    finding = only(found(nodes, m3=replace(nodes["m3"], fetched=sick)))
    assert (finding.code, finding.node) == ("KH601", "m3")
    assert finding.message == "the API server is not ready: HTTP 500"
    assert finding.evidence == "[-]etcd failed: reason withheld"


def test_anonymous_auth_switched_off_is_no_fault() -> None:
    nodes = healthy()
    unauthorized = {key: answer(401) for key in nodes["m1"].fetched}
    assert (
        found({name: replace(facts, fetched=unauthorized) for name, facts in nodes.items()}) == ()
    )


@pytest.mark.provokes("KH603")
def test_an_endpoint_that_does_not_answer_from_one_node() -> None:
    nodes = healthy()
    deaf = {
        **nodes["m2"].fetched,
        ENDPOINT_VERSION: no_answer("timeout", "timed out"),
        ENDPOINT_READYZ: no_answer("timeout", "timed out"),
    }
    finding = only(found(nodes, m2=replace(nodes["m2"], fetched=deaf)))
    assert (finding.code, finding.node) == ("KH603", "m2")
    assert finding.message == (f"https://{VIP}:8443/version fails from here: timeout: timed out")


@pytest.mark.provokes("KH604")
def test_a_certificate_that_does_not_name_the_vip() -> None:
    nodes = healthy()
    wrong = no_answer("name", f"IP address mismatch, certificate is not valid for '{VIP}'")
    fetched = {**nodes["m2"].fetched, ENDPOINT_VERSION: wrong, ENDPOINT_READYZ: wrong}
    finding = only(found(nodes, m2=replace(nodes["m2"], fetched=fetched)))
    assert finding.code == "KH604" and "certSANs" in finding.fix


@pytest.mark.provokes("KH602", "KH609")
def test_before_the_cluster_exists_only_what_is_missing_is_said() -> None:
    nodes = healthy()
    early = {
        API_READYZ: no_answer("refused"),
        ENDPOINT_VERSION: no_answer("closed"),
        ENDPOINT_READYZ: no_answer("closed"),
    }
    down = stat(m1="DOWN", m2="DOWN", m3="DOWN")
    young = {
        name: replace(facts, files={}, fetched=early, haproxy_stat=down)
        for name, facts in nodes.items()
    }
    assert [finding.code for finding in found(young)] == ["KH609", "KH602"]


@pytest.mark.provokes("KH601", "KH603")
def test_a_dead_control_plane_is_not_taken_for_a_young_one() -> None:
    """With a CA there was a cluster once: refused connections are errors then."""
    nodes = healthy()
    dead = {
        API_READYZ: no_answer("refused"),
        ENDPOINT_VERSION: no_answer("closed"),
        ENDPOINT_READYZ: no_answer("closed"),
    }
    findings = found({name: replace(facts, fetched=dead) for name, facts in nodes.items()})
    assert {finding.code for finding in findings} == {"KH601", "KH603"}


@pytest.mark.provokes("KH301")
def test_a_stranger_beside_the_holder_on_the_wire() -> None:
    heard = {"m2": ("02:00:00:00:00:01",), "m3": ("02:00:00:00:00:01", "02:00:00:00:00:99")}
    finding = only(health(World(OF, healthy(), vip_answers=heard)))
    assert finding.code == "KH301" and "02:00:00:00:00:99" in finding.message
    assert finding.evidence == "it answered m3"


@pytest.mark.provokes("KH304")
def test_a_vip_that_is_on_the_interface_but_not_on_the_wire() -> None:
    finding = only(health(World(OF, healthy(), vip_answers={"m2": (), "m3": ()})))
    assert (finding.code, finding.node) == ("KH304", "m1")


# What a real kube-controller-manager's Lease looks like (cut), and the Date header beside it.
LEASE_BODY = json.dumps(
    {"spec": {"holderIdentity": "m2_3f0c", "renewTime": "2026-11-23T08:55:10.123456Z"}}
)


def lease(seconds_later: int) -> Fetched:
    return answer(body=LEASE_BODY, date=f"Mon, 23 Nov 2026 08:55:{10 + seconds_later:02d} GMT")


def test_a_lease_is_judged_by_the_servers_own_clock() -> None:
    assert leases.holder(lease(0)) == "m2"
    assert leases.age(lease(20)) == pytest.approx(19.88, abs=0.01)
    assert leases.age(lease(0)) == 0.0


def test_a_lease_says_itself_how_long_it_lasts() -> None:
    """kubeadm's default is 15 s; a busy cluster may have set more."""
    body = LEASE_BODY.replace('"holderIdentity"', '"leaseDurationSeconds": 60, "holderIdentity"')
    long = answer(body=body, date="Mon, 23 Nov 2026 08:55:40 GMT")
    assert leases.problem(long) == ""
    assert leases.problem(lease(30)) != ""


@pytest.mark.provokes("KH605")
@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (lease(30), "last renewed 30 s ago by m2"),
        (answer(404), "there is no Lease"),
        (answer(503), "its Lease cannot be read: HTTP 503"),
        (answer(body="{}"), "its Lease has no renew time"),
    ],
    ids=["stale", "missing", "unreadable", "empty"],
)
def test_a_controller_without_a_living_leader(seen: Fetched, words: str) -> None:
    nodes = healthy()
    more = {f"{LEASE}kube-scheduler": seen, ENDPOINT_READ: answer()}
    fetched = {**nodes["m1"].fetched, **more}
    finding = only(thorough(World(OF, {**nodes, "m1": replace(nodes["m1"], fetched=fetched)})))
    assert finding.code == "KH605"
    assert finding.message.startswith("kube-scheduler: ") and words in finding.message


@pytest.mark.provokes("KH606")
def test_an_authenticated_read_that_fails_while_version_answers() -> None:
    nodes = healthy()
    fetched = {**nodes["m1"].fetched, ENDPOINT_READ: answer(500, "etcdserver: request timed out")}
    finding = only(thorough(World(OF, {**nodes, "m1": replace(nodes["m1"], fetched=fetched)})))
    assert (finding.code, finding.node) == ("KH606", "m1")


@pytest.mark.provokes("KH607")
def test_a_read_that_could_not_be_tried_is_said() -> None:
    assert only(thorough(World(OF, healthy()))).code == "KH607"


@pytest.mark.provokes("KH410")
def test_drained_nodes_take_no_vip_over() -> None:
    nodes = healthy()
    away = {
        name: replace(
            nodes[name],
            files={**nodes[name].files, paths.DRAIN_FILE: text_file(paths.DRAIN_FILE, "-127\n")},
        )
        for name in ("m2", "m3")
    }
    finding = only(found(nodes, **away))
    assert (finding.code, finding.node) == ("KH410", "")
    assert finding.message == "only m1 can take the VIP: the next loss is an outage"
    assert found(nodes, m2=away["m2"]) == ()


@pytest.mark.provokes("KH610")
def test_one_api_server_that_is_left() -> None:
    nodes = healthy()
    sick = {
        name: replace(
            nodes[name], fetched={**nodes[name].fetched, API_READYZ: no_answer("refused")}
        )
        for name in ("m2", "m3")
    }
    codes = [finding.code for finding in found(nodes, **sick)]
    assert codes == ["KH610", "KH601", "KH601"]
    assert "KH610" not in [finding.code for finding in found(nodes, m2=sick["m2"])]


@pytest.mark.provokes("KH505")
@pytest.mark.parametrize("code", ["401", "403"])
def test_api_servers_that_know_no_anonymous_user(code: str) -> None:
    nodes = healthy()
    rows = [f"kube-apiserver,{name},DOWN,0,L7STS,{code},,\n" for name in ("m1", "m2", "m3")]
    finding = only(found(nodes, m2=replace(nodes["m2"], haproxy_stat=STAT_HEADER + "".join(rows))))
    assert (finding.code, finding.node) == ("KH505", "m2")
    assert f"m1 DOWN L7STS {code}" in finding.evidence


@pytest.mark.provokes("KH208")
def test_files_that_differ_from_what_apply_would_write() -> None:
    finding = only(drift({"m2": [paths.HAPROXY_CONFIG, paths.CA_FILE]}))
    assert (finding.code, finding.node, finding.severity) == ("KH208", "m2", Severity.WARNING)
    assert finding.evidence == "/etc/haproxy/haproxy.cfg, /etc/haproxy/kube-ca.pem"
    assert drift({}) == ()
