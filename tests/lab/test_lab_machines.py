"""The lab itself: machines come and go, faults do what they say, nothing is left behind."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from running_lab import KUBEHA, RunningLab, new_name, stays, wait_for

from kubeha.lab import cgroup
from kubeha.lab.journal import Journal
from kubeha.lab.lab import cache_directory
from kubeha.lab.process import run

# Where a lab has only to be there.
SMALLEST = ("--kubernetes", "none", "--nodes", "1", "--clients", "0")


def traces(lab_id: str) -> list[str]:
    """Whatever on this box has a lab's id in its name: it is random, so it is that lab's."""
    found = [name for name in run(["ip", "netns", "list"]).stdout.split() if lab_id in name]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if lab_id in line]
    found += [str(path) for path in cgroup.mount_point().rglob(f"*{lab_id}*")]
    found += [str(path) for path in (cache_directory() / "labs").glob(f"*{lab_id}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = (process / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # What has no command line any more is dead, and this box's init has not noticed yet.
        if command and (lab_id in command or lab_id in inside):
            found.append(f"{process.name}: {command}")
    return found


def own_network() -> list[str]:
    """This box's own addresses, routes, firewall and ports that others could reach."""
    shown = [run(["ip", "-brief", "address"]).stdout, run(["nft", "-s", "list", "ruleset"]).stdout]
    shown += [
        run(["ip", family, "route", "show", "table", "all"]).stdout for family in ("-4", "-6")
    ]
    listening = run(["ss", "-Hltun"]).stdout.splitlines()
    loopback = ("127.", "[::1]")
    return shown + [line for line in listening if not line.split()[4].startswith(loopback)]


def journalled_names(place: Path) -> set[str]:
    return {entry.name for journal in Journal.of(place) for entry in journal.entries()}


