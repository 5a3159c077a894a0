"""What the rendered units and scripts promise, on real machines: one lab, from apply to drain.

No Kubernetes: who holds the VIP never depends on an API server.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from endpoint import NODES, Endpoint
from running_lab import RunningLab, new_name, stays, wait_for

from kubeha import paths, vrrp
from kubeha.haproxy import BACKEND


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


def noted(endpoint: Endpoint, name: str) -> int:
    """1 where the notify script has noted that the node holds the VIP."""
    return int(run(endpoint, name, f"cat {paths.HOLDER_FILE}"))


def move_to(endpoint: Endpoint, name: str) -> None:
    """Let a node take the VIP, by draining all others for a moment."""
    others = [other for other in NODES if other != name]
    for other in others:
        run(endpoint, other, f"echo {vrrp.DRAIN} >{paths.DRAIN_FILE}")
    wait_for(f"{name} holds the VIP", lambda: endpoint.holders() == [name], timeout=10)
    wait_for(f"{name} notes it", lambda: noted(endpoint, name) == 1, timeout=5)
    for other in others:
        run(endpoint, other, f"echo 0 >{paths.DRAIN_FILE}")


@contextmanager
def nobody_touches_the_vip(endpoint: Endpoint) -> Iterator[None]:
    """Every kernel says so itself: its events have moves too short to be found by looking."""
    unit, file = "vip-events", "/run/vip-events"
    for name in NODES:
        watch = f"exec ip -o monitor address >{file}"
        run(endpoint, name, f"systemd-run --quiet --unit={unit} sh -c '{watch}'")
        # A change of something else shows that the kernel's events arrive.
        other = "192.0.2.1/32 dev lo"
        probe = f"ip address replace {other}; ip address del {other}; cat {file}"
        wait_for("events", lambda n=name, p=probe: "192.0.2.1" in run(endpoint, n, p), timeout=5)
    try:
        yield
        for name in NODES:
            events = run(endpoint, name, f"cat {file}").splitlines()
            assert [line for line in events if f"{endpoint.lab.vip}/" in line] == [], name
    finally:
        for name in NODES:
            run(endpoint, name, f"systemctl stop {unit}; rm -f {file}")


def ask_haproxy(endpoint: Endpoint, name: str, command: str) -> str:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); "
        f"s.connect('{paths.ADMIN_SOCKET}'); s.sendall(sys.argv[1].encode() + b'\\n'); "
        "print(s.makefile().read())"
    )
    return endpoint.lab.machine(name).execute(["python3", "-c", program, command]).stdout


def servers(endpoint: Endpoint, name: str) -> dict[str, tuple[str, str]]:
    """(address with port, status) of every API server, as a node's HAProxy uses it."""
    shown = ask_haproxy(endpoint, name, "show stat").removeprefix("# ")
    rows = [row for row in csv.DictReader(io.StringIO(shown)) if row["pxname"] == BACKEND]
    return {row["svname"]: (row["addr"], row["status"]) for row in rows if row["addr"]}


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
    assert noted(endpoint, holder) == 1


def test_a_reversed_order_of_the_nodes_moves_nothing(endpoint: Endpoint) -> None:
    """The holder, first, becomes the last, and nobody takes the VIP from it meanwhile."""
    file = endpoint.lab.place / "kubeha.yaml"
    before = file.read_text()
    nodes = [line for line in before.splitlines() if line.startswith("  - {name: m")]
    assert len(nodes) == len(NODES)
    move_to(endpoint, NODES[0])
    try:
        with nobody_touches_the_vip(endpoint):
            file.write_text(before.replace("\n".join(nodes), "\n".join(reversed(nodes))))
            endpoint.apply()
            config = run(endpoint, NODES[0], f"cat {paths.KEEPALIVED_CONFIG}")
            assert f"priority {vrrp.base_priorities(3)[2]}\n" in config
            stays("the holder", lambda: endpoint.holders() == [NODES[0]], seconds=2)
    finally:
        file.write_text(before)
        endpoint.apply()
    assert endpoint.holder() == NODES[0]


def test_a_killed_vrrp_process_leaves_no_vip_and_no_note(endpoint: Endpoint) -> None:
    old = endpoint.holder()
    main = main_pid(endpoint, old, "keepalived")
    run(endpoint, old, f"kill -9 $(cat /proc/{main}/task/{main}/children)")
    new = endpoint.wait_for_holder(other_than=old)
    wait_for("the new holder notes it", lambda: noted(endpoint, new) == 1, timeout=5)
    assert noted(endpoint, old) == 0
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
    ask_haproxy(endpoint, "m2", f"set server {BACKEND}/m3 state maint")
    assert servers(endpoint, "m2")["m3"][1] == "MAINT"
    run(endpoint, "m2", "systemctl reload haproxy")
    assert servers(endpoint, "m2")["m3"][1] == "MAINT"
    run(endpoint, "m2", "systemctl restart haproxy")
    assert servers(endpoint, "m2")["m3"][1] != "MAINT"


def test_a_server_with_a_new_port_is_asked_there_after_a_reload(endpoint: Endpoint) -> None:
    """HAProxy prefers the port in its saved state (its issue 1412); the others' state stays."""
    old = servers(endpoint, "m2")
    assert old["m1"][0].endswith(":6443")
    ask_haproxy(endpoint, "m2", f"set server {BACKEND}/m3 state maint")
    config = run(endpoint, "m2", f"cat {paths.HAPROXY_CONFIG}")
    try:
        edit = "s/^( *server m1[^ ]* [^ ]*):6443 /\\1:7443 /"
        run(endpoint, "m2", f"sed -E -i '{edit}' {paths.HAPROXY_CONFIG}")
        assert run(endpoint, "m2", f"cat {paths.HAPROXY_CONFIG}") != config
        run(endpoint, "m2", "systemctl reload haproxy")
        new = servers(endpoint, "m2")
        assert new["m1"][0] == old["m1"][0].replace(":6443", ":7443")
        assert new["m2"][0] == old["m2"][0]
        assert new["m3"] == (old["m3"][0], "MAINT")
    finally:
        run(endpoint, "m2", f"sed -i 's/:7443 /:6443 /' {paths.HAPROXY_CONFIG}")
        run(endpoint, "m2", "systemctl restart haproxy")
    assert servers(endpoint, "m2")["m1"][0] == old["m1"][0]


def test_nothing_listens_but_the_endpoint(endpoint: Endpoint) -> None:
    for name in NODES:
        lines = run(endpoint, name, "ss -Hlntp").splitlines()
        addresses = [line.split()[3] for line in lines if '"haproxy"' in line]
        assert addresses == ["0.0.0.0:8443"], name
