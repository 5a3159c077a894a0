"""Observed worlds for the tests: plain data, built from a desired state or from nothing."""

import hashlib
import json
from dataclasses import replace
from ipaddress import ip_address, ip_interface

from kubeha import paths
from kubeha.desired import DesiredFile, DesiredNode
from kubeha.facts import Fetched, InterfaceAddress, Link, Listener, NodeFacts, Os, Unit
from kubeha.model import Cluster, Endpoint, Node
from kubeha.plan import applied_file
from kubeha.remote import FileState
from kubeha.world import API_READYZ, API_VERSION, ENDPOINT_READYZ, ENDPOINT_VERSION

DEBIAN = Os("debian", (), "12", "Debian GNU/Linux 12 (bookworm)")
CA = """-----BEGIN CERTIFICATE-----
MIIBszCCAVmgAwIBAgIUSYnTHtNZSsMB
-----END CERTIFICATE-----
"""
VERSION_BODY = '{"gitVersion": "v1.30.1"}'


def cluster(nodes: int = 3, **changes: object) -> Cluster:
    """m1..mN on 198.51.100.11.. behind 198.51.100.10:8443."""
    named = tuple(
        Node.model_validate({"name": f"m{i}", "address": f"198.51.100.{10 + i}"}, strict=False)
        for i in range(1, nodes + 1)
    )
    endpoint = Endpoint.model_validate({"vip": "198.51.100.10"}, strict=False)
    whole = Cluster(cluster="test", endpoint=endpoint, control_plane=named)
    return whole.model_copy(update=changes)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_state(file: DesiredFile) -> FileState:
    return FileState(
        path=file.path,
        exists=True,
        content=file.content,
        sha256=sha256(file.content),
        mode=file.mode,
        owner=file.owner,
        group=file.group,
    )


def text_file(path: str, text: str, mode: int = 0o644) -> FileState:
    return file_state(DesiredFile(path, text, mode, "a test's"))


def missing(path: str) -> FileState:
    return FileState(path=path, exists=False)


def unit(name: str, *, active: bool = True, state: str = "enabled", instance: str = "abc") -> Unit:
    word = "active" if active else "inactive"
    return Unit(name, "loaded", word, "running" if active else "dead", state, 42, instance)


def said(state: int, priority: int = 240) -> str:
    """keepalived's JSON dump, cut to what is read: 1 BACKUP, 2 MASTER, 3 FAULT."""
    data = {"iname": "kubeha", "state": state, "effective_priority": priority}
    return json.dumps([{"data": data, "stats": {}}])


def addresses(address: str, *more: str) -> tuple[InterfaceAddress, ...]:
    """An address on eth0 with the lab's prefix; more addresses with their own."""
    own = InterfaceAddress("eth0", ip_interface(f"{address}/24"))
    return (own, *(InterfaceAddress("eth0", ip_interface(each)) for each in more))


def mac(address: str, card: int = 0) -> str:
    """02:00:00:00:00:01 for 198.51.100.11, and so on; `card`: a second one of the same machine."""
    return f"02:00:00:00:{card:02x}:{ip_address(address).packed[-1] - 10:02x}"


def links(address: str, mtu: int = 1500) -> tuple[Link, ...]:
    """lo and eth0 of a machine."""
    loopback = Link("lo", "00:00:00:00:00:00", 65536, up=True, ethernet=False)
    return (loopback, Link("eth0", mac(address), mtu, up=True, ethernet=True))


def bare(name: str, address: str) -> NodeFacts:
    """A fresh Debian machine, without keepalived, HAProxy or Kubernetes."""
    return NodeFacts(
        name=name,
        os=DEBIAN,
        systemd=True,
        packages={"bash": "5.2"},
        units={},
        addresses=addresses(address),
        listeners=(Listener("0.0.0.0", 22, "sshd"),),
        files={path: missing(path) for path in (*paths.WRITTEN, paths.APPLIED)},
        conffiles={},
        free_bytes={"/": 10**10},
        links=links(address),
        clock_offset=0.0,
    )


def deployed(desired: DesiredNode, facts: NodeFacts, *, holds: str | None = None) -> NodeFacts:
    """The same machine after an apply, at work; `holds`: the VIP that it holds."""
    files = {file.path: file_state(file) for file in (*desired.files, applied_file(desired))}
    own = facts.addresses or ()
    vip = (InterfaceAddress("eth0", ip_interface(f"{holds}/32")),) if holds else ()
    return replace(
        facts,
        packages={**facts.packages, "haproxy": "2.6.12-1", "keepalived": "1:2.2.7-1"},
        units={name: unit(name) for name in desired.units},
        files={**facts.files, **files},
        addresses=(*own, *vip),
        haproxy_info="Pid: 1\n",
        keepalived_json=said(2 if holds else 1),
    )


def answer(status: int = 200, body: str = "ok", date: str = "") -> Fetched:
    return Fetched(status, body, date, None, "", "", 0.01)


def no_answer(kind: str, words: str = "it failed") -> Fetched:
    return Fetched(None, "", "", None, kind, words, 3.0)


def healthy_answers() -> dict[str, Fetched]:
    """What a healthy node hears of its own API server and of the endpoint."""
    return {
        API_READYZ: answer(),
        API_VERSION: answer(body=VERSION_BODY),
        ENDPOINT_READYZ: answer(),
        ENDPOINT_VERSION: answer(body=VERSION_BODY),
    }
