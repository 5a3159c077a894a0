"""The main job on real machines: an endpoint that outlives its holder."""

import json
import time

import pytest
from cluster_works import assert_cluster_works, wait_for_leaders, wait_until_ready
from endpoint import NODES, Endpoint
from running_lab import RunningLab, stays, wait_for

from kubeha.remote import Load


@pytest.fixture(scope="module")
def applied(cluster: RunningLab) -> Endpoint:
    """The shared control plane, with the endpoint deployed from nothing."""
    endpoint = Endpoint(cluster)
    said = endpoint.apply()
    assert "m1 (primary: takes the VIP)" in said
    assert said.index("m1   start keepalived") < said.index("m2   start keepalived")
    assert endpoint.holder() == "m1"
    return endpoint


@pytest.fixture
def endpoint(applied: Endpoint) -> Endpoint:
    """The endpoint, found healthy by the test and left healthy for the next one."""
    applied.lab.heal()
    applied.wait_until_healthy()
    return applied


def test_a_client_gets_answers_through_the_endpoint(endpoint: Endpoint) -> None:
    assert endpoint.kubectl("get", "--raw=/readyz").strip() == "ok"
    assert "Server Version" in endpoint.kubectl("version")
    assert_cluster_works(endpoint.kubectl)


def test_a_second_apply_changes_nothing(endpoint: Endpoint) -> None:
    before = {name: _processes(endpoint, name) for name in NODES}
    said = endpoint.apply()
    assert "No changes. Every load balancer node is as the cluster file says." in said
    assert {name: _processes(endpoint, name) for name in NODES} == before


def _processes(endpoint: Endpoint, name: str) -> str:
    """Which instances of the services run: they change with every start."""
    show = ["systemctl", "show", "-p", "InvocationID,MainPID,StateChangeTimestamp"]
    machine = endpoint.lab.machine(name)
    return machine.execute([*show, "haproxy", "keepalived"]).stdout


def test_a_wrong_port_of_the_api_servers_is_rolled_back(endpoint: Endpoint) -> None:
    """HAProxy reloads well with it, and finds nothing: the first node's gate stays closed."""
    file = endpoint.lab.place / "kubeha.yaml"
    right = file.read_text()
    file.write_text(right + "api_port: 6444\n")
    try:
        with endpoint.clients(after=2) as seen:
            done = endpoint.lab.kubeha("apply", "--yes", "--no-diff")
    finally:
        file.write_text(right)
    assert done.returncode == 4, done.stderr
    assert "HAProxy has found no API server ready with its new settings" in done.stderr
    assert "the node was put back as it was" in done.stderr
    seen.show("a wrong api_port, rolled back")
    assert seen.history.failures == ()
    assert "No changes." in endpoint.apply()


def test_plan_exit_code_tells_whether_there_are_changes(endpoint: Endpoint) -> None:
    assert endpoint.lab.kubeha("plan", "--exit-code").returncode == 0


def test_verify_answers_in_its_documented_shape(endpoint: Endpoint) -> None:
    seen = endpoint.status("verify")
    assert seen["version"] == 1
    assert seen["endpoint"]["holders"] == [endpoint.holder()]
    assert seen["endpoint"]["reachable"] is True
    assert seen["endpoint"]["server_version"].startswith("v1.")
    assert [node["name"] for node in seen["nodes"]] == ["m1", "m2", "m3", "c1"]
    for node in seen["nodes"][:3]:
        assert node["haproxy"]["active"] and node["keepalived"]["active"]
        statuses = {server["name"]: server["status"] for server in node["haproxy"]["servers"]}
        assert statuses == {"m1": "UP", "m2": "UP", "m3": "UP"}
        assert node["api"]["healthy"] and node["drained"] is False
    assert seen["findings"] == []


@pytest.mark.parametrize("etcd_leader", [False, True], ids=["holder", "holder-and-etcd-leader"])
def test_power_failure_of_the_holder(endpoint: Endpoint, etcd_leader: bool) -> None:
    """The VIP moves, no patient client fails, the cluster works on, and nothing moves back.

    What was under way through the dead machine is lost with it; it is printed, not asserted.
    """
    old = endpoint.holder()
    if etcd_leader:
        _make_etcd_leader(endpoint, old)
    with endpoint.clients() as seen:
        endpoint.strike(seen, "power-off", old)
        new = endpoint.wait_for_holder(other_than=old)
    seen.show(f"power-off of {old}")
    assert seen.failed("version") == []
    others = set(NODES) - {old}
    wait_for_leaders(endpoint.kubectl, others)
    assert_cluster_works(endpoint.kubectl)
    endpoint.lab("boot", old)
    endpoint.wait_until_healthy()
    stays("the VIP is where it was", lambda: endpoint.holders() == [new], seconds=5)


