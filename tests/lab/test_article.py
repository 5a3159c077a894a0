"""The story that many tell: the VRID is taken, and the primary never gets the VIP.

Three masters with the files of an article that is copied a lot, started at once on a segment where
another cluster already has VRID 51. What the older keepalived then does is a matter of phase (it
flaps, or somebody wins); the newer one lets nobody of ours have the VIP, without a line in its log.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wiretap
from conftest import labs
from endpoint import NODES, Endpoint
from running_lab import RunningLab, wait_for

STRANGERS = {"c2": 150, "c3": 140}
FOREIGN_VIP = "198.51.100.99"
VRID = 51

KEEPALIVED = """\
! Configuration File for keepalived
global_defs {{
    router_id LVS_DEVEL
}}
vrrp_script check_haproxy {{
    script "killall -0 haproxy"
    interval 3
    weight -2
    fall 10
    rise 2
}}
vrrp_instance VI_1 {{
    state {state}
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 35f18af7190d51c9f7f78f37300a0cbd
    }}
    virtual_ipaddress {{
        {vip}
    }}
    track_script {{
        check_haproxy
    }}
}}
"""

HAPROXY = """\
global
    log /dev/log local0
    chroot /var/lib/haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
    user haproxy
    group haproxy
    daemon

defaults
    mode tcp
    log global
    timeout connect 5000
    timeout client 50000
    timeout server 50000

listen stats
    bind *:1080
    mode http
    stats enable
    stats uri /stats
    stats auth admin:admin

frontend kubernetes-apiserver
    bind *:8443
    default_backend kubernetes-apiserver

backend kubernetes-apiserver
    balance source
{servers}"""

CLUSTER_FILE = """\
cluster: story
endpoint: {{vip: {vip}, port: 8443}}
control_plane:
  - {{name: m1, address: 198.51.100.11}}
  - {{name: m2, address: 198.51.100.12}}
  - {{name: m3, address: 198.51.100.13}}
clients:
  - {{name: c1, address: 198.51.100.101}}
ssh: {{config: ssh_config}}
"""


def keepalived(vip: str, priority: int, state: str = "BACKUP") -> str:
    return KEEPALIVED.format(vip=vip, priority=priority, state=state, vrid=VRID)


def haproxy() -> str:
    servers = (f"    server {n} 198.51.100.1{n[1]}:6443 check inter 10000\n" for n in NODES)
    return HAPROXY.format(servers="".join(servers))


def give(lab: RunningLab, machine: str, files: dict[str, str]) -> None:
    """Install both programs, not yet running, with these files."""
    inside = lab.machine(machine)
    inside.execute(["systemctl", "mask", "--now", "keepalived", "haproxy"], check=False)
    install = ["apt-get", "install", "-q", "-y", "haproxy", "keepalived"]
    inside.execute(["apt-get", "-q", "update"])
    inside.execute(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=120)
    for path, text in files.items():
        inside.execute(["tee", path], input=text)
    inside.execute(["systemctl", "unmask", "keepalived", "haproxy"])
    inside.execute(["systemctl", "restart", "haproxy"])


def start_at_once(lab: RunningLab, *machines: str) -> None:
    with ThreadPoolExecutor(len(machines)) as pool:
        start = ["systemctl", "enable", "--now", "keepalived"]
        list(pool.map(lambda name: lab.machine(name).execute(start), machines))


@dataclass
class Story:
    """The lab in which it happens, and what was there before kubeha touched anything."""

    release: str
    endpoint: Endpoint
    files: dict[str, dict[str, str]]

    @property
    def lab(self) -> RunningLab:
        return self.endpoint.lab

    def say(self, verb: str, *options: str) -> list[dict[str, Any]]:
        """The findings of a verb."""
        done = self.lab.kubeha(verb, *options, "-o", "json")
        assert done.stdout, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        return found

    def cluster_file(self, more: str = "") -> None:
        text = CLUSTER_FILE.format(vip=self.lab.vip) + more
        (self.lab.place / "kubeha.yaml").write_text(text)


def replay(lab: RunningLab) -> dict[str, dict[str, str]]:
    """Two clusters on one segment, each set up by the book; returns the files of the masters."""
    files = {
        name: {
            "/etc/keepalived/keepalived.conf": keepalived(
                lab.vip, 100 - place, "BACKUP" if place else "MASTER"
            ),
            "/etc/haproxy/haproxy.cfg": haproxy(),
        }
        for place, name in enumerate(NODES)
    }
    foreign = {
        name: {"/etc/keepalived/keepalived.conf": keepalived(FOREIGN_VIP, priority)}
        for name, priority in STRANGERS.items()
    }
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: give(lab, *each), {**foreign, **files}.items()))
    start_at_once(lab, *STRANGERS)
    wait_for("the foreign cluster", lambda: wiretap.adverts(lab, "c1", 1.1), timeout=30)
    start_at_once(lab, *NODES)
    return files


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    release = request.param
    directory = tmp_path_factory.mktemp(f"article-{release}")
    for lab in labs(request, directory, "--release", release, "--clients", "3"):
        yield Story(release, Endpoint(lab), replay(lab))


def stranger_in(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The finding that names the machine which advertises our VRID."""
    named = (each for each in found if each["code"] == "KH305" and "198.51.100.102" in str(each))
    return next(named, None)


