"""Never two holders, where VRRP alone would leave two: the guard, on real machines.

Without Kubernetes: who holds the VIP is the kernels' word, not kubeha's.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import labs
from holding import Holding, has_vip, holding
from running_lab import RunningLab, stays, wait_for

NODES = ("m1", "m2", "m3")
# Of any conflict; the goal is 0.1 s, and a machine of tests may be busy.
A_MOMENT = 1.0


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, lab_directory: Path) -> Iterator[RunningLab]:
    """Three machines with the endpoint applied; no API server behind it."""
    for one in labs(request, lab_directory, "--kubernetes", "none"):
        one.kubeha("apply", "--yes", "--no-diff", check=True, timeout=600)
        yield one


@pytest.fixture
def healthy(lab: RunningLab) -> Iterator[RunningLab]:
    """Nobody stands aside before a test, and everything is healed after it."""
    wait_until_well(lab)
    yield lab
    lab.heal()
    for name in NODES:
        if lab.machine(name).leader() is None:
            lab("boot", name)
    wait_until_well(lab)


def wait_until_well(lab: RunningLab) -> None:
    def well() -> bool:
        return all(tracked(lab, n, "guard") == "0" for n in NODES) and len(holders(lab)) == 1

    wait_for("one holder and nobody aside", well, timeout=60)
    (name,) = holders(lab)
    wait_for("the holder has settled", lambda: tracked(lab, name, "fresh") == "0", timeout=60)


def holders(lab: RunningLab) -> list[str]:
    return [name for name in NODES if has_vip(lab, name)]


def holder_and_others(lab: RunningLab) -> tuple[str, list[str]]:
    (holder,) = holders(lab)
    return holder, [name for name in NODES if name != holder]


def tracked(lab: RunningLab, name: str, file: str) -> str:
    """One of the files under /run/kubeha, or nothing while the machine is off."""
    if lab.machine(name).leader() is None:
        return ""
    shown = lab.machine(name).execute(["cat", f"/run/kubeha/{file}"], check=False)
    return shown.stdout.strip()


def guard_pid(lab: RunningLab, name: str) -> int:
    show = ["systemctl", "show", "--property=MainPID", "--value", "kubeha-guard"]
    return int(lab.machine(name).execute(show).stdout)


def signal_guard(lab: RunningLab, name: str, signal: str) -> None:
    lab.machine(name).execute(["systemctl", "kill", f"--signal={signal}", "kubeha-guard"])


def assert_one_holder(seen: Holding, what: str) -> None:
    shown = seen.show(what)
    assert seen.longest(2) < A_MOMENT, shown


@pytest.mark.provokes("KH425")
@pytest.mark.parametrize("between", ["two", "all"])
def test_vrrp_blocked_between_healthy_nodes(healthy: RunningLab, between: str) -> None:
    """Nothing moves; whoever could not hear the holder stands aside; then the holder dies."""
    old, others = holder_and_others(healthy)
    apart = [old, others[0]] if between == "two" else [old, *others]
    with holding(healthy, NODES) as seen:
        healthy.fault("block-vrrp", *apart)
        wait_for("the other one stands aside", lambda: tracked(healthy, apart[1], "guard") == "1",
                 timeout=10)  # fmt: skip
        time.sleep(60)
    assert_one_holder(seen, f"112 blocked between {between}")
    assert len(seen.moves()) <= 1
    assert seen.takes() <= len(apart) - 1
    told = json.loads(healthy.kubeha("status", "-o", "json").stdout)
    aside = {f["node"] for f in told["findings"] if f["code"] == "KH425"}
    assert aside == set(apart[1:])
    with holding(healthy, NODES) as seen:
        healthy.fault("power-off", old)
        wait_for("another one holds the VIP", lambda: holders(healthy), timeout=5)
        time.sleep(5)
    assert_one_holder(seen, "the holder is powered off")
    assert len(holders(healthy)) == 1


def test_keepalived_that_hangs_while_it_holds_the_vip(healthy: RunningLab) -> None:
    old, _ = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        healthy.fault("hang-keepalived", old)
        time.sleep(10)
    assert_one_holder(seen, "keepalived hangs")
    assert len(seen.moves()) == 1
    assert holders(healthy) == [seen.moves()[0]]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_thawed_holder_does_not_get_the_vip_back(healthy: RunningLab, turn: int) -> None:
    """Three times, so that the former holder is once before and once behind the new one."""
    old, _ = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        healthy.fault("freeze", old)
        wait_for("another holder", lambda: set(holders(healthy)) - {old}, timeout=10)
        time.sleep(3)
        healthy.heal(old)
        time.sleep(5)
    assert len(seen.moves()) == 1, seen.show(f"{old} thaws")
    new = seen.moves()[0]
    answer = healthy.machine("c1").execute(["ping", "-c", "1", "-W", "1", healthy.vip], check=False)
    neighbour = healthy.machine("c1").execute(["ip", "neigh", "show", healthy.vip]).stdout
    assert answer.returncode == 0
    assert mac_of(healthy, new) in neighbour


def mac_of(lab: RunningLab, name: str) -> str:
    return lab.machine(name).execute(["cat", "/sys/class/net/eth0/address"]).stdout.strip()


def test_who_is_cut_off_gives_the_vip_up(healthy: RunningLab) -> None:
    old, others = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        healthy.fault("isolate", old)
        wait_for("only another one", lambda: len(holders(healthy)) == 1 and old not in
                 holders(healthy), timeout=15)  # fmt: skip
        stays("it does not come back", lambda: not has_vip(healthy, old), seconds=5)
        healthy.heal(old)
        wait_for("it takes part again", lambda: tracked(healthy, old, "guard") == "0", timeout=15)
        time.sleep(3)
    assert len(seen.moves()) == 1, seen.show(f"{old} is cut off")
    assert holders(healthy)[0] in others


def test_the_survivor_of_dead_peers_serves_on(healthy: RunningLab) -> None:
    survivor, others = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        for name in others:
            healthy.fault("power-off", name)
        time.sleep(15)
    assert holders(healthy) == [survivor]
    assert seen.changes == []


@pytest.mark.provokes("KH424")
def test_the_guard_can_be_killed_stopped_and_frozen(healthy: RunningLab) -> None:
    """The endpoint does not notice; systemd starts it again, also where it hangs."""
    holder, others = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        for name in NODES:
            before = guard_pid(healthy, name)
            signal_guard(healthy, name, "KILL")
            wait_for("a new guard", lambda n=name, b=before: guard_pid(healthy, n) not in (0, b),
                     timeout=10)  # fmt: skip
        before = guard_pid(healthy, holder)
        signal_guard(healthy, holder, "STOP")
        wait_for("the watchdog ends it", lambda: guard_pid(healthy, holder) not in (0, before),
                 timeout=40)  # fmt: skip
        healthy.machine(others[0]).execute(["systemctl", "stop", "kubeha-guard"])
        told = json.loads(healthy.kubeha("status", "-o", "json").stdout)
        assert [f["node"] for f in told["findings"] if f["code"] == "KH424"] == [others[0]]
        healthy.machine(others[0]).execute(["systemctl", "start", "kubeha-guard"])
    assert seen.changes == []


def test_a_frozen_guard_of_the_holder_while_vrrp_is_blocked(healthy: RunningLab) -> None:
    """The one whose guard lives steps down for a holder that is alive."""
    old, _ = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        signal_guard(healthy, old, "STOP")
        healthy.fault("block-vrrp", *NODES)
        time.sleep(20)
    assert_one_holder(seen, "112 blocked while the holder's guard is frozen")
    assert len(holders(healthy)) == 1


def test_a_stranger_with_the_vip_does_not_make_us_step_down(healthy: RunningLab) -> None:
    old, _ = holder_and_others(healthy)
    with holding(healthy, NODES) as seen:
        healthy("fault", "vip-stolen")
        time.sleep(8)
    assert holders(healthy) == [old]
    assert seen.changes == []


def test_all_machines_power_cycled_together(healthy: RunningLab) -> None:
    for name in NODES:
        healthy.fault("power-off", name)
    healthy.heal()
    for name in NODES:
        healthy("boot", name)
    wait_for("a holder", lambda: holders(healthy), timeout=60)
    wait_until_well(healthy)


def test_what_it_costs(healthy: RunningLab) -> None:
    """Memory and processor time, printed; the memory has a limit in its unit, too."""
    before = {name: cost(healthy, name) for name in NODES}
    time.sleep(60)
    holder, _ = holder_and_others(healthy)
    for name in NODES:
        memory, ticks = cost(healthy, name)
        part = (ticks - before[name][1]) / 60
        what = "holder" if name == holder else "backup"
        print(f"guard on {name} ({what}): {memory} kB resident, {part:.2f} % of a processor")
        assert memory <= 20 * 1024


def cost(lab: RunningLab, name: str) -> tuple[int, int]:
    """Resident kB, and hundredths of a second of processor time so far."""
    pid = guard_pid(lab, name)
    machine = lab.machine(name)
    status = machine.execute(["grep", "VmRSS", f"/proc/{pid}/status"]).stdout
    times = machine.execute(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
    return int(status.split()[1]), int(times[11]) + int(times[12])
