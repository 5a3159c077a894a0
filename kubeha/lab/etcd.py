"""The etcd cluster: who is in it, and how one more machine joins it, one at a time."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from kubeha.errors import LabError
from kubeha.lab.control_plane_units import ETCD_CLIENT_PORT, ETCD_DATA, Member
from kubeha.lab.machine import Machine

ADD_TIMEOUT = 60.0  # seconds
_PKI = "/etc/kubernetes/pki"


@dataclass(frozen=True)
class Listed:
    """A member as the cluster lists it; `name` is empty until it has started for the first time."""

    id: int
    name: str
    peer_urls: tuple[str, ...]


def parse_members(text: str) -> tuple[Listed, ...]:
    """What `etcdctl member list` and `add` print with `-w json`. Raises ValueError, KeyError."""
    return tuple(
        Listed(int(member["ID"]), member.get("name", ""), tuple(member["peerURLs"]))
        for member in json.loads(text)["members"]
    )


def has_data(machine: Machine) -> bool:
    """Whether the machine has been a member of an etcd cluster (it need not run for this)."""
    return (machine.root / ETCD_DATA.lstrip("/") / "member").is_dir()


def join(machines: tuple[Machine, ...], me: Machine) -> tuple[Member, ...]:
    """Make room for `me` and say with which members its etcd has to start.

    Which is `me` alone when no other machine has an etcd: it is then the first. A member of the
    same address which is listed from an earlier try or an earlier life is used or replaced.
    Raises LabError when there is a cluster but none of its members answers.
    """
    known = tuple(Member(machine.name, machine.address) for machine in machines)
    mine = Member(me.name, me.address)
    others = [machine for machine in machines if machine.name != me.name and has_data(machine)]
    if not others:
        return (mine,)
    through, listed = _any_answer(others, me)
    former = listed_at(listed, mine.peer_url)
    if former is None or former.name:
        if former is not None:
            _etcdctl(through, "member", "remove", f"{former.id:x}")
        listed = _add(through, mine, time.monotonic() + ADD_TIMEOUT)
    return initial_cluster(listed, known)


def _add(through: Machine, mine: Member, deadline: float) -> tuple[Listed, ...]:
    """Add the member, as soon as the cluster agrees; the members that it then has.

    They must come from the same answer: the second member of two makes the cluster lose its
    quorum until it has started, and etcd 3.5 lists nothing without one.

    etcd refuses while any member has been connected for less than 5 s (its HealthInterval), so
    the one which joins right after another has to wait, as with kubeadm.
    """
    while True:
        try:
            add = ("member", "add", mine.name, f"--peer-urls={mine.peer_url}", "-w", "json")
            return parse_members(_etcdctl(through, *add))
        except LabError as error:
            if "unhealthy cluster" not in error.message or time.monotonic() > deadline:
                raise
        time.sleep(0.3)


def listed_at(listed: Iterable[Listed], peer_url: str) -> Listed | None:
    """The member of that address, if the cluster lists one."""
    return next((member for member in listed if peer_url in member.peer_urls), None)


def initial_cluster(listed: Iterable[Listed], known: Iterable[Member]) -> tuple[Member, ...]:
    """The listed members under their machines' names: one that never started has none of its own.

    etcd refuses to join unless it is given every member that the cluster lists.
    """
    by_url = {member.peer_url: member for member in known}
    return tuple(by_url[url] for member in listed for url in member.peer_urls if url in by_url)


def wait_healthy(machine: Machine, deadline: float) -> None:
    """Wait until the machine's etcd commits a proposal. `deadline` is of time.monotonic().

    Raises LabError with the last words seen.
    """
    while True:
        try:
            _etcdctl(machine, "endpoint", "health")
            return
        except LabError as error:
            if time.monotonic() > deadline:
                raise LabError(
                    f"etcd does not become healthy: {error.message}",
                    hint=f"kubeha lab exec {machine.name} -- journalctl -u etcd",
                    node=machine.name,
                ) from error
        time.sleep(0.2)


def _any_answer(machines: list[Machine], me: Machine) -> tuple[Machine, tuple[Listed, ...]]:
    said = list[str]()
    for machine in machines:
        try:
            return machine, _members(machine)
        except LabError as error:
            said.append(str(error))
    raise LabError(
        "etcd of no other machine answers, but there is a cluster to join: " + "; ".join(said),
        hint=f"boot the other machines first (kubeha lab boot {machines[0].name})",
        node=me.name,
    )


def _members(machine: Machine) -> tuple[Listed, ...]:
    return parse_members(_etcdctl(machine, "member", "list", "-w", "json"))


def _etcdctl(machine: Machine, *arguments: str) -> str:
    """Ask the machine's own etcd, as kubeadm's probes do."""
    client = f"{_PKI}/etcd/healthcheck-client"
    options = [
        f"--endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT}",
        f"--cacert={_PKI}/etcd/ca.crt",
        f"--cert={client}.crt",
        f"--key={client}.key",
        "--command-timeout=5s",
    ]
    command = ["env", "ETCDCTL_API=3", "etcdctl", *options, *arguments]
    return machine.execute(command, timeout=15).stdout