@pytest.mark.provokes("KH305")
def test_check_names_the_stranger_in_one_line(story: Story) -> None:
    story.cluster_file(f"vrrp: {{vrid: {VRID}, mode: multicast}}\n")
    # The adverts of two masters silence each other by phase (2.2.7): not every look hears theirs.
    found = wait_for("KH305", lambda: stranger_in(story.say("check")), timeout=90)
    assert found["severity"] == "error"
    assert found["message"] == (
        f"VRID {VRID} is in use on this segment by 198.51.100.102 (priority 150, VIP {FOREIGN_VIP})"
    )
    assert "set vrrp.vrid: 10 in the cluster file" in found["fix"]


def test_lint_names_the_cause_in_the_files(story: Story, tmp_path: Path) -> None:
    for name, files in story.files.items():
        (tmp_path / name).mkdir()
        for path, text in files.items():
            (tmp_path / name / path.rsplit("/", 1)[1]).write_text(text)
    files = sorted(str(path) for path in tmp_path.glob("m*/*"))
    found = story.say("lint", *files)
    common = next(each for each in found if each["code"] == "KH719")
    assert "51" in common["message"] and "another cluster" in common["message"]
    # balance source, and a check that only asks whether there is a process.
    assert {"KH743", "KH716"} <= {each["code"] for each in found}


def test_verify_says_what_is_wrong_right_now(story: Story) -> None:
    story.cluster_file()
    found = wait_for("KH305", lambda: stranger_in(story.say("verify")), timeout=90)
    assert found["severity"] == "error", "it is multicast that runs, whatever the file wants"
    if story.release == "trixie":
        assert story.endpoint.holders() == []
        said = story.lab.ssh("m1", "journalctl", "-u", "keepalived", "-o", "cat", "-b")
        assert "MASTER STATE" not in said, "keepalived 2.3.3 never lets us have it"
        assert "KH401" in {each["code"] for each in story.say("verify")}


def test_apply_ends_well(story: Story) -> None:
    """Unicast, other cluster or not: one holder, who stays, and nobody else is disturbed."""
    story.cluster_file()
    refused = story.lab.kubeha("apply", "--yes", "--no-diff")
    assert refused.returncode == 1
    assert "KH205" in refused.stdout + refused.stderr
    said = story.endpoint.apply("--adopt")
    assert "Takeover: keepalived on m1, m2, m3 was not set up by kubeha" in said
    seen = story.endpoint.wait_until_healthy()
    assert seen["endpoint"]["holders"] == ["m1"] == story.endpoint.holders()
    assert story.endpoint.wait_until_settled(seconds=4) == "m1"
    assert story.lab.ssh("c2", "ip", "-br", "address", "show", "dev", "eth0").count(FOREIGN_VIP)
    kept = story.lab.ssh("m2", "cat", "/var/lib/kubeha/kept/etc/keepalived/keepalived.conf")
    assert kept == story.files["m2"]["/etc/keepalived/keepalived.conf"]
    assert "No changes." in story.endpoint.apply()
