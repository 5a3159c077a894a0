"""What is wrong with a machine itself, each with what it says; and what is no reason for alarm.

Rulesets and outputs are recorded (tests/recorded says where). SELinux is not: its files are as the
kernel's selinuxfs documents them (Documentation, libselinux's security_get_boolean_names(3)).
"""

import ipaddress
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from worlds import DEBIAN, addresses, answer, bare, cluster, deployed, no_answer, text_file, unit

from kubeha import paths
from kubeha.checks.finding import Finding, Severity
from kubeha.checks.health import thorough
from kubeha.checks.preflight import preflight
from kubeha.desired import Site, desired_node
from kubeha.facts import Listener, NodeFacts, Os
from kubeha.facts.automation import Automation
from kubeha.facts.claims import Claim
from kubeha.facts.claims import parse as parse_claims
from kubeha.facts.iptables_rules import parse_iptables
from kubeha.facts.kernel import Kernel
from kubeha.facts.machine import Machine, PackageSource, Process
from kubeha.facts.nft_rules import parse_nft
from kubeha.facts.packet_filter import Table
from kubeha.facts.programs import FileLimit, Programs, parse_file_limits, upstream_version
from kubeha.facts.selinux import SELinux
from kubeha.facts.selinux import parse as parse_selinux
from kubeha.facts.wire import Connection, Passage
from kubeha.model import Cluster
from kubeha.remote import Completed, FileState
from kubeha.world import API_READYZ, World

RECORDED = Path(__file__).parents[1] / "recorded"
OF = cluster()
QUIET = Automation(False, (), None, (), frozenset())
PLAIN = Machine((), Kernel(), None, QUIET, Programs(), (), ())
VIP = str(OF.endpoint.vip)


def facts(name: str = "m2", *, of: Machine = PLAIN, **changes: object) -> NodeFacts:
    address = next(str(node.address) for node in OF.nodes if node.name == name)
    return replace(bare(name, address), machine=of, **changes)  # type: ignore[arg-type]


def world(m2: NodeFacts, of: Cluster = OF, **changes: object) -> World:
    """m2 as given beside two machines with nothing to say."""
    nodes = {"m1": facts("m1"), "m2": m2, "m3": facts("m3")}
    return replace(World(of, nodes), **changes)  # type: ignore[arg-type]


def mine(found: tuple[Finding, ...]) -> list[Finding]:
    """The findings on machines."""
    return [one for one in found if "KH212" <= one.code <= "KH228" or one.code == "KH506"]


def only(m2: NodeFacts, of: Cluster = OF, **changes: object) -> Finding:
    found = mine(preflight(world(m2, of, **changes)))
    assert len(found) == 1, found
    return found[0]


def silent(m2: NodeFacts, of: Cluster = OF, **changes: object) -> bool:
    return mine(preflight(world(m2, of, **changes))) == []


def changed(**changes: object) -> NodeFacts:
    """m2 with another machine below it."""
    return facts(of=replace(PLAIN, **changes))  # type: ignore[arg-type]


def at_work(of: Machine = PLAIN, *, holds: str | None = None) -> NodeFacts:
    desired = desired_node(OF, "m2", Site("eth0", 10, None))
    return replace(deployed(desired, facts(), holds=holds), machine=of)


def nft(name: str) -> tuple[Table, ...]:
    return parse_nft((RECORDED / "nft_ruleset" / f"{name}.txt").read_text()) or ()


def iptables(name: str) -> tuple[Table, ...]:
    return parse_iptables((RECORDED / "iptables_save" / f"{name}.txt").read_text(), "ip")


def test_a_plain_machine_is_no_finding() -> None:
    assert silent(facts())
    assert mine(thorough(world(at_work()))) == []


# Programs and packages


