"""What is broken inside a machine: its services, its disk, its /run. And all of it is healed."""

from collections.abc import Iterator

import pytest
from running_lab import RunningLab, wait_for

from kubeha.errors import LabError
from kubeha.lab.machine import Machine

KEEPALIVED = """\
vrrp_instance alone {
    state BACKUP
    interface eth0
    virtual_router_id 10
    priority 100
    advert_int 1
    virtual_ipaddress {
        198.51.100.99/32 dev eth0
    }
}
"""


@pytest.fixture(autouse=True)
def healed(machines: RunningLab) -> Iterator[None]:
    """Whatever a test has broken is whole again afterwards."""
    yield
    machines.heal()


@pytest.fixture(scope="module")
def served(machines: RunningLab) -> Iterator[Machine]:
    """The client machine, with a keepalived and a HAProxy of its own."""
    c1 = machines.machine("c1")
    machines.ssh("c1", "apt-get -q update && apt-get -q -y install haproxy keepalived")
    c1.execute(["tee", "/etc/keepalived/keepalived.conf"], input=KEEPALIVED)
    c1.execute(["systemctl", "restart", "keepalived", "haproxy"])
    yield c1
    machines.ssh("c1", "apt-get -q -y purge haproxy keepalived; rm -rf /etc/keepalived")


def processes(machine: Machine, program: str) -> dict[int, str]:
    """Process ids, the parent first, and what state each is in."""
    listed = machine.execute(["ps", "-C", program, "-o", "pid=,stat="], check=False).stdout
    return {int(pid): state for pid, state in (line.split() for line in listed.splitlines())}


@pytest.mark.parametrize(("program", "count"), [("keepalived", 2), ("haproxy", 2)])
def test_a_service_that_is_stopped_is_started_again(
    machines: RunningLab, served: Machine, program: str, count: int
) -> None:
    machines.fault(f"stop-{program}", "c1")
    assert processes(served, program) == {}
    refused = machines("fault", f"stop-{program}", "c1", check=False)
    assert f"{program}.service does not run" in refused.stderr
    machines.heal()
    wait_for("its processes", lambda: len(processes(served, program)) == count, timeout=5)


@pytest.mark.parametrize(("fault", "whom"), [("parent", 0), ("child", 1)])
def test_one_process_of_keepalived_is_killed(
    machines: RunningLab, served: Machine, fault: str, whom: int
) -> None:
    """What becomes of the other one is its own business: nothing here starts it again."""
    before = list(processes(served, "keepalived"))
    machines.fault(f"kill-keepalived-{fault}", "c1")
    wait_for("it is gone", lambda: before[whom] not in processes(served, "keepalived"), timeout=5)
    if fault == "child":
        assert before[0] in processes(served, "keepalived")
    machines.heal()
    wait_for("its processes", lambda: len(processes(served, "keepalived")) == 2, timeout=5)


def test_a_keepalived_that_hangs_is_still_there(machines: RunningLab, served: Machine) -> None:
    before = processes(served, "keepalived")
    machines.fault("hang-keepalived", "c1")
    hung = processes(served, "keepalived")
    assert list(hung) == list(before)
    assert {state[0] for state in hung.values()} == {"T"}
    machines.heal()
    assert {state[0] for state in processes(served, "keepalived").values()} <= {"S", "R"}


@pytest.mark.parametrize(("fault", "place"), [("disk-full", "/"), ("run-full", "/run")])
def test_no_space_is_left_until_it_is_healed(machines: RunningLab, fault: str, place: str) -> None:
    m1, m2 = machines.machine("m1"), machines.machine("m2")

    def size(machine: Machine) -> int:
        return int(machine.execute(["stat", "-fc", "%b", place]).stdout)

    def write(machine: Machine) -> None:
        # More than may have become free since.
        file = f"{place.rstrip('/')}/lab-test"
        write = f"head -c 1000000 /dev/zero >{file}; status=$?; rm {file}; exit $status"
        machine.execute(["sh", "-c", write])

    before = size(m1)
    machines.fault(fault, "m1")
    assert size(m1) < before
    with pytest.raises(LabError, match="No space left"):
        write(m1)
    write(m2)
    assert machines.ssh("m1", "hostname").strip() == "m1"
    machines.heal()
    assert size(m1) == before
    write(m1)