def lab_id(place: Path) -> str:
    return str(json.loads((place / "lab.json").read_text())["id"])


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[tuple[RunningLab, "subprocess.Popen[str]"]]:
    """`kubeha lab up` at work, not waited for; whatever is left of it goes at the end."""
    lab = RunningLab(new_name(), tmp_path)
    process = subprocess.Popen(
        [KUBEHA, "lab", "up", "--name", lab.name, "--kubernetes", "none"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # As at a terminal, also where the tests run in a shell's background, which ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield lab, process
        finally:
            process.kill()
            process.wait()
            lab.down()


def boot_logs(lab: RunningLab) -> int:
    """How many machines have begun to boot."""
    return len(list((lab.place / "logs").glob("*.console")))


def test_up_says_where_everything_is(machines: RunningLab) -> None:
    seen = machines.status()
    assert [each["name"] for each in seen["machines"]] == ["m1", "m2", "m3", "c1"]
    assert {each["state"] for each in seen["machines"]} == {"running"}
    assert seen["machines"][0]["address"] == "198.51.100.11"
    assert Path(seen["cluster_file"]).is_file()
    assert traces(lab_id(machines.place)), "the search that proves an empty box finds nothing"


def test_every_machine_reaches_every_other_by_name_and_ipv6(machines: RunningLab) -> None:
    for machine in machines.machines:
        for other in machines.machines:
            machine.execute(["ping", "-q", "-c", "1", "-W", "2", other.name])
            machine.execute(["ping", "-q", "-6", "-c", "1", "-W", "2", other.address6])


def test_machines_have_no_way_out(machines: RunningLab) -> None:
    """But to a gateway of the lab's own, which has one cable and says so of everything outside."""
    m1 = machines.machine("m1")
    routes = m1.execute(["ip", "route"]).stdout.splitlines()
    assert [line.split()[0] for line in routes] == ["default", "198.51.100.0/24"]
    gateway = f"kubeha-{lab_id(machines.place)}-gateway"
    links = json.loads(run(["ip", "-n", gateway, "-j", "link"]).stdout)
    assert [link["ifname"] for link in links] == ["lo", "eth0"]
    said = m1.execute(["ping", "-c", "1", "-W", "5", "192.0.2.1"], check=False).stdout
    assert "Destination Host Unreachable" in said


def test_machines_cannot_set_the_kernel_of_this_box(machines: RunningLab) -> None:
    machine = machines.machine("m1")
    for setting in ("kernel/panic", "vm/swappiness", "fs/inotify/max_user_instances"):
        same = machine.execute(["cat", f"/proc/sys/{setting}"]).stdout
        tried = machine.execute(["tee", f"/proc/sys/{setting}"], input=same, check=False)
        assert "Read-only file system" in tried.stderr
    own = "/proc/sys/net/ipv4/ip_nonlocal_bind"
    machine.execute(["tee", own], input=machine.execute(["cat", own]).stdout)


def test_ssh_logs_in_as_root_and_as_a_user_with_sudo(machines: RunningLab) -> None:
    assert machines.ssh("m2", "id", "-un").strip() == "root"
    assert machines.ssh("198.51.100.12", "hostname").strip() == "m2"
    assert machines.ssh("ops@m2", "sudo", "-n", "id", "-u").strip() == "0"


def test_ssh_refuses_a_host_key_that_is_not_the_machines(
    machines: RunningLab, tmp_path: Path
) -> None:
    known = (machines.place / "known_hosts").read_text().splitlines()
    wrong = known[0].split(" ", 1)[0] + " " + known[1].split(" ", 1)[1] + "\n"
    (tmp_path / "known_hosts").write_text(wrong)
    config = ["-F", str(machines.place / "ssh_config")]
    option = ["-o", f"UserKnownHostsFile={tmp_path}/known_hosts"]
    done = run(["ssh", *config, *option, "m1", "true"], check=False)
    assert done.returncode == 255
    assert "verification failed" in done.stderr


def test_asyncssh_reads_the_same_ssh_config(machines: RunningLab) -> None:
    async def hostname() -> str:
        config = [str(machines.place / "ssh_config")]
        async with asyncssh.connect("m3", config=config) as connection:
            done = await connection.run("hostname", check=True)
        return str(done.stdout).strip()

    assert asyncio.run(hostname()) == "m3"


def test_exec_passes_input_output_and_exit_status(machines: RunningLab) -> None:
    done = machines("exec", "m1", "--", "sh", "-c", "hostname; cat >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "m1\n", "")


def test_nothing_but_ssh_listens_on_a_new_machine(machines: RunningLab) -> None:
    listening = machines.machine("m1").execute(["ss", "-Hltn"]).stdout.splitlines()
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening}
    assert ports == {"22"}


def test_power_off_is_sudden_and_boot_brings_it_back(machines: RunningLab) -> None:
    before = machines.ssh("m2", "cat /proc/sys/kernel/random/boot_id; cat /etc/machine-id")
    machines.machine("m2").execute(["ip", "addr", "add", "198.51.100.10/32", "dev", "eth0"])
    machines.fault("power-off", "m2")
    assert machines.state("m2") == machines.state("m2") | {"state": "off", "faults": ["power-off"]}
    assert not machines.answers("m2")
    refused = machines("exec", "m2", "--", "true", check=False)
    assert "m2: is powered off" in refused.stderr
    machines("boot", "m2")
    assert machines.state("m2") == machines.state("m2") | {"state": "running", "faults": []}
    assert machines.ssh("m2", "cat /etc/machine-id").strip() == before.split()[1]
    addresses = machines.machine("m2").execute(["ip", "-br", "addr"]).stdout
    assert "198.51.100.10/32" not in addresses, "a machine that was off remembers an address"
    journal = machines.machine("m2").execute(["journalctl", "--list-boots", "--no-pager"]).stdout
    assert len(journal.strip().splitlines()) >= 2


def test_reboot_from_inside_comes_back(machines: RunningLab) -> None:
    def leader() -> int | None:
        return machines.machine("m3").leader()

    before = leader()
    machines.ssh("m3", "systemctl reboot", check=False)
    wait_for("another PID 1", lambda: (now := leader()) and now != before, timeout=30)
    machines.machine("m3").wait_until_up()
    wait_for("sshd answers", lambda: machines.ssh("m3", "hostname", check=False), timeout=10)
    assert machines.answers("m3")


def test_poweroff_from_inside_stays_off_until_boot(machines: RunningLab) -> None:
    machines.ssh("m3", "systemctl poweroff", check=False)
    wait_for("off", lambda: machines.state("m3")["state"] == "off", timeout=30)
    stays("off", lambda: machines.machine("m3").leader() is None, seconds=1)
    machines("boot", "m3")
    assert machines.answers("m3")


def test_freeze_stops_time_in_the_machine(machines: RunningLab, tmp_path: Path) -> None:
    clock = "while :; do date +%s%N >/run/clock; sleep 0.05; done"
    machines.machine("m1").execute(["systemd-run", "--unit=clock", "sh", "-c", clock])
    ticks = ["nsenter", f"--target={machines.machine('m1').leader()}", "--mount", "--root"]
    ticks += ["cat", "/run/clock"]
    wait_for("a clock", lambda: run(ticks, check=False).stdout, timeout=5)
    machines.fault("freeze", "m1")
    stopped = run(ticks).stdout
    assert machines.state("m1")["state"] == "frozen"
    assert not machines.answers("m1")
    stays("the clock stands", lambda: run(ticks).stdout == stopped, seconds=1)
    machines.heal("m1")
    assert machines.state("m1") == machines.state("m1") | {"state": "running", "faults": []}
    wait_for("the clock goes on", lambda: run(ticks).stdout != stopped, timeout=5)
    assert machines.answers("m1")
    machines.machine("m1").execute(["systemctl", "stop", "clock"])


def carrier(lab: RunningLab, machine: str) -> str:
    done = lab.machine(machine).execute(["ip", "-br", "link", "show", "eth0"])
    return done.stdout.split()[1]


def test_link_down_takes_the_carrier_and_survives_a_reboot(machines: RunningLab) -> None:
    machines.fault("link-down", "m2")
    assert carrier(machines, "m2") != "UP"
    assert not machines.answers("m2")
    before = machines.machine("m2").leader()
    machines.machine("m2").execute(["systemctl", "reboot"], check=False)
    wait_for(
        "a new boot", lambda: machines.machine("m2").leader() not in (None, before), timeout=30
    )
    machines.machine("m2").wait_until_up()
    assert carrier(machines, "m2") != "UP"
    machines.heal()
    wait_for("the carrier is back", lambda: carrier(machines, "m2") == "UP", timeout=5)
    assert machines.answers("m2")


def test_partition_cuts_a_group_off_and_leaves_it_whole(machines: RunningLab) -> None:
    machines.fault("partition", "m1", "m2")
    assert machines.answers("m1", seen_from="m2")
    assert not machines.answers("m1", seen_from="m3")
    assert not machines.answers("m3", seen_from="m1")
    assert not machines.answers("m2", seen_from="c1")
    assert machines.answers("m3", seen_from="c1")
    assert carrier(machines, "m1") == "UP"
    assert machines.ssh("m1", "hostname", check=False) == "", "the operator is cut off, too"
    machines.heal("m1")
    assert machines.answers("m1", seen_from="m3")
    assert not machines.answers("m1", seen_from="m2")
    assert [each["faults"] for each in machines.status()["machines"]] == [[], ["partition"], [], []]
    machines.heal()
    assert machines.answers("m1", seen_from="m2")


@pytest.fixture(scope="module")
def with_haproxy(machines: RunningLab) -> RunningLab:
    assert not machines.ssh("m1", "command -v haproxy keepalived", check=False)
    machines.ssh("m1", "apt-get -q update && apt-get -q -y install haproxy keepalived")
    return machines


def test_apt_installs_from_the_offline_repository(with_haproxy: RunningLab) -> None:
    assert with_haproxy.ssh("m1", "systemctl is-active haproxy").strip() == "active"
    # A machine knows nothing of its neighbours' packages.
    assert not with_haproxy.ssh("m2", "command -v haproxy keepalived", check=False)


def main_pid(lab: RunningLab, unit: str) -> int:
    show = ["systemctl", "show", "--property=MainPID", "--value", unit]
    return int(lab.machine("m1").execute(show).stdout)


def process_states(lab: RunningLab) -> set[tuple[bool, str]]:
    """(is the master, state) of HAProxy's processes."""
    main = main_pid(lab, "haproxy")
    listed = lab.machine("m1").execute(["ps", "-C", "haproxy", "-o", "pid=,stat="]).stdout
    rows = (line.split() for line in listed.splitlines())
    return {(int(pid) == main, stat[0]) for pid, stat in rows}


def test_kill_haproxy_leaves_no_process_of_it(with_haproxy: RunningLab) -> None:
    before = main_pid(with_haproxy, "haproxy")
    with_haproxy.fault("kill-haproxy", "m1")
    wait_for("another process", lambda: main_pid(with_haproxy, "haproxy") != before, timeout=10)
    with_haproxy.heal()
    assert with_haproxy.ssh("m1", "systemctl is-active haproxy").strip() == "active"


def test_hang_haproxy_stops_the_worker_and_not_the_master(with_haproxy: RunningLab) -> None:
    with_haproxy.fault("hang-haproxy", "m1")
    assert process_states(with_haproxy) == {(True, "S"), (False, "T")}
    with_haproxy.heal("m1")
    assert process_states(with_haproxy) == {(True, "S"), (False, "S")}


def test_a_fault_that_cannot_be_is_refused_and_not_recorded(machines: RunningLab) -> None:
    done = machines("fault", "kill-apiserver", "m3", check=False)
    assert done.returncode == 3
    assert "m3: kube-apiserver.service does not run" in done.stderr
    assert machines.state("m3")["faults"] == []


def test_up_again_is_refused_while_it_is_up(machines: RunningLab) -> None:
    done = machines("up", "--kubernetes", "none", check=False)
    assert done.returncode == 3
    assert "is up already" in done.stderr
    assert machines.answers("m1")


def test_down_leaves_nothing_and_two_labs_do_not_meet(machines: RunningLab, tmp_path: Path) -> None:
    other = RunningLab(new_name(), tmp_path)
    before = own_network()
    try:
        other.up("--kubernetes", "none", "--nodes", "2", "--clients", "0")
        assert own_network() == before
        (other.machine("m1").root / "root/here").touch()
        assert not (machines.machine("m1").root / "root/here").exists()
        assert [machine.name for machine in other.machines] == ["m1", "m2"]
        ping = ["ping", "-q", "-c", "1", "-W", "1", machines.machine("m3").address]
        assert other.machine("m1").execute(ping, check=False).returncode == 1
        gone = lab_id(other.place)
        assert traces(gone)
    finally:
        other.down()
    assert traces(gone) == []
    assert list((tmp_path / ".lab").iterdir()) == []
    assert machines.answers("m1")


def test_down_takes_a_lab_away_whose_machines_are_broken(tmp_path: Path) -> None:
    lab = RunningLab(new_name(), tmp_path)
    try:
        lab.up("--kubernetes", "none")
        lab.fault("freeze", "m1")
        lab.fault("power-off", "m2")
        lab.fault("link-down", "m3")
        gone = lab_id(lab.place)
    finally:
        lab.down()
    assert traces(gone) == []


def test_a_lab_whose_directory_was_lost_is_taken_away(tmp_path: Path) -> None:
    """After `rm -rf .lab` or `git clean` the machines still run, and nobody knows of them."""
    lab = RunningLab(new_name(), tmp_path)
    for recovery in ("down", "up"):
        lab.up(*SMALLEST)
        lost = lab_id(lab.place)
        shutil.rmtree(tmp_path / ".lab")
        assert traces(lost)
        lab(recovery, *(SMALLEST if recovery == "up" else []))
        assert traces(lost) == []
    lab.down()


@pytest.mark.parametrize("machines_booting", [0, 1, 3])
def test_up_after_kill_9_in_the_middle(
    starting: tuple[RunningLab, "subprocess.Popen[str]"],
    machines: RunningLab,
    machines_booting: int,
) -> None:
    lab, process = starting
    wait_for(
        "a lab that is half there",
        lambda: (lab.place / "journal").exists() and boot_logs(lab) >= machines_booting,
        timeout=60,
        every=0.002,
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = lab_id(lab.place)
    assert journalled_names(lab.place)
    lab.up(*SMALLEST)
    assert traces(killed) == []
    assert {each["state"] for each in lab.status()["machines"]} == {"running"}
    assert machines.answers("m1"), "cleaning up has hit another lab"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_up_leaves_nothing(
    starting: tuple[RunningLab, "subprocess.Popen[str]"], number: signal.Signals
) -> None:
    lab, process = starting
    wait_for("a machine boots", lambda: boot_logs(lab) >= 2, timeout=60, every=0.002)
    interrupted = lab_id(lab.place)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "lab: cleaning up" in said.splitlines()
    assert "Traceback" not in said
    assert traces(interrupted) == []
    assert list(lab.place.parent.iterdir()) == []


def test_cleaning_up_never_enters_a_foreign_mount(tmp_path: Path) -> None:
    """Somebody mounted something into a machine's directory: their data is not ours to remove."""
    lab = RunningLab(new_name(), tmp_path)
    lab.up(*SMALLEST)
    foreign = lab.lab.store / "foreign"
    foreign.mkdir()
    run(["mount", "-t", "tmpfs", "tmpfs", str(foreign)])
    try:
        (foreign / "precious").touch()
        refused = lab("down", check=False)
        assert refused.returncode == 3
        assert f"{foreign} is mounted inside" in refused.stderr
        assert (foreign / "precious").exists()
    finally:
        run(["umount", str(foreign)])
        lab.down()
    assert not foreign.exists()


def test_what_is_executed_in_a_machine_dies_with_it(machines: RunningLab) -> None:
    process = subprocess.Popen(
        [KUBEHA, "lab", "exec", "--name", machines.name, "m3", "--", "sleep", "600"],
        cwd=machines.directory,
        stdin=subprocess.DEVNULL,
    )
    with process:
        inside = machines.machine("m3").running_group / "exec"
        wait_for("sleep runs", lambda: len(cgroup.pids(inside)) >= 2, timeout=10)
        machines.fault("power-off", "m3")
        assert process.wait(timeout=5) != 0
    machines.heal()


def test_everything_takes_time_limits_seriously(machines: RunningLab) -> None:
    started = time.monotonic()
    with pytest.raises(Exception, match="m1: no end after 0.5 s"):
        machines.machine("m1").execute(["sleep", "60"], timeout=0.5)
    assert time.monotonic() - started < 5
    look = ["ps", "-C", "sleep", "-o", "stat="]
    left = machines.machine("m1").execute(look, check=False).stdout.split()
    assert [stat for stat in left if stat != "Z"] == [], "it outlived its time limit"


def test_somebody_who_is_not_root_is_told_so(tmp_path: Path) -> None:
    code = """
import os, sys
from kubeha.errors import LabError
from kubeha.lab import lifecycle
os.chdir(sys.argv[1])
os.setuid(65534)
try:
    lifecycle.up(lifecycle.Request(), print)
except LabError as error:
    print(error, error.hint, sep="|")
"""
    said = run([sys.executable, "-c", code, str(tmp_path)]).stdout
    assert said.startswith("the lab needs root: ")
    assert "|run it as root" in said
    assert list(tmp_path.iterdir()) == []