def _make_etcd_leader(endpoint: Endpoint, name: str) -> None:
    """Move etcd's leadership to a member, if it is not there yet."""
    machine = endpoint.lab.machine(name)
    pki = "/etc/kubernetes/pki/etcd"
    client = [f"--cert={pki}/healthcheck-client.crt", f"--key={pki}/healthcheck-client.key"]
    etcdctl = ["env", "ETCDCTL_API=3", "etcdctl", f"--cacert={pki}/ca.crt", *client]
    urls = ",".join(f"https://{endpoint.lab.machine(each).address}:2379" for each in NODES)
    status = machine.execute([*etcdctl, f"--endpoints={urls}", "endpoint", "status", "-w", "json"])
    members = json.loads(status.stdout)
    leader = members[0]["Status"]["leader"]
    wanted = next(
        each["Status"]["header"]["member_id"]
        for each in members
        if machine.address in each["Endpoint"]
    )
    if leader != wanted:
        url = next(m["Endpoint"] for m in members if m["Status"]["header"]["member_id"] == leader)
        machine.execute([*etcdctl, f"--endpoints={url}", "move-leader", f"{wanted:x}"])


def test_plain_reboot_of_the_holder_without_preparation(endpoint: Endpoint) -> None:
    """What is on its way through the holder when it gives the VIP up is lost; nothing later."""
    old = endpoint.holder()
    with endpoint.clients() as seen:
        endpoint.lab.machine(old).execute(["systemctl", "reboot"], check=False)
        new = endpoint.wait_for_holder(other_than=old)
        seen.strike()
    seen.show(f"reboot of {old}")
    assert seen.failed("version") == []
    endpoint.wait_until_healthy()
    assert endpoint.holders() == [new]


def test_killed_haproxy_on_the_holder(endpoint: Endpoint) -> None:
    """keepalived learns of it at once; systemd starts HAProxy again; one holder at the end."""
    old = endpoint.holder()
    with endpoint.clients(after=5) as seen:
        endpoint.strike(seen, "kill-haproxy", old)
        new = endpoint.wait_for_holder(other_than=old)
    seen.show(f"kill-haproxy on {old}")
    after_move = [one for one in seen.history.failures if one.start > seen.struck + 2]
    assert after_move == []
    endpoint.wait_until_healthy()
    assert endpoint.holders() == [new]


def test_killed_api_server(endpoint: Endpoint) -> None:
    """HAProxy goes on to another one: no new connection fails, and the VIP stays."""
    holder = endpoint.holder()
    victim = next(name for name in NODES if name != holder)
    with endpoint.clients(after=5) as seen:
        endpoint.strike(seen, "kill-apiserver", victim)
    seen.show(f"kill-apiserver on {victim}")
    assert seen.failed("version") == []
    assert endpoint.holder() == holder
    wait_until_ready(endpoint.lab.machine(victim))


def test_all_machines_rebooted_at_once(endpoint: Endpoint) -> None:
    for name in NODES:
        endpoint.lab.machine(name).execute(["systemctl", "reboot"], check=False)
    for name in NODES:
        wait_for(f"{name} is down", lambda name=name: not _booted(endpoint, name), timeout=60)
    for name in NODES:
        wait_for(f"{name} is up again", lambda name=name: _booted(endpoint, name), timeout=90)
    endpoint.wait_until_healthy(timeout=180)
    assert len(endpoint.holders()) == 1
    for name in NODES:
        endpoint.lab.machine(name).execute(["test", "-S", "/run/haproxy/admin.sock"])


def _booted(endpoint: Endpoint, name: str) -> bool:
    machine = endpoint.lab.machine(name)
    return machine.leader() is not None and machine.state() in ("running", "degraded")


def test_all_services_started_at_once_by_hand(endpoint: Endpoint) -> None:
    """The trouble of hand-made setups: every master's keepalived started at the same moment."""
    for verb in ("stop", "start"):
        for name in NODES:
            command = ["systemctl", verb, "--no-block", "haproxy", "keepalived"]
            endpoint.lab.machine(name).execute(command)
        if verb == "stop":
            wait_for("nobody holds the VIP", lambda: not endpoint.holders(), timeout=30)
    holder = endpoint.wait_until_settled()
    endpoint.wait_until_healthy()
    assert endpoint.holders() == [holder]


def test_an_idle_watch_outlives_a_minute(endpoint: Endpoint) -> None:
    with endpoint.clients([Load("watch", connections=3)], after=0) as seen:
        time.sleep(66)
    lives = [attempt.seconds for attempt in seen.history.of("watch")]
    print(f"idle watches lived {', '.join(f'{life:.0f} s' for life in lives)}, then we ended them")
    assert [attempt.outcome for attempt in seen.history.of("watch")] == ["ok"] * 3
    assert min(lives) > 60
