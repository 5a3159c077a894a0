"""What goes wrong before or in the middle of an apply: what is said, and what is left behind."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from endpoint import NODES, Endpoint
from running_lab import KUBEHA, RunningLab, wait_for

VIP = "198.51.100.10"
NO_VRRP = """
table inet test {
    chain in {
        type filter hook input priority 0;
        ip protocol 112 drop;
    }
}
"""


@pytest.fixture(scope="module")
def shared(machines: RunningLab) -> Endpoint:
    return Endpoint(machines)


@pytest.fixture
def bare(shared: Endpoint) -> Iterator[Endpoint]:
    """Three machines without keepalived and HAProxy; made bare again after the test."""
    yield shared
    shared.lab.heal()
    for name in NODES:
        make_bare(shared, name)


def make_bare(endpoint: Endpoint, name: str) -> None:
    """Purge what an apply installed: kubeha remove is not part of these tests."""
    machine = endpoint.lab.machine(name)
    if machine.leader() is None:
        endpoint.lab("boot", name)
    script = """
        systemctl unmask --runtime keepalived haproxy
        systemctl disable --now kubeha-guard keepalived haproxy
        export DEBIAN_FRONTEND=noninteractive
        dpkg --configure -a
        apt-get -q -y purge keepalived haproxy
        apt-get -q -y autoremove --purge
        rm -rf /etc/haproxy /etc/keepalived /etc/kubeha /var/lib/kubeha /run/kubeha*
        rm -rf /etc/tmpfiles.d/kubeha.conf
        rm -f /etc/systemd/system/*.d/10-kubeha.conf /etc/systemd/system/kubeha-guard.service
        systemctl daemon-reload
    """
    machine.execute(["sh", "-c", script], check=False, timeout=300)


def apply(endpoint: Endpoint, *options: str) -> "subprocess.CompletedProcess[str]":
    return endpoint.lab.kubeha("apply", "--yes", "--no-diff", *options, timeout=600)


def apply_and_meanwhile(
    endpoint: Endpoint, words: str, act: Callable[[], object]
) -> "subprocess.CompletedProcess[str]":
    """An apply, and something that happens as soon as it says these words."""
    file = str(endpoint.lab.place / "kubeha.yaml")
    command = [str(KUBEHA), "-f", file, "apply", "--yes", "--no-diff"]
    nothing, said = subprocess.DEVNULL, ""
    with subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=nothing) as it:
        assert it.stderr is not None
        for line in it.stderr:
            said += line
            if words in line:
                act()
    return subprocess.CompletedProcess(command, it.returncode, "", said)


def untouched(endpoint: Endpoint, *names: str) -> bool:
    """Neither packages nor files of ours on these machines."""
    ours = "/etc/kubeha /var/lib/kubeha /etc/haproxy/haproxy.cfg /etc/tmpfiles.d/kubeha.conf"
    script = f"""
        for program in haproxy keepalived; do ! command -v $program || exit 1; done
        for path in {ours}; do ! test -e $path || exit 1; done
    """
    return all(
        endpoint.lab.machine(name).execute(["sh", "-c", script], check=False).returncode == 0
        for name in names
    )


@pytest.mark.provokes("KH201")
def test_an_unreachable_node_is_found_before_anything_is_touched(bare: Endpoint) -> None:
    bare.lab.fault("power-off", "m3")
    done = apply(bare)
    assert done.returncode == 3
    assert "KH201 error   m3: " in done.stderr
    assert "error: m3 cannot be asked; nothing was touched\n" in done.stderr
    assert untouched(bare, "m1", "m2")
    status = bare.status()
    assert [node["reachable"] for node in status["nodes"]] == [True, True, False, True]


@pytest.mark.provokes("KH205")
def test_a_foreign_configuration_is_refused_and_adopted_only_when_told(bare: Endpoint) -> None:
    text = "global\n    daemon\n"
    machine = bare.lab.machine("m2")
    machine.execute(["mkdir", "-p", "/etc/haproxy"])
    machine.execute(["tee", "/etc/haproxy/haproxy.cfg"], input=text)
    done = apply(bare)
    assert done.returncode == 1
    assert "KH205 error   m2: /etc/haproxy/haproxy.cfg was not written by kubeha" in done.stderr
    assert "preflight found errors (KH205); nothing was touched" in done.stderr
    assert machine.execute(["cat", "/etc/haproxy/haproxy.cfg"]).stdout == text
    assert untouched(bare, "m1", "m3")

    done = apply(bare, "--adopt")
    assert done.returncode == 0, done.stderr
    assert bare.holder() == "m1"
    kept = machine.execute(["cat", "/var/lib/kubeha/kept/etc/haproxy/haproxy.cfg"]).stdout
    assert kept == text


@pytest.mark.provokes("KH301")
def test_a_vip_that_somebody_else_has(bare: Endpoint) -> None:
    """c1 plays the stranger."""
    stranger = bare.lab.machine("c1")
    stranger.execute(["ip", "address", "add", f"{VIP}/24", "dev", "eth0"])
    try:
        done = apply(bare)
    finally:
        stranger.execute(["ip", "address", "del", f"{VIP}/24", "dev", "eth0"])
    mac = stranger.execute(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    assert done.returncode == 1
    assert f"KH301 error   {VIP} is in use by a machine with the MAC address {mac}" in done.stderr
    assert untouched(bare, *NODES)


@pytest.mark.provokes("KH303")
def test_a_port_in_use(bare: Endpoint) -> None:
    code = "import socket,time; s=socket.socket(); s.bind(('',8443)); s.listen(); time.sleep(60)"
    unit = ["systemd-run", "-q", "--unit=squatter", "python3", "-c", code]
    bare.lab.machine("m2").execute(unit)
    try:
        done = wait_for("the port is found taken", lambda: squatter_found(bare), timeout=10)
    finally:
        bare.lab.machine("m2").execute(["systemctl", "stop", "squatter"])
    assert "KH303 error   m2: port 8443 is in use by python3" in done.stdout
    assert done.returncode == 1


def squatter_found(endpoint: Endpoint) -> "subprocess.CompletedProcess[str] | None":
    done = endpoint.lab.kubeha("check")
    return done if "KH303" in done.stdout else None


def test_a_node_that_hears_nobody_closes_the_gate_and_is_put_back(bare: Endpoint) -> None:
    """Protocol 112 cannot come in on m2 any more: it takes the VIP although m1 has it.

    Closed after the preflight, which would have seen it. m2's guard sees the second holder.
    """
    m2 = bare.lab.machine("m2")
    try:
        done = apply_and_meanwhile(
            bare, "m2   apt-get install", lambda: m2.execute(["nft", "-f", "-"], input=NO_VRRP)
        )
    finally:
        m2.execute(["nft", "delete", "table", "inet", "test"], check=False)
    assert done.returncode == 4, done.stderr
    assert "error: m2: wait until keepalived does its work: " in done.stderr
    words = "keepalived is in FAULT, for m1 holds the VIP as well; the node was put back as it was"
    assert words in done.stderr
    assert bare.holder() == "m1"
    assert untouched(bare, "m2", "m3")


def test_packages_that_cannot_be_had(bare: Endpoint) -> None:
    """The source of packages is gone: found before anything is touched."""
    machine = bare.lab.machine("m1")
    machine.execute(["mv", "/opt/packages", "/opt/packages.away"])
    try:
        done = apply(bare)
    finally:
        machine.execute(["mv", "/opt/packages.away", "/opt/packages"])
    assert done.returncode == 1, done.stderr
    assert "KH213 error" in done.stderr
    assert "apt cannot reach its source of packages" in done.stderr
    assert untouched(bare, *NODES)


def test_packages_that_fail_in_the_middle(bare: Endpoint) -> None:
    """The lists are there, a package that they name is not: only the download tells."""
    machine = bare.lab.machine("m1")
    machine.execute(["sh", "-c", "mkdir /opt/away && mv /opt/packages/haproxy_* /opt/away"])
    try:
        done = apply(bare)
    finally:
        machine.execute(["sh", "-c", "mv /opt/away/* /opt/packages && rmdir /opt/away"])
    assert done.returncode == 4, done.stderr
    assert "error: m1: apt-get install haproxy keepalived: exit status 100: " in done.stderr
    assert untouched(bare, *NODES)


@pytest.mark.parametrize(
    ("breaks", "heals", "words"),
    [
        pytest.param(
            ["sh", "-c", "cd /etc && mount -B kubeha kubeha && mount -o remount,ro,bind kubeha"],
            ["umount", "-l", "/etc/kubeha"],
            "read-only", id="read-only",
        ),
        pytest.param(
            ["mount", "-t", "tmpfs", "-o", "size=4k,mode=755", "tmpfs", "/etc/kubeha"],
            ["umount", "-l", "/etc/kubeha"],
            "no space left", id="full-disk",
        ),
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_written(
    bare: Endpoint, breaks: list[str], heals: list[str], words: str
) -> None:
    machine = bare.lab.machine("m1")
    apply(bare)
    holder = bare.holder()
    victim = next(name for name in NODES if name != holder)
    machine = bare.lab.machine(victim)
    machine.execute(["sh", "-c", "rm /etc/kubeha/keepalived.env"])
    machine.execute(breaks)
    if words.startswith("no space"):
        machine.execute(["sh", "-c", "head -c 4096 /dev/zero > /etc/kubeha/full"], check=False)
    try:
        done = apply(bare)
    finally:
        machine.execute(heals)
    assert done.returncode == 4, done.stderr
    assert f"error: {victim}: " in done.stderr and words in done.stderr.lower()
    assert bare.holder() == holder


@pytest.mark.provokes("KH207")
def test_a_sealed_etc_is_found_before_anything_is_touched(bare: Endpoint) -> None:
    machine = bare.lab.machine("m2")
    machine.execute(["mount", "--bind", "/etc", "/etc"])
    machine.execute(["mount", "-o", "remount,ro,bind", "/etc"])
    try:
        done = apply(bare)
    finally:
        machine.execute(["umount", "-l", "/etc"])
    assert done.returncode == 1
    assert "KH207 error   m2: /etc cannot be written to" in done.stderr
    assert untouched(bare, *NODES)


def test_killed_in_the_middle_the_next_apply_goes_on(bare: Endpoint) -> None:
    """kill -9 while apt works on m2; then again while m3 is being configured."""
    for words in ("m2   apt-get install", "m3   put the validated settings"):
        kill_apply_at(bare, words)
        assert bare.holder() == "m1"
    done = apply(bare)
    assert done.returncode == 0, done.stderr
    assert bare.holder() == "m1"
    assert "No changes." in apply(bare).stdout
    for name in NODES:
        masked = ["systemctl", "is-enabled", "haproxy", "keepalived"]
        states = bare.lab.machine(name).execute(masked).stdout.split()
        assert states == ["enabled", "enabled"]


def kill_apply_at(endpoint: Endpoint, words: str) -> None:
    """Start an apply and SIGKILL it as soon as it says these words."""
    file = str(endpoint.lab.place / "kubeha.yaml")
    command = [str(KUBEHA), "-f", file, "apply", "--yes", "--no-diff"]
    piped, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, text=True, stderr=piped, stdout=nothing) as it:
        assert it.stderr is not None
        for line in it.stderr:
            if words in line:
                break
        else:
            raise AssertionError(f"never said: {words}")
        os.kill(it.pid, signal.SIGKILL)


def test_without_a_terminal_nothing_is_confirmed(bare: Endpoint) -> None:
    done = bare.lab.kubeha("apply", "--no-diff")
    assert done.returncode == 2
    assert "error: cannot ask for confirmation: standard input is not a terminal" in done.stderr
    assert "hint: review the plan above, then use: kubeha apply --yes" in done.stderr
    assert untouched(bare, *NODES)


@pytest.mark.provokes("KH204")
def test_preinstalled_packages_are_not_fetched(bare: Endpoint, tmp_path: Path) -> None:
    file = bare.lab.place / "kubeha.yaml"
    other = bare.lab.place / "preinstalled.yaml"
    other.write_text(file.read_text() + "packages: preinstalled\n")
    command = [str(KUBEHA), "-f", str(other), "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "KH204 error   m1, m2, m3: haproxy and keepalived not installed" in done.stdout


def test_as_an_ordinary_user_with_sudo(bare: Endpoint) -> None:
    file = bare.lab.place / "kubeha.yaml"
    other = bare.lab.place / "ops.yaml"
    other.write_text(file.read_text().replace("ssh: {config", "ssh: {user: ops, config"))
    command = [str(KUBEHA), "-f", str(other), "apply", "--yes", "--no-diff"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bare.holder() == "m1"