@pytest.mark.provokes("KH212")
@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("haproxy", (2, 2, 9), "haproxy 2.2.9 is installed, 2.4.0 is the oldest"),
        ("keepalived", (2, 0, 19), "keepalived 2.0.19 is installed, 2.1.5 is the oldest"),
        ("systemd", (229, 0, 0), "systemd 229 is installed, 235 is the oldest"),
    ],
)
def test_programs_that_are_too_old(name: str, version: tuple[int, int, int], said: str) -> None:
    there = {"haproxy": "2.2.9-2+deb11u6", "keepalived": "1:2.0.19-2", "bash": "5"}
    versions = {"haproxy": (2, 6, 12), "keepalived": (2, 2, 7), "systemd": (252, 0, 0)}
    old = Programs({**versions, name: version})  # type: ignore[dict-item]
    found = only(replace(changed(programs=old), packages=there))
    assert (found.code, found.node, found.severity) == ("KH212", "m2", Severity.ERROR)
    assert found.message.startswith(said)
    new = Programs(versions)  # type: ignore[arg-type]
    assert silent(replace(changed(programs=new), packages=there))


@pytest.mark.provokes("KH212")
def test_what_apt_would_install_is_judged_before_it_does() -> None:
    offered = PackageSource(("haproxy",), {"haproxy": (2, 2, 9)}, sources=("http://d",))
    found = only(changed(source=offered))
    assert found.code == "KH212"
    assert found.message.startswith("haproxy 2.2.9 would be installed")
    assert silent(changed(source=replace(offered, candidates={"haproxy": (2, 6, 12)})))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1:2.2.7-1+b2", (2, 2, 7)),
        ("1%3a2.2.7-1+b2_amd64.deb", (2, 2, 7)),
        ("2.6.12-1+deb12u4", (2, 6, 12)),
        ("2.4-1", (2, 4, 0)),
        ("unknown", None),
    ],
)
def test_versions_of_debian_packages(text: str, version: tuple[int, ...] | None) -> None:
    assert upstream_version(text) == version


LOST = "Err:1 http://mirror/debian Could not connect to mirror:80 (192.0.2.1). - connect (111)"
UNKNOWN = "E: Unable to locate package haproxy"


@pytest.mark.provokes("KH213")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sources": (), "lists": False, "problem": UNKNOWN}, "apt has no source of packages"),
        ({"unreachable": {"http://mirror": LOST}}, "apt cannot reach its source of packages"),
        ({"problem": UNKNOWN}, "apt cannot install them"),
    ],
    ids=["no source", "unreachable", "unknown package"],
)
def test_packages_that_cannot_be_had(changes: dict[str, object], why: str) -> None:
    source = PackageSource(("haproxy", "keepalived"), sources=("http://mirror",))
    broken = replace(source, **changes)  # type: ignore[arg-type]
    found = only(changed(source=broken))
    assert (found.code, found.node) == ("KH213", "m2")
    assert found.message == f"haproxy and keepalived not installed, and {why}"
    assert found.evidence in (UNKNOWN, f"http://mirror: {LOST}")
    assert silent(changed(source=source))
    assert silent(changed(source=None))


def test_apt_that_has_never_been_updated_may_find_them_yet() -> None:
    fresh = PackageSource(("haproxy",), sources=("http://mirror",), lists=False, problem=UNKNOWN)
    assert silent(changed(source=fresh))


@pytest.mark.provokes("KH214")
def test_somebody_elses_apt_is_at_work() -> None:
    found = only(changed(locks={"/var/lib/dpkg/lock-frontend": 4711}))
    assert (found.code, found.node, found.severity) == ("KH214", "m2", Severity.WARNING)
    assert "process 4711" in found.message and "/var/lib/dpkg/lock-frontend" in found.evidence
    there = {"haproxy": "2.6.12-1", "keepalived": "1:2.2.7-1"}
    assert silent(replace(changed(locks={"/var/lib/dpkg/lock": 1}), packages=there))


def selinuxfs(enforce: str, **booleans: str) -> dict[str, FileState]:
    files = {"/sys/fs/selinux/enforce": enforce}
    files |= {f"/sys/fs/selinux/booleans/{name}": value for name, value in booleans.items()}
    return {path: text_file(path, text) for path, text in files.items()}


@pytest.mark.provokes("KH215")
def test_selinux_that_keeps_haproxy_from_the_api_servers() -> None:
    found = parse_selinux(selinuxfs("1", haproxy_connect_any="0 0"))
    assert found == SELinux(True, {"haproxy_connect_any": False})
    told = only(changed(selinux=found))
    assert (told.code, told.node, told.severity) == ("KH215", "m2", Severity.ERROR)
    assert told.fix == "setsebool -P haproxy_connect_any 1"
    assert mine(thorough(world(at_work(replace(PLAIN, selinux=found)))))[0].code == "KH215"


