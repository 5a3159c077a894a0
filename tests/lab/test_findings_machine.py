"""What is wrong with a machine itself, on real machines: broken, found, healed, gone."""

import json
from collections.abc import Iterator

import pytest
from endpoint import NODES, Endpoint
from running_lab import RunningLab, wait_for
from test_apply_refusals import make_bare

VIP = "198.51.100.10"
MINE = (*(f"KH{number}" for number in range(212, 229)), "KH506")
NO_ENDPOINT = """
table inet test {
    chain in {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport { 22, 6443 } accept
        meta l4proto { icmp, 112 } accept
        udp sport 67 accept
    }
}
"""
KUBE_VIP = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: kube-vip, namespace: kube-system}}
spec:
  containers:
  - name: kube-vip
    args: [manager]
    env:
    - {{name: vip_arp, value: "true"}}
    - name: address
      value: {VIP}
    image: ghcr.io/kube-vip/kube-vip:v0.8.0
"""
HOLD_LOCK = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w');"
    " fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(600)"
)
LIMITS = "/etc/systemd/system/haproxy.service.d/override.conf"
MANIFEST = "/etc/kubernetes/manifests/kube-vip.yaml"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
ROUTER = """
vrrp_instance by_hand {
    interface eth0
    virtual_router_id 99
    version 3
    unicast_peer { 198.51.100.99 }
    virtual_ipaddress { 198.51.100.99/32 }
}
"""


@pytest.fixture(scope="module")
def bare(machines: RunningLab) -> Iterator[Endpoint]:
    """Three machines without keepalived and HAProxy; made bare again at the end."""
    endpoint = Endpoint(machines)
    yield endpoint
    for name in NODES:
        make_bare(endpoint, name)


def run(endpoint: Endpoint, name: str, script: str, input: str | None = None) -> None:
    endpoint.lab.machine(name).execute(["sh", "-ec", script], input=input)


def found(endpoint: Endpoint, verb: str) -> dict[tuple[str, str], str]:
    """What a verb finds about machines: (code, node) -> what shows it."""
    done = endpoint.lab.kubeha(verb, "-o", "json")
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    return {
        (each["code"], each["node"]): each["evidence"] for each in findings if each["code"] in MINE
    }


@pytest.mark.provokes(
    "KH213", "KH214", "KH216", "KH219", "KH220", "KH221", "KH222", "KH506"
)  # fmt: skip
def test_check_finds_it_before_anything_is_touched(bare: Endpoint) -> None:
    assert found(bare, "check") == {}
    try:
        run(bare, "m1", "nft -f -", NO_ENDPOINT)
        run(bare, "m1", f"mkdir -p /etc/netplan; printf '      - {VIP}/24\\n' >{NETPLAN}")
        run(bare, "m2", f"mkdir -p $(dirname {MANIFEST}); cat >{MANIFEST}", KUBE_VIP)
        run(bare, "m2", "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=8")
        run(bare, "m2", "mkdir -p /etc/keepalived; cat >/etc/keepalived/keepalived.conf", ROUTER)
        run(bare, "m3", "mv /opt/packages /opt/packages.away")
        run(bare, "m3", f"mkdir -p $(dirname {LIMITS}); cat >{LIMITS}", "[Service]\nLimitNOFILE=99")
        run(bare, "m3", f'systemd-run -q --unit=lock python3 -c "{HOLD_LOCK}"')
        wait_for("the lock is held", lambda: ("KH214", "m3") in found(bare, "check"), timeout=60)
        seen = found(bare, "check")
    finally:
        heal(bare)
    assert set(seen) == {
        ("KH216", "m1"), ("KH221", "m1"), ("KH219", "m2"), ("KH220", "m2"), ("KH222", "m2"),
        ("KH213", "m3"), ("KH214", "m3"), ("KH506", "m3"),
    }  # fmt: skip
    assert seen["KH216", "m1"] == "nft inet test in: policy drop of chain in"
    assert seen["KH220", "m2"] == f"{MANIFEST}: value: {VIP}"
    assert "/opt/packages" in seen["KH213", "m3"]
    assert found(bare, "check") == {}


def heal(bare: Endpoint) -> None:
    run(bare, "m1", f"nft delete table inet test; rm -f {NETPLAN}")
    run(bare, "m2", f"rm -f {MANIFEST} /etc/keepalived/keepalived.conf")
    run(bare, "m2", "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=0")
    run(bare, "m3", f"mv /opt/packages.away /opt/packages; rm -f {LIMITS}; systemctl stop lock")


@pytest.mark.provokes("KH219", "KH225", "KH228")
def test_verify_finds_it_on_a_running_endpoint(bare: Endpoint) -> None:
    bare.apply()
    assert found(bare, "verify") == {}
    holder = bare.holder()
    other, third = (name for name in NODES if name != holder)
    main = "$(systemctl show -p MainPID --value keepalived)"
    try:
        run(bare, holder, "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=8")
        run(bare, other, f"chrt --other --pid 0 $(cat /proc/{main}/task/{main}/children)")
        run(bare, third, "cat >/tmp/by_hand.conf", ROUTER)
        start = "keepalived -n -P -f /tmp/by_hand.conf -p /run/by_hand.pid -r /run/by_hand_vrrp.pid"
        run(bare, third, f"systemd-run -q --unit=by_hand {start}")
        wanted = {("KH219", holder), ("KH225", other), ("KH228", third)}
        wait_for("all is found", lambda: set(found(bare, "verify")) == wanted, timeout=60)
        # It is true of the one that is muted: nobody hears it any more.
        assert "KH304" in bare.lab.kubeha("verify").stdout
    finally:
        run(bare, holder, "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=0")
        run(bare, other, f"chrt --rr --pid 50 $(cat /proc/{main}/task/{main}/children)")
        run(bare, third, "systemctl stop by_hand")
    assert found(bare, "verify") == {}
