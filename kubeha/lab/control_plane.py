"""A machine's part of the control plane: put there, started, waited for, taken away again."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError
from kubeha.lab import etcd, pki
from kubeha.lab.binaries import SHARED_PROGRAMS, Binaries
from kubeha.lab.control_plane_units import (
    API_PORT,
    ETCD,
    ETCD_DATA,
    PROGRAMS_IN_MACHINE,
    UNITS,
    Member,
    etcd_unit,
    kubernetes_units,
)
from kubeha.lab.lab import VIP6, Lab
from kubeha.lab.machine import Machine
from kubeha.lab.pki import Authorities, Endpoint, NodeNames, SecretFile
from kubeha.lab.releases import PROGRAMS, Progress

ETCD_TIMEOUT, READY_TIMEOUT = 60.0, 180.0  # seconds; two busy cores, three machines

_UNIT_FILES = "etc/systemd/system"


@dataclass(frozen=True)
class Site:
    """What all machines of one lab's control plane share."""

    authorities: Authorities
    endpoint: Endpoint
    nodes: tuple[NodeNames, ...]


def site(lab: Lab) -> Site:
    """The lab's site; its authorities are made when they are first asked for."""
    directory = lab.store / "pki"
    authorities = pki.load_authorities(directory)
    if authorities is None:
        authorities = pki.new_authorities()
        pki.save_authorities(authorities, directory)
    nodes = tuple(_names(machine) for machine in lab.control_plane)
    return Site(authorities, Endpoint(vips=(lab.vip, VIP6)), nodes)


def start_control_plane(lab: Lab, machine: Machine, binaries: Binaries, progress: Progress) -> None:
    """Start the machine's part; the first one makes the cluster, any later one joins it.

    Which of the two is read off the machines. Returns when the machine's etcd is a healthy
    member and the Kubernetes servers are started: `wait_ready` waits for them. Harmless when
    repeated. Raises LabError.
    """
    progress(f"{machine.name}: certificates, etcd")
    here = site(lab)
    names = _names(machine)
    install_programs(machine, binaries, PROGRAMS)
    write(machine, pki.node_files(here.authorities, names, here.endpoint, here.nodes))
    if not etcd.has_data(machine):
        members = etcd.join(lab.control_plane, machine)
        _write_units(machine, {ETCD: etcd_unit(Member(machine.name, machine.address), members)})
    _start(machine, (ETCD,))
    etcd.wait_healthy(machine, time.monotonic() + ETCD_TIMEOUT)
    progress(f"{machine.name}: kube-apiserver, kube-controller-manager, kube-scheduler")
    _write_units(machine, kubernetes_units(machine.address, binaries.minor))
    _start(machine, UNITS)


def equip_client(lab: Lab, machine: Machine, binaries: Binaries) -> None:
    """Give a client node kubectl, the CA and an administrator's kubeconfig for the endpoint."""
    here = site(lab)
    install_programs(machine, binaries, ("kubectl",))
    write(machine, pki.client_files(here.authorities, here.endpoint))


def write_operator_kubeconfig(lab: Lab) -> Path:
    """The operator's kubeconfig in the lab's directory."""
    here = site(lab)
    content = pki.admin_kubeconfig(here.authorities, here.endpoint)
    place = lab.directory / "kubeconfig"
    _put(place, content, 0o600)
    return place


def stop_control_plane(machine: Machine, *, forget: bool = False) -> None:
    """Stop the machine's servers for good; with `forget`, as after `kubeadm reset`.

    Forgetting removes certificates, kubeconfigs and etcd's data, but does not tell the other
    members: joining again replaces the lost member.
    """
    # etcd last: an API server which stops without its etcd takes 20 s.
    servers = tuple(reversed(UNITS))
    machine.execute(["systemctl", "disable", "--now", *servers], timeout=90, check=False)
    if forget:
        for unit in UNITS:
            (machine.root / _UNIT_FILES / unit).unlink(missing_ok=True)
        for path in ("etc/kubernetes", ETCD_DATA.lstrip("/"), "root/.kube"):
            shutil.rmtree(machine.root / path, ignore_errors=True)
        machine.execute(["systemctl", "daemon-reload"])


def wait_ready(machine: Machine, deadline: float) -> None:
    """Wait until the machine's own API server says that it is ready, asked anonymously.

    `deadline` is of time.monotonic(). Raises LabError with the last answer.
    """
    while (said := readiness(machine)) != "ok":
        if time.monotonic() > deadline:
            raise LabError(
                f"kube-apiserver does not become ready; /readyz says: {said or 'nothing'}",
                hint=f"kubeha lab exec {machine.name} -- journalctl -u kube-apiserver",
                node=machine.name,
            )
        time.sleep(0.3)


def readiness(machine: Machine) -> str:
    """What /readyz of the machine's own API server answers to an anonymous client."""
    return ask(machine, "/readyz")


def ask(machine: Machine, path: str) -> str:
    """The answer of the machine's own API server to an anonymous GET, or why there is none.

    The server's certificate is verified, against the machine's address.
    """
    url = f"https://{pki.host_port(machine.address, API_PORT)}{path}"
    return machine.execute(["python3", "-c", _ASK, url], timeout=15, check=False).stdout.strip()


# Python, for kubectl cannot be anonymous: without credentials it asks for a user's name.
_ASK = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile="/etc/kubernetes/pki/ca.crt")
try:
    answer = urllib.request.urlopen(sys.argv[1], context=context, timeout=5)
    print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print(error)
"""


def install_programs(machine: Machine, binaries: Binaries, names: Iterable[str]) -> None:
    """Make the programs commands of the machine: links where it sees the cache, else copies."""
    shared = f"{SHARED_PROGRAMS}/{binaries.directory.name}"
    seen = machine.execute(["test", "-x", f"{shared}/kubectl"], check=False).returncode == 0
    place = machine.root / PROGRAMS_IN_MACHINE.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        fresh = place / f".{name}.new"
        fresh.unlink(missing_ok=True)
        if seen:
            fresh.symlink_to(f"{shared}/{name}")
        else:
            shutil.copy(binaries.directory / name, fresh)
        # Renamed over the old one: a running program's file cannot be written.
        fresh.rename(place / name)


def write(machine: Machine, files: Iterable[SecretFile]) -> None:
    """Put files on the machine, whether it runs or not."""
    for file in files:
        _put(machine.root / file.path, file.content, file.mode)


def _put(place: Path, content: bytes, mode: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=mode)
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.rename(place)


def _names(machine: Machine) -> NodeNames:
    return NodeNames(machine.name, (machine.address, machine.address6))


def _write_units(machine: Machine, units: dict[str, str]) -> None:
    for name, text in units.items():
        _put(machine.root / _UNIT_FILES / name, text.encode(), 0o644)


def _start(machine: Machine, units: Iterable[str]) -> None:
    """Enable and start, with what is on disk now."""
    names = list(units)
    machine.execute(["systemctl", "daemon-reload"])
    machine.execute(["systemctl", "--quiet", "enable", *names])
    machine.execute(["systemctl", "start", *names], timeout=90)