@pytest.mark.provokes("KH215")
def test_selinux_that_confines_keepaliveds_scripts() -> None:
    found = parse_selinux(selinuxfs("1", haproxy_connect_any="1 1", keepalived_connect_any="0 0"))
    told = only(changed(selinux=found))
    assert (told.code, told.severity) == ("KH215", Severity.WARNING)
    assert "keepalived_unconfined_script_exec_t" in told.fix


@pytest.mark.parametrize(
    "files",
    [
        {},
        selinuxfs("0", haproxy_connect_any="0 0", keepalived_connect_any="0 0"),
        selinuxfs("1", haproxy_connect_any="1 1"),
        selinuxfs("1"),
        selinuxfs("what?"),
    ],
    ids=["none", "permissive", "allowed", "policy without HAProxy", "unreadable"],
)
def test_selinux_that_is_in_nobodys_way(files: dict[str, FileState]) -> None:
    assert silent(changed(selinux=parse_selinux(files)))


# The firewall


@pytest.mark.provokes("KH216", "KH217")
@pytest.mark.parametrize(
    ("tables", "rule", "opens", "lets_in"),
    [
        (
            nft("firewalld-default"), "firewalld filter_IN_public: reject with icmpx",
            "firewall-cmd --permanent --add-port=8443/tcp",
            "firewall-cmd --permanent --add-protocol=vrrp",
        ),
        (
            iptables("ufw-default"), "iptables: policy drop of chain INPUT", "ufw allow 8443/tcp",
            "ufw allow proto vrrp from 198.51.100.11 && ufw allow proto vrrp from 198.51.100.13",
        ),
    ],
    ids=["firewalld", "ufw"],
)  # fmt: skip
def test_a_firewall_as_it_comes_is_closed(
    tables: tuple[Table, ...], rule: str, opens: str, lets_in: str
) -> None:
    found = mine(preflight(world(changed(tables=tables))))
    assert [(one.code, one.node) for one in found] == [
        ("KH216", "m2"), ("KH216", "m2"), ("KH217", "m2"),
    ]  # fmt: skip
    endpoint, api, vrrp = found
    assert "the endpoint's port 8443 from m1, m3" in endpoint.message
    assert "the API server's port 6443 from m1, m3" in api.message
    assert "VRRP (protocol 112) from m1 and m3" in vrrp.message
    assert all(rule in one.evidence for one in found)
    assert endpoint.fix.startswith(opens)
    assert vrrp.fix.startswith(lets_in)


@pytest.mark.parametrize(
    "tables",
    [
        nft("firewalld-opened"),
        nft("kube-proxy-nftables"),
        nft("calico-nft"),
        nft("guard-hushes"),
        iptables("kube"),
        iptables("kube-legacy"),
        iptables("calico"),
        iptables("docker"),
        (*iptables("kube"), *iptables("calico"), *iptables("docker")),
        iptables("cut-off"),
        None,
    ],
    ids=[
        "firewalld", "kube-proxy nft", "calico nft", "our guard", "kube-proxy",
        "kube-proxy legacy", "calico", "docker", "all of them", "cut off", "unknown",
    ],
)  # fmt: skip
def test_no_alarm_over_other_peoples_rules(tables: tuple[Table, ...] | None) -> None:
    assert silent(changed(tables=tables))
    assert mine(thorough(world(at_work(replace(PLAIN, tables=tables))))) == []


@pytest.mark.provokes("KH217")
def test_one_peer_that_was_forgotten() -> None:
    """ufw-opened lets VRRP in from m1 alone."""
    found = only(changed(tables=iptables("ufw-opened")))
    assert (found.code, found.node) == ("KH217", "m2")
    assert "from m3:" in found.message
    assert found.fix == "ufw allow proto vrrp from 198.51.100.13"


@pytest.mark.provokes("KH217")
def test_what_passes_only_because_the_firewall_remembers() -> None:
    passes = {("m3", "m2"): Passage(True, True)}
    found = only(changed(tables=iptables("ufw-opened")), passages=passes)
    assert (found.code, found.severity) == ("KH217", Severity.WARNING)
    assert "unless it remembers an earlier packet" in found.message


