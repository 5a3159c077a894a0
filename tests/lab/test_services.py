"""What the rendered units and scripts promise, on real machines: one lab, from apply to drain.

No Kubernetes: who holds the VIP never depends on an API server.
"""

from collections.abc import Iterator

import pytest
from endpoint import NODES, Endpoint
from running_lab import RunningLab, new_name, stays, wait_for

from kubeha import paths, vrrp


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    """Machines with the versions of Debian 13."""
    lab = RunningLab(new_name(), tmp_path_factory.mktemp("labs"))
    try:
        lab.up("--kubernetes", "none", "--release", "trixie", "--clients", "0")
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module", params=["machines", "trixie"])
def applied(request: pytest.FixtureRequest) -> Endpoint:
    """The endpoint on the session's machines (Debian 12), then on machines of Debian 13."""
    endpoint = Endpoint(request.getfixturevalue(request.param))
    endpoint.apply()
    return endpoint


@pytest.fixture
def endpoint(applied: Endpoint) -> Endpoint:
    """One holder, nobody drained, every service up."""
    for name in NODES:
        run(applied, name, f"echo 0 >{paths.DRAIN_FILE}")
        for unit in ("haproxy", "keepalived"):
            active = ["systemctl", "is-active", "--quiet", unit]
            machine = applied.lab.machine(name)
            wait_for(
                f"{unit} on {name}",
                lambda m=machine, a=active: m.execute(a, check=False).returncode == 0,
                timeout=20,
            )
    applied.wait_for_holder()
    return applied


def run(endpoint: Endpoint, name: str, command: str) -> str:
    """The output of a shell command on a machine."""
    return endpoint.lab.machine(name).execute(["sh", "-c", command]).stdout.strip()


def main_pid(endpoint: Endpoint, name: str, unit: str) -> str:
    return run(endpoint, name, f"systemctl show -p MainPID --value {unit}")


def bonus(endpoint: Endpoint, name: str) -> int:
    return int(run(endpoint, name, f"cat {paths.HOLDER_FILE}"))


def test_keepalived_sees_all_of_its_files_and_complains_of_nothing(endpoint: Endpoint) -> None:
    """Without inotify or on a read-only /etc it would run on and ignore its tracked files."""
    for name in NODES:
        journal = run(endpoint, name, "journalctl -b -u keepalived -o cat --no-pager")
        for words in ("monitor", "read only", "ignoring", "SECURITY", "cannot", "rlimit"):
            lines = [line for line in journal.splitlines() if words in line]
            # systemd's own words in a machine whose control groups it may not kill.
            assert [line for line in lines if "control group" not in line] == [], name


def test_the_vrrp_process_and_nothing_else_is_real_time(endpoint: Endpoint) -> None:
    for name in NODES:
        classes = run(endpoint, name, "ps -o cls=,rtprio=,comm= -C keepalived,haproxy,python3")
        assert [line.split() for line in classes.splitlines() if "RR" in line] == [
            ["RR", "50", "keepalived"]
        ]


def test_reloads_of_keepalived_move_nothing(endpoint: Endpoint) -> None:
    """Longer than the kernel needs to kill a process that is over its real-time limit."""
    holder = endpoint.holder()
    before = {name: main_pid(endpoint, name, "keepalived") for name in NODES}
    for name in NODES:
        run(
            endpoint,
            name,
            "systemctl reload keepalived && sleep 0.5 && systemctl reload keepalived",
        )
    stays("the holder", lambda: endpoint.holders() == [holder], seconds=8)
    assert {name: main_pid(endpoint, name, "keepalived") for name in NODES} == before
    assert bonus(endpoint, holder) > 0


def test_a_killed_vrrp_process_leaves_no_vip_and_no_bonus(endpoint: Endpoint) -> None:
    old = endpoint.holder()
    main = main_pid(endpoint, old, "keepalived")
    run(endpoint, old, f"kill -9 $(cat /proc/{main}/task/{main}/children)")
    new = endpoint.wait_for_holder(other_than=old)
    wait_for("a bonus at the new holder", lambda: bonus(endpoint, new) > 0, timeout=5)
    assert bonus(endpoint, old) == 0
    stays("the new holder", lambda: endpoint.holders() == [new], seconds=4)


def test_a_hung_haproxy_loses_the_vip_and_does_not_take_it_back(endpoint: Endpoint) -> None:
    old = endpoint.holder()
    run(endpoint, old, "kill -STOP $(pgrep -x -u haproxy haproxy)")
    try:
        new = endpoint.wait_for_holder(other_than=old)
    finally:
        run(endpoint, old, "kill -CONT $(pgrep -x -u haproxy haproxy)")
    stays("the new holder", lambda: endpoint.holders() == [new], seconds=5)


def test_a_drained_holder_gives_the_vip_up_and_serves_when_it_is_the_last(
    endpoint: Endpoint,
) -> None:
    old = endpoint.holder()
    run(endpoint, old, f"echo {vrrp.DRAIN} >{paths.DRAIN_FILE}")
    endpoint.wait_for_holder(other_than=old)
    others = [name for name in NODES if name != old]
    for name in others:
        run(endpoint, name, "systemctl stop haproxy")
    try:
        wait_for("the drained node", lambda: endpoint.holders() == [old], timeout=10)
    finally:
        for name in others:
            run(endpoint, name, "systemctl start haproxy")
    endpoint.wait_for_holder(other_than=old)


def test_maintenance_survives_a_reload_of_haproxy_and_not_its_restart(endpoint: Endpoint) -> None:
    def states() -> dict[str, str]:
        nodes = endpoint.status()["nodes"]
        m2 = next(node for node in nodes if node["name"] == "m2")
        return {server["name"]: server["status"] for server in m2["haproxy"]["servers"]}

    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); "
        f"s.connect('{paths.ADMIN_SOCKET}'); "
        "s.sendall(b'set server kube-apiserver/m3 state maint\\n'); print(s.recv(99))"
    )
    endpoint.lab.machine("m2").execute(["python3", "-c", ask])
    assert states()["m3"] == "MAINT"
    run(endpoint, "m2", "systemctl reload haproxy")
    assert states()["m3"] == "MAINT"
    run(endpoint, "m2", "systemctl restart haproxy")
    assert states()["m3"] != "MAINT"


def test_nothing_listens_but_the_endpoint(endpoint: Endpoint) -> None:
    for name in NODES:
        lines = run(endpoint, name, "ss -Hlntp").splitlines()
        addresses = [line.split()[3] for line in lines if '"haproxy"' in line]
        assert addresses == ["0.0.0.0:8443"], name
