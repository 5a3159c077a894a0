"""Faults of the wire do what they say, and healing them leaves nothing, observed without kubeha."""

import json
import subprocess
from collections.abc import Iterator

import pytest
import wiretap
from running_lab import KUBEHA, RunningLab, new_name, stays, wait_for
from test_lab_machines import lab_id, traces
from wiretap import Advert

from kubeha.lab import cgroup
from kubeha.lab.process import run
from kubeha.lab.stranger import Stranger

THIEF, ROGUE = "198.51.100.91", "198.51.100.92"
VIP6 = "2001:db8::10"


@pytest.fixture(autouse=True)
def healed(machines: RunningLab) -> Iterator[None]:
    """Whatever a test has broken is whole again afterwards."""
    yield
    machines.heal()
    assert machines.status()["segment"] == []
    assert [each["faults"] for each in machines.status()["machines"]] == [[], [], [], []]


def namespaces(lab: RunningLab) -> set[str]:
    """Last words of the names of the lab's namespaces."""
    mine = f"kubeha-{lab_id(lab.place)}-"
    listed = (line.split()[0] for line in run(["ip", "netns", "list"]).stdout.splitlines())
    return {name.removeprefix(mine) for name in listed if name.startswith(mine)}


def test_a_stolen_vip_answers_from_a_strangers_card(machines: RunningLab) -> None:
    assert wiretap.mac_of(machines, "c1", machines.vip) == ""
    machines.fault("vip-stolen")
    ours = {wiretap.card(machines, machine.name) for machine in machines.machines}
    thief = wiretap.mac_of(machines, "c1", machines.vip)
    assert thief
    assert thief not in ours
    assert wiretap.mac_of(machines, "m2", machines.vip) == thief
    assert wiretap.mac_of(machines, "c1", THIEF) == thief
    assert wiretap.adverts(machines, "c1", 1.5) == [], "it does not speak VRRP"
    machines.heal()
    assert wiretap.mac_of(machines, "c1", machines.vip) == ""


def test_a_stolen_vip_may_be_ipv6(machines: RunningLab) -> None:
    machines.fault("vip-stolen", f"vip={VIP6}")
    assert wiretap.mac_of(machines, "c1", VIP6) == wiretap.mac_of(machines, "c1", THIEF)
    machines.fault("vip-stolen")
    assert wiretap.mac_of(machines, "c1", VIP6) == "", "the same fault again replaces the first"
    assert [each["fault"] for each in machines.status()["segment"]] == ["vip-stolen"]


def rogue(lab: RunningLab, **expected: object) -> Advert:
    """What the rogue should say, with defaults; its card is not foreseen."""
    known = {"source": ROGUE, "version": 3, "vrid": 10, "priority": 150, "vips": ("198.51.100.99",)}
    mac = wiretap.mac_of(lab, "c1", ROGUE)
    return Advert(**{"mac": mac, **known, **expected})  # type: ignore[arg-type]


def test_a_rogue_advertises_our_vrid_and_is_heard_everywhere(machines: RunningLab) -> None:
    machines.fault("rogue-vrrp")
    assert set(wiretap.adverts(machines, "c1")) == {rogue(machines)}
    machines.heal()
    assert wiretap.adverts(machines, "c1", 1.2) == []
    assert namespaces(machines) == {"lan", "gateway", "m1", "m2", "m3", "c1"}


def test_a_rogue_takes_vrid_priority_version_interval_and_vip(machines: RunningLab) -> None:
    settings = {"vrid": 51, "priority": 7, "version": 2}
    words = [f"{key}={value}" for key, value in settings.items()]
    machines.fault("rogue-vrrp", *words, "interval=0.1", f"vip={machines.vip}")
    seen = wiretap.adverts(machines, "m3", 1.0)
    assert set(seen) == {rogue(machines, **settings, vips=(machines.vip,))}
    assert 5 <= len(seen) <= 11


def test_a_rogue_speaks_ipv6_for_an_ipv6_vip(machines: RunningLab) -> None:
    machines.fault("rogue-vrrp", f"vip={VIP6}", "interval=0.1")
    seen = set(wiretap.adverts(machines, "m1", 0.5))
    assert seen == {rogue(machines, source="fe80::92", vips=(VIP6,))}


def test_a_rogue_ends_with_the_lab_and_with_its_group(machines: RunningLab) -> None:
    machines.fault("rogue-vrrp")
    group = Stranger(lab_id(machines.place), "rogue-vrrp", 0).group
    (pid,) = cgroup.pids(group)
    machines.heal()
    assert not group.exists()
    # This box's init may not have noticed yet that it is dead.
    assert run(["ps", "-o", "stat=", "-p", str(pid)], check=False).stdout[:1] in ("", "Z")