def test_what_was_seen_to_be_blocked_is_said_once_with_its_rule() -> None:
    """KH306 and KH307 name the rule; KH216 and KH217 keep quiet about the same thing."""
    seen = world(
        changed(tables=nft("by-hand")),
        passages={("m3", "m2"): Passage(False, False), ("m1", "m2"): Passage(True, True)},
        connections={(a, "m2"): Connection("timeout", "timed out") for a in ("m1", "m3")},
    )
    found = {one.code: one for one in preflight(seen)}
    assert [one.code for one in mine(preflight(seen))] == ["KH216"]
    rule = "rule: nft inet filter input: policy drop of chain input"
    assert found["KH306"].evidence.startswith(rule) and found["KH307"].evidence.startswith(rule)
    assert found["KH306"].fix.startswith("nft insert rule inet filter input meta l4proto 112")
    assert found["KH216"].fix.startswith("nft insert rule inet filter input tcp dport 8443 accept")


def ruleset(hook: str, *expression: object) -> tuple[Table, ...]:
    """One rule in one chain, as `nft -j list ruleset` prints it."""
    where = {"family": "inet", "table": "t"}
    chain = {**where, "name": "c", "type": "filter", "hook": hook, "policy": "accept"}
    rule = {**where, "chain": "c", "handle": 5, "expr": expression}
    found = parse_nft(json.dumps({"nftables": [{"chain": chain}, {"rule": rule}]}))
    assert found
    return found


