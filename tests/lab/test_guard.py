"""Never two holders, where VRRP alone would leave two: the guard, on real machines.

Without Kubernetes: who holds the VIP is the kernels' word, not kubeha's.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import labs
from holding import Holding, has_vip, holding
from running_lab import RunningLab, stays, wait_for

from kubeha.node.guard.events import Claim
from kubeha.node.guard.frames import BROADCAST, ETHERTYPE_CLAIM, pack_claim

NODES = ("m1", "m2", "m3")
# Of any conflict; the goal is 0.1 s, and a machine of tests may be busy.
A_MOMENT = 1.0
# Beyond all that the guard waits for, but for the longest doubt.
LONG = 600.0


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
    """Of a guard that is on duty, or 0: one that has just begun knows nothing of its card yet."""
    show = ["systemctl", "show", "--property=MainPID,ActiveState", "kubeha-guard"]
    lines = lab.machine(name).execute(show).stdout.split()
    shown = dict(line.split("=", 1) for line in lines)
    return int(shown["MainPID"]) if shown["ActiveState"] == "active" else 0


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
    assert_one_holder_while_blocked(healthy, apart, seconds=60)
    told = json.loads(healthy.kubeha("status", "-o", "json").stdout)
    aside = {f["node"] for f in told["findings"] if f["code"] == "KH425"}
    assert aside == set(apart[1:])
    assert_taken_over_from(healthy, old)


@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_who_hears_both_never_takes_the_vip(healthy: RunningLab, turn: int) -> None:
    """keepalived of who makes way ends with priority 0; that is not the end of the holder."""
    old, others = holder_and_others(healthy)
    deaf = others[turn % 2]
    with holding(healthy, NODES) as seen:
        healthy.fault("block-vrrp", old, deaf)
        wait_for("it stands aside", lambda: tracked(healthy, deaf, "guard") == "1", timeout=10)
        time.sleep(5)
    shown = seen.show(f"112 blocked between {old} and {deaf}")
    assert [node for _, node, has in sorted(seen.changes) if has] == [deaf], shown
    assert holders(healthy) == [old]
    for name in NODES:
        machine = healthy.machine(name)
        log = machine.execute(["journalctl", "-b", "-u", "kubeha-guard", "-o", "cat"]).stdout
        assert "cannot keep advertisements back" not in log and "Hush: " not in log
        assert "kubeha_guard" not in machine.execute(["nft", "list", "tables"]).stdout


@pytest.mark.soak
def test_vrrp_blocked_for_long(healthy: RunningLab) -> None:
    """Doubts that grow with time and rules for conflicts that last must not make it flap."""
    old, others = holder_and_others(healthy)
    assert_one_holder_while_blocked(healthy, [old, *others], seconds=LONG)
    (now,) = holders(healthy)
    assert_taken_over_from(healthy, now)


def assert_one_holder_while_blocked(lab: RunningLab, apart: list[str], *, seconds: float) -> None:
    with holding(lab, NODES) as seen:
        lab.fault("block-vrrp", *apart)
        wait_for("the other one stands aside", lambda: tracked(lab, apart[1], "guard") == "1",
                 timeout=10)  # fmt: skip
        time.sleep(seconds)
    assert_one_holder(seen, f"112 blocked between {', '.join(apart)} for {seconds:g} s")
    assert len(seen.moves()) <= 1
    assert seen.takes() <= len(apart) - 1


def assert_taken_over_from(lab: RunningLab, old: str) -> None:
    with holding(lab, NODES) as seen:
        lab.fault("power-off", old)
        wait_for("another one holds the VIP", lambda: holders(lab), timeout=10)
        time.sleep(5)
    assert_one_holder(seen, f"{old} is powered off")
    assert len(holders(lab)) == 1


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


def test_who_was_cut_off_for_moments_is_watched_further(healthy: RunningLab) -> None:
    for _ in range(3):
        blinking = holders(healthy)[0]
        healthy.fault("isolate", blinking)
        healthy.heal(blinking)
    wait_until_well(healthy)
    old, _ = holder_and_others(healthy)
    healthy.fault("isolate", old)
    wait_for("only another one", lambda: len(holders(healthy)) == 1 and old not in
             holders(healthy), timeout=15)  # fmt: skip


def test_a_backup_that_was_cut_off_leaves_the_vip_where_it_is(healthy: RunningLab) -> None:
    """It takes the VIP on its island, sees that it is one, and claims nothing when it is back."""
    old, (cut_off, _) = holder_and_others(healthy)
    # The new guard knows of its surroundings what a node learns that has never held the VIP.
    healthy.machine(cut_off).execute(["systemctl", "restart", "kubeha-guard"])
    with holding(healthy, NODES) as seen:
        healthy.fault("isolate", cut_off)
        wait_for("it sees that", lambda: tracked(healthy, cut_off, "guard") == "1", timeout=15)
        stays("nobody else has it", lambda: holders(healthy) in ([old], [old, cut_off],
              [cut_off, old]), seconds=5)  # fmt: skip
        healthy.heal(cut_off)
        wait_for("it takes part again", lambda: tracked(healthy, cut_off, "guard") == "0",
                 timeout=15)  # fmt: skip
        time.sleep(5)
    assert holders(healthy) == [old], seen.show(f"{cut_off} was cut off")
    assert old not in {node for _, node, _ in seen.changes}


def test_guards_that_answer_are_company_where_nothing_else_does(healthy: RunningLab) -> None:
    """The gateway dies, and no other node has an address on this card, as far as ARP can tell."""
    old, others = holder_and_others(healthy)
    for name in others:
        mac, address = mac_of(healthy, name), healthy.machine(name).address
        keep = ["ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", "eth0"]
        healthy.machine(old).execute(keep)
    gateway = healthy.machine(old).namespace.replace(f"-{old}", "-gateway")
    try:
        with holding(healthy, NODES) as seen:
            for name in others:
                set_arp_ignore(healthy, name, 8)
            subprocess.run(["ip", "-n", gateway, "link", "set", "eth0", "down"], check=True)
            time.sleep(15)
        assert seen.changes == []
        assert tracked(healthy, old, "guard") == "0"
    finally:
        subprocess.run(["ip", "-n", gateway, "link", "set", "eth0", "up"], check=True)
        for name in others:
            set_arp_ignore(healthy, name, 0)


def set_arp_ignore(lab: RunningLab, name: str, value: int) -> None:
    command = f"echo {value} >/proc/sys/net/ipv4/conf/eth0/arp_ignore"
    lab.machine(name).execute(["sh", "-c", command])


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


def test_a_stranger_that_claims_to_be_a_peer_is_not_believed(healthy: RunningLab) -> None:
    """In the name of every node: holds the VIP, and longer than anybody."""
    old, _ = holder_and_others(healthy)
    told = json.loads(healthy.machine(old).execute(["cat", "/etc/kubeha/node.json"]).stdout)
    vip = socket.inet_aton(healthy.vip)
    frames = []
    for rank, name in enumerate(NODES):
        address = socket.inet_aton(healthy.machine(name).address)
        claim = Claim(told["vrid"], vip, address, rank, True, False, True, 1e6)
        card = bytes.fromhex(mac_of(healthy, "c1").replace(":", ""))
        kind = ETHERTYPE_CLAIM.to_bytes(2, "big")
        frames.append((BROADCAST + card + kind + pack_claim(claim)).hex())
    with holding(healthy, NODES) as seen:
        sent = healthy.machine("c1").execute(["python3", "-c", SENDER, *frames])
        time.sleep(1)
    assert int(sent.stdout) > 100
    assert seen.changes == []
    assert {tracked(healthy, name, "guard") for name in NODES} == {"0"}


# Says how many frames it has sent in five seconds.
SENDER = """
import socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("eth0", 0))
end = time.monotonic() + 5
count = 0
while time.monotonic() < end:
    for frame in sys.argv[1:]:
        count += sock.send(bytes.fromhex(frame)) > 0
    time.sleep(0.01)