KEEPALIVED = """\
vrrp_version {version}
vrrp_instance listener {{
    state BACKUP
    interface eth0
    virtual_router_id 10
    priority 100
    advert_int 1
    virtual_ipaddress {{
        {vip} dev eth0
    }}
}}
"""


@pytest.mark.parametrize(("version", "vip"), [(2, 4), (3, 4), (3, 6)])
def test_a_real_keepalived_obeys_the_rogue(
    keepalived_on_c1: RunningLab, version: int, vip: int
) -> None:
    """Checksum, TTL and all: it stays BACKUP only if it takes the advertisements for valid."""
    lab = keepalived_on_c1
    address = "198.51.100.99/32" if vip == 4 else "2001:db8::99/128"
    config = "global_defs {\n" + KEEPALIVED.format(version=version, vip=address)
    config = config.replace("\nvrrp_instance", "\n}\nvrrp_instance")
    lab.fault("rogue-vrrp", f"version={version}", f"vip={address.split('/')[0]}")
    wait_for("the rogue", lambda: wiretap.adverts(lab, "m1", 1.1), timeout=10)
    listener = lab.machine("c1")
    listener.execute(["tee", "/etc/keepalived/keepalived.conf"], input=config)
    listener.execute(["systemctl", "restart", "keepalived"])

    def state() -> str:
        said = listener.execute(["journalctl", "-u", "keepalived", "-o", "cat", "-n", "50"]).stdout
        return said.rpartition("Entering ")[2]

    try:
        wait_for("it is started", lambda: "BACKUP" in state(), timeout=5)
        # Without the rogue it would be MASTER after 3 intervals and a skew: 3.6 s.
        stays("BACKUP", lambda: "BACKUP" in state(), seconds=4)
        lab.heal()
        wait_for("MASTER without the rogue", lambda: "MASTER" in state(), timeout=6)
    finally:
        listener.execute(["systemctl", "stop", "keepalived"])


@pytest.fixture(scope="module")
def keepalived_on_c1(machines: RunningLab) -> Iterator[RunningLab]:
    """A client machine can be a foreign cluster: it installs the real thing."""
    machines.ssh("c1", "apt-get -q update && apt-get -q -y install haproxy keepalived")
    yield machines
    machines.ssh("c1", "apt-get -q -y purge haproxy keepalived; rm -rf /etc/keepalived")


def test_filter_vrrp_is_deaf_to_vrrp_only(machines: RunningLab) -> None:
    machines.fault("rogue-vrrp", "interval=0.2")
    machines.fault("filter-vrrp", "m2")
    assert wiretap.vrrp_sources(machines, "m2", 1.0) == set()
    assert wiretap.adverts(machines, "m2", 1.0) != [], "the cable carries them"
    assert wiretap.vrrp_sources(machines, "m1", 1.0) == {ROGUE}
    assert machines.answers("m2")
    machines.heal("m2")
    assert wiretap.vrrp_sources(machines, "m2", 1.0) == {ROGUE}
    assert "lab_filter" not in machines.ssh("m2", "nft", "list", "ruleset")


def test_loss_hits_one_direction_of_one_machine(machines: RunningLab) -> None:
    machines.fault("loss", "percent=50", "m2")
    # 200 packets, half of them lost: fewer than 60 or more than 140 is beyond 5 sigma.
    assert 60 < wiretap.ping(machines, "c1", machines.machine("m2").address, count=200) < 140
    assert wiretap.ping(machines, "c1", machines.machine("m3").address, count=50) == 50
    assert "drop" not in machines.ssh("m3", "nft", "list", "ruleset"), "nobody sees it there"
    machines.fault("loss", "percent=100", "m2")
    assert not machines.answers("m2")
    machines.fault("filter-vrrp", "m2")
    machines("heal", "--only", "loss")
    assert machines.state("m2")["faults"] == ["filter-vrrp"]
    assert wiretap.ping(machines, "c1", machines.machine("m2").address, count=50) == 50


def test_a_second_card_is_in_the_same_segment(machines: RunningLab) -> None:
    machines.fault("second-nic", "m3")
    addresses = json.loads(machines.ssh("m3", "ip", "-j", "-4", "address", "show", "dev", "eth1"))
    (second,) = (each["local"] for each in addresses[0]["addr_info"])
    cards = {wiretap.card(machines, "m3", each) for each in ("eth0", "eth1")}
    assert len(cards) == 2
    # Linux answers for any of its addresses on any card (arp_ignore 0): the flux.
    assert wiretap.mac_of(machines, "c1", second) in cards
    assert wiretap.mac_of(machines, "c1", machines.machine("m3").address) in cards
    machines.heal()
    assert machines.ssh("m3", "ip", "link", "show", "dev", "eth1", check=False) == ""
    assert wiretap.mac_of(machines, "c1", second) == ""