def protocol(right: object) -> dict[str, object]:
    return {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": right}}


DROP = {"drop": None}


@pytest.mark.provokes("KH217")
def test_vrrp_that_may_not_leave() -> None:
    tables = ruleset("output", protocol(112), DROP)
    found = mine(preflight(world(changed(tables=tables))))
    assert [(one.code, one.node) for one in found] == [("KH217", "m1"), ("KH217", "m3")]
    assert "meta l4proto 112 drop (handle 5)" in found[0].evidence


@pytest.mark.parametrize(
    ("expression", "drops"),
    [
        pytest.param((protocol(112), DROP), True, id="number"),
        pytest.param((protocol("vrrp"), {"counter": None}, DROP), True, id="name"),
        pytest.param((protocol({"set": ["tcp", "vrrp"]}), DROP), True, id="set"),
        pytest.param((protocol({"range": [100, 120]}), {"reject": None}), True, id="range"),
        pytest.param((protocol(17), DROP), False, id="another protocol"),
        pytest.param(({"limit": {"rate": 1}}, protocol(112), DROP), False, id="at times"),
        pytest.param((protocol(112), {"xt": {"type": "match"}}, DROP), False, id="opaque match"),
        pytest.param((protocol("@unknown"), DROP), False, id="unknown set"),
    ],
)
def test_only_what_is_sure(expression: tuple[object, ...], drops: bool) -> None:
    assert silent(changed(tables=ruleset("input", *expression))) is not drops


# The kernel


def kernel(**settings: dict[str, int]) -> Kernel:
    return Kernel(settings, default_devices=("eth0",), open_files=1048576)


@pytest.mark.provokes("KH218")
def test_strict_filtering_with_the_default_route_elsewhere() -> None:
    strict = replace(kernel(rp_filter={"all": 0, "eth0": 1}), default_devices=("eth1",))
    found = only(changed(kernel=strict))
    assert (found.code, found.node, found.severity) == ("KH218", "m2", Severity.WARNING)
    assert "through eth1" in found.message and "eth0.rp_filter=2" in found.fix
    assert silent(changed(kernel=replace(strict, default_devices=("eth0",))))
    assert silent(changed(kernel=replace(strict, default_devices=None)))
    loose = {"rp_filter": {"all": 2, "eth0": 1}}
    assert silent(changed(kernel=replace(strict, settings=loose)))


@pytest.mark.provokes("KH219")
@pytest.mark.parametrize(("value", "mute"), [(0, False), (1, False), (2, False), (8, True)])
def test_a_node_that_would_answer_no_arp(value: int, mute: bool) -> None:
    for settings in ({"all": value, "eth0": 0}, {"all": 0, "eth0": value}):
        m2 = changed(kernel=kernel(arp_ignore=settings))
        if mute:
            found = only(m2)
            assert (found.code, found.node) == ("KH219", "m2")
            assert f"arp_ignore={value} on eth0" in found.message
        else:
            assert silent(m2)


@pytest.mark.provokes("KH219")
def test_a_node_without_ipv6_for_an_ipv6_vip() -> None:
    vip = ipaddress.ip_address("2001:db8::10")
    of = cluster(endpoint=OF.endpoint.model_copy(update={"vip": vip}))
    m2 = changed(kernel=kernel(disable_ipv6={"all": 0, "eth0": 1}))
    m2 = replace(m2, addresses=addresses("198.51.100.12", "2001:db8::12/64"))
    assert only(m2, of).code == "KH219"


@pytest.mark.provokes("KH506")
def test_haproxy_may_open_too_few_files() -> None:
    override = FileLimit("/etc/systemd/system/haproxy.service.d/override.conf", 4096)
    found = only(changed(programs=Programs(file_limits=(override,))))
    assert (found.code, found.node) == ("KH506", "m2")
    assert "override.conf lets HAProxy open 4096 files, it needs 16100" in found.message
    enough = replace(override, files=20000)
    assert silent(changed(programs=Programs(file_limits=(override, enough))))
    earlier = FileLimit("/etc/systemd/system/haproxy.service.d/05-limits.conf", 64)
    assert silent(changed(programs=Programs(file_limits=(earlier,))))
    assert silent(changed(programs=Programs(file_limits=(replace(override, files=None),))))


@pytest.mark.provokes("KH506")
def test_a_kernel_that_lets_nobody_open_that_many() -> None:
    found = only(changed(kernel=Kernel(open_files=10000)))
    assert found.code == "KH506" and "fs.nr_open = 10000" in found.evidence


def test_the_last_drop_in_counts_and_etc_hides_run() -> None:
    text = """\
/usr/lib/systemd/system/haproxy.service.d/90-a.conf:LimitNOFILE=1
/etc/systemd/system/haproxy.service.d/90-a.conf:LimitNOFILE=1024:4096
/run/systemd/system/haproxy.service.d/90-a.conf:LimitNOFILE=2
/etc/systemd/system/haproxy.service.d/10-kubeha.conf: LimitNOFILE = infinity
/etc/systemd/system/haproxy.service.d/README:LimitNOFILE=3
"""
    names = [(limit.path.rpartition("/")[2], limit.files) for limit in parse_file_limits(text)]
    assert names == [("10-kubeha.conf", None), ("90-a.conf", 4096)]


# keepalived at work


def keepalived(pid: int = 43, **changes: object) -> Process:
    group = "0::/system.slice/keepalived.service\n"
    ours = Process(pid, 42, "keepalived", group, True, True, 1, names_vip=False)
    return replace(ours, **changes)  # type: ignore[arg-type]


MAIN = keepalived(42, parent=1, real_time=False, inotify=0)


def told(*processes: Process, **changes: object) -> list[Finding]:
    of = replace(PLAIN, processes=(MAIN, *processes), **changes)  # type: ignore[arg-type]
    return mine(thorough(world(at_work(of))))


def test_keepalived_as_it_should_run() -> None:
    assert told(keepalived()) == []


@pytest.mark.provokes("KH225")
def test_keepalived_without_real_time_priority() -> None:
    (found,) = told(keepalived(real_time=False))
    assert (found.code, found.node, found.severity) == ("KH225", "m2", Severity.WARNING)
    assert "chrt -p 43" in found.evidence


@pytest.mark.provokes("KH226")
def test_keepalived_that_watches_nothing() -> None:
    (found,) = told(keepalived(inotify=0), inotify_error="EMFILE")
    assert (found.code, found.node) == ("KH226", "m2")
    assert found.evidence == "no inotify instance in process 43; a new one is refused: EMFILE"


@pytest.mark.provokes("KH228")
def test_a_second_keepalived() -> None:
    stray = keepalived(99, parent=98, cgroup="0::/kubepods/pod1/abc\n")
    (found,) = told(keepalived(), stray)
    assert (found.code, found.node, found.severity) == ("KH228", "m2", Severity.WARNING)
    assert found.evidence == "0::/kubepods/pod1/abc"
    assert told(keepalived(), replace(stray, host_network=False)) == []


# Rivals


def asked(vip_lines: str, kube_vip: str = "") -> tuple[Claim, ...]:
    outputs = {"vip_lines": vip_lines, "kube_vip": kube_vip}
    return parse_claims({name: Completed(0, o, "", None, 0.0) for name, o in outputs.items()})


MANIFEST = "/etc/kubernetes/manifests/kube-vip.yaml"


@pytest.mark.provokes("KH220")
@pytest.mark.parametrize(
    ("lines", "manager"),
    [
        (f"{MANIFEST}:      value: {VIP}", "kube-vip"),
        (f'/var/lib/pacemaker/cib/cib.xml:<nvpair name="ip" value="{VIP}"/>', "Pacemaker"),
        (f"/etc/frr/frr.conf: vrrp 5 ip {VIP}", "FRR"),
        (f"/etc/ucarp/vip-001.conf:VIP_ADDRESS={VIP}", "ucarp"),
    ],
    ids=["kube-vip", "pacemaker", "frr", "ucarp"],
)
def test_another_manager_has_the_vip(lines: str, manager: str) -> None:
    found = only(changed(claims=asked(lines, MANIFEST + "\n")))
    assert (found.code, found.node) == ("KH220", "m2")
    assert found.message == f"{manager} is configured to hold {VIP}, too"
    assert found.evidence.startswith(lines.split(":")[0])


@pytest.mark.provokes("KH220")
def test_a_manager_that_runs_with_the_vip() -> None:
    pod = Process(77, 1, "kube-vip", "0::/kubepods/x\n", True, False, 0, names_vip=True)
    found = only(changed(processes=(pod,)))
    assert (found.code, found.node) == ("KH220", "m2")
    assert "kube-vip runs with" in found.message
    assert silent(changed(processes=(replace(pod, names_vip=False),)))


@pytest.mark.provokes("KH221")
@pytest.mark.parametrize(
    "line",
    [
        f"/etc/network/interfaces:    address {VIP}/24",
        f"/etc/network/interfaces:    up ip addr add {VIP}/32 dev eth0",
        f"/etc/netplan/50-cloud-init.yaml:        - {VIP}/24",
        f'/etc/netplan/50-cloud-init.yaml:      addresses: ["{VIP}/24"]',
        f"/etc/systemd/network/10-eth0.network:Address={VIP}/24",
        f"/etc/NetworkManager/system-connections/eth0.nmconnection:address1={VIP}/24,198.51.100.1",
        f"/etc/sysconfig/network-scripts/ifcfg-eth0:IPADDR={VIP}",
        f"/etc/frr/frr.conf: ip address {VIP}/24",
    ],
)
def test_the_vip_as_a_fixed_address(line: str) -> None:
    found = only(changed(claims=asked(line)))
    assert (found.code, found.node) == ("KH221", "m2")
    assert found.evidence.startswith(line.split(":")[0])


@pytest.mark.parametrize(
    "line",
    [
        f"/etc/netplan/50-cloud-init.yaml:#        - {VIP}/24",
        f"/etc/netplan/50-cloud-init.yaml:      gateway4: {VIP}",
        f"/etc/network/interfaces:    dns-nameservers {VIP}",
        f"/etc/network/interfaces:    up ip route add 10.0.0.0/8 via {VIP}",
        f"/etc/kubernetes/manifests/kube-apiserver.yaml:    - --service-account-issuer=https://{VIP}",
        f"/etc/frr/frr.conf: neighbor {VIP} remote-as 65000",
    ],
)
def test_lines_that_only_speak_of_the_vip(line: str) -> None:
    assert silent(changed(claims=asked(line)))


HAND_WRITTEN = """
vrrp_instance other { interface eth0
  virtual_router_id 77
  virtual_ipaddress { 198.51.100.77/24 } }
vrrp_instance api { interface eth0
  virtual_router_id 51
  virtual_ipaddress { 198.51.100.10/24 } }
"""


@pytest.mark.provokes("KH222")
def test_other_virtual_routers_in_the_file_that_apply_would_replace() -> None:
    text = text_file(paths.KEEPALIVED_CONFIG, HAND_WRITTEN)
    m2 = replace(facts(), files={**facts().files, paths.KEEPALIVED_CONFIG: text})
    found = only(m2)
    assert (found.code, found.node, found.severity) == ("KH222", "m2", Severity.WARNING)
    assert "other (VRID 77)" in found.message and "api" not in found.message.split(":")[1]
    assert found.evidence == "other: 198.51.100.77/24"


def listening(program: str) -> dict[str, object]:
    return {"listeners": (Listener("*", 6443, program),)}


@pytest.mark.provokes("KH227")
def test_a_load_balancer_on_the_api_servers_port() -> None:
    reset = {API_READYZ: no_answer("closed", "EOF")}
    found = only(facts(**listening("nginx"), fetched=reset))
    assert (found.code, found.node) == ("KH227", "m2")
    assert found.message == "port 6443 is in use by nginx, which is no API server"
    assert silent(facts(**listening("nginx"), fetched={API_READYZ: answer()}))
    assert silent(facts(**listening("kube-apiserver"), fetched=reset))
    assert silent(facts(**listening("k3s-server"), fetched=reset))


# What restarts services by itself


def automatic(**changes: object) -> Automation:
    return replace(QUIET, **changes)  # type: ignore[arg-type]


def with_package(name: str, of: Automation, os: Os = DEBIAN) -> NodeFacts:
    return replace(changed(automation=of), packages={name: "1"}, os=os)


@pytest.mark.provokes("KH223")
def test_unattended_upgrades_of_the_services() -> None:
    found = only(with_package("unattended-upgrades", automatic(upgrades=True)))
    assert (found.code, found.node, found.severity) == ("KH223", "", Severity.INFO)
    assert "apt-mark hold haproxy and keepalived" not in found.fix
    assert "apt-mark hold haproxy keepalived (on m2)" in found.fix


@pytest.mark.parametrize(
    "of",
    [
        automatic(upgrades=False),
        automatic(upgrades=None),
        automatic(upgrades=True, held=frozenset(("haproxy", "keepalived"))),
        automatic(upgrades=True, never_upgraded=("haproxy", "keepalived$")),
    ],
    ids=["off", "unknown", "held", "blacklisted"],
)
def test_upgrades_that_leave_the_services_alone(of: Automation) -> None:
    assert silent(with_package("unattended-upgrades", of))
    assert silent(changed(automation=automatic(upgrades=True)))


UBUNTU = Os("ubuntu", ("debian",), "24.04", "Ubuntu 24.04.1 LTS")


@pytest.mark.provokes("KH224")
@pytest.mark.parametrize(
    ("of", "os", "restarts"),
    [
        (automatic(restart_mode="a"), DEBIAN, True),
        (automatic(), UBUNTU, True),
        (automatic(), DEBIAN, False),
        (automatic(), replace(UBUNTU, version="22.04"), False),
        (automatic(restart_mode="l"), UBUNTU, False),
        (
            automatic(restart_mode="a", never_restarted=("^(haproxy|keepalived)[.]service",)),
            DEBIAN, False,
        ),
        (automatic(restart_mode="a", never_restarted=("((",)), DEBIAN, True),
    ],
    ids=["told to", "Ubuntu 24.04", "Debian", "Ubuntu 22.04", "lists", "spared", "bad pattern"],
)  # fmt: skip
def test_needrestart(of: Automation, os: Os, restarts: bool) -> None:
    found = mine(preflight(world(with_package("needrestart", of, os))))
    assert [one.code for one in found] == (["KH224"] if restarts else [])
    assert silent(replace(changed(automation=automatic(restart_mode="a")), os=os))


def test_the_service_that_is_stopped_has_no_worker() -> None:
    """Nothing is said of a keepalived that does not run: that has a finding of its own."""
    stopped = {"keepalived.service": unit("keepalived.service", active=False)}
    of = replace(PLAIN, processes=())
    m2 = replace(at_work(of), units={**at_work().units, **stopped})
    assert mine(thorough(world(m2))) == []


CHECKS: tuple[Callable[[World], tuple[Finding, ...]], ...] = (preflight, thorough)


@pytest.mark.parametrize("check", CHECKS, ids=["check", "verify"])
def test_a_machine_that_was_not_asked_about_itself(
    check: Callable[..., tuple[Finding, ...]],
) -> None:
    assert mine(check(world(replace(facts(), machine=None)))) == []