print(count)
"""


def test_a_card_with_another_mac_address_starts_the_guard_anew(healthy: RunningLab) -> None:
    """With the old one it would tell everybody a wrong way to the VIP."""
    old, _ = holder_and_others(healthy)
    usual, other = mac_of(healthy, old), "02:00:5e:00:53:01"
    with holding(healthy, NODES) as seen:
        for mac in (other, usual):
            before = guard_pid(healthy, old)
            healthy.machine(old).execute(["ip", "link", "set", "dev", "eth0", "address", mac])
            wait_for("a new guard", lambda b=before: guard_pid(healthy, old) not in (0, b),
                     timeout=10)  # fmt: skip
    assert seen.changes == []
    log = healthy.machine(old).execute(["journalctl", "-u", "kubeha-guard", "-o", "cat"]).stdout
    assert f"eth0 has another MAC address now: {other}" in log


def test_a_vip_that_was_left_behind_is_removed(healthy: RunningLab) -> None:
    """Nobody is there who could give it up: its keepalived is gone."""
    old, _ = holder_and_others(healthy)
    machine = healthy.machine(old)
    machine.execute(["systemctl", "stop", "keepalived"])
    wait_for("another holder", lambda: holders(healthy), timeout=10)
    (new,) = holders(healthy)
    with holding(healthy, NODES) as seen:
        machine.execute(["ip", "address", "add", f"{healthy.vip}/32", "dev", "eth0"])
        wait_for("it is gone", lambda: not has_vip(healthy, old), timeout=10)
    assert_one_holder(seen, f"the VIP is left behind on {old}")
    assert holders(healthy) == [new]
    assert new not in {node for _, node, _ in seen.changes}
    machine.execute(["systemctl", "start", "keepalived"])


def test_all_machines_power_cycled_together(healthy: RunningLab) -> None:
    for name in NODES:
        healthy.fault("power-off", name)
    healthy.heal()
    for name in NODES:
        healthy("boot", name)
    wait_for("a holder", lambda: holders(healthy), timeout=60)
    wait_until_well(healthy)


def test_what_it_costs(healthy: RunningLab) -> None:
    """Memory, processor time and how often it wakes up, printed."""
    holder, _ = holder_and_others(healthy)
    before = {name: cost(healthy, name) for name in NODES}
    time.sleep(60)
    for name in NODES:
        after = cost(healthy, name)
        cpu, wakes = (after[what] - before[name][what] for what in ("CPUUsageNSec", "wakes"))
        what = "holder" if name == holder else "backup"
        print(
            f"guard on {name} ({what}): {cpu / 1e6:.0f} ms of processor time in 60 s,"
            f" awake {wakes} times, {after['resident']} kB resident"
        )
        assert after["resident"] <= 20 * 1024
        # For systemd's watchdog every three seconds, and hardly ever for anything else.
        assert name == holder or wakes < 60


def cost(lab: RunningLab, name: str) -> dict[str, int]:
    """What systemd and the kernel have counted for the guard."""
    machine = lab.machine(name)
    asked = ["systemctl", "show", "--property=CPUUsageNSec", "--value", "kubeha-guard"]
    used = machine.execute(asked).stdout
    lines = machine.execute(["cat", f"/proc/{guard_pid(lab, name)}/status"]).stdout.splitlines()
    status = dict(line.split(":", 1) for line in lines)
    counted = {"resident": status["VmRSS"], "wakes": status["voluntary_ctxt_switches"]}
    return {what: int(text.split()[0]) for what, text in (*counted.items(), ("CPUUsageNSec", used))}