def test_what_is_of_the_network_is_there_again_after_a_reboot(machines: RunningLab) -> None:
    machines.fault("second-nic", "m3")
    machines.fault("filter-vrrp", "m3")
    machines.fault("mtu", "bytes=1400", "m3")
    before = machines.machine("m3").leader()
    machines.ssh("m3", "systemctl reboot", check=False)
    wait_for("a boot", lambda: machines.machine("m3").leader() not in (None, before), timeout=30)
    machines.machine("m3").wait_until_up()
    shown = machines.machine("m3").execute(["ip", "-br", "link"]).stdout
    assert "eth1" in shown
    rules = machines.machine("m3").execute(["nft", "list", "ruleset"]).stdout
    assert "meta l4proto 112 drop" in rules
    assert machines.machine("m3").execute(["cat", "/sys/class/net/eth0/mtu"]).stdout == "1400\n"


def test_big_packets_do_not_fit_through_another_mtu(machines: RunningLab) -> None:
    m2 = machines.machine("m2").address
    machines.fault("mtu", "bytes=1400", "m2")
    assert machines.answers("m2")
    assert wiretap.ping(machines, "c1", m2, "-M", "do", "-s", "1450") == 0
    machines.heal()
    assert wiretap.ping(machines, "c1", m2, "-M", "do", "-s", "1450") == 1


def test_a_duplicate_address_answers_and_the_operator_gets_through(machines: RunningLab) -> None:
    machines.fault("duplicate-address", "m2")
    assert machines.ssh("m2", "hostname").strip() == "m2"
    m2 = machines.machine("m2")
    machines.machine("m2").execute(["ip", "link", "set", "eth0", "down"])
    try:
        double = wiretap.mac_of(machines, "c1", m2.address)
        assert double not in ("", wiretap.card(machines, "m2"))
        assert wiretap.mac_of(machines, "c1", m2.address6) == double
    finally:
        m2.execute(["ip", "link", "set", "eth0", "up"])
    machines.heal()
    m2.execute(["ip", "address", "replace", f"{m2.address6}/64", "dev", "eth0", "nodad"])
    assert wiretap.mac_of(machines, "c1", m2.address) == wiretap.card(machines, "m2")


def test_a_fault_whose_command_was_killed_is_healed(machines: RunningLab) -> None:
    """SIGKILL at any moment: what may have been done is recorded, and healing undoes it."""
    command = [KUBEHA, "lab", "fault", "--name", machines.name, "rogue-vrrp"]
    process = subprocess.Popen(command, cwd=machines.directory, stderr=subprocess.DEVNULL)
    with process:
        record = machines.place / "faults.json"
        wait_for("the record", lambda: "rogue" in record.read_text(), timeout=10, every=0.001)
        process.kill()
    machines.heal()
    assert namespaces(machines) == {"lan", "gateway", "m1", "m2", "m3", "c1"}
    assert wiretap.adverts(machines, "m1", 1.2) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss"], "the fault 'loss' of which machine?"),
        (["vip-stolen", "m1"], "is one of the whole segment"),
        (["loss", "percent=0", "m1"], "cannot have percent=0: not a whole number from 1 to 100"),
        (["rogue-vrrp", "colour=red"], "has no setting 'colour'"),
        (["rogue-vrrp", "vip=nonsense"], "cannot have vip=nonsense"),
        (["block-vrrp", "m1"], "is one between machines"),
        (["block-vrrp", "m1", "m1"], "is one between machines"),
        (["no-such"], "there is no fault 'no-such'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_recorded(
    machines: RunningLab, words: list[str], said: str
) -> None:
    done = machines("fault", *words, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_down_takes_strangers_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = RunningLab(new_name(), tmp_path_factory.mktemp("strangers"))
    try:
        lab.up("--kubernetes", "none", "--nodes", "1", "--clients", "0")
        lab.fault("rogue-vrrp")
        lab.fault("vip-stolen")
        lab.fault("duplicate-address", "m1")
        lab.fault("second-nic", "m1")
        gone = lab_id(lab.place)
        assert any("rogue_vrrp.py" in trace for trace in traces(gone))
    finally:
        lab.down()
    assert traces(gone) == []
