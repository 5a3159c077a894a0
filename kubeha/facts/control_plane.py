"""What a node runs of Kubernetes' control plane, and where its kubeconfigs lead: answers -> values.

The answers are node/control_plane.py's. What could not be found out is None.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Process:
    """A server of the control plane that runs, with those of its flags that are told."""

    name: str
    flags: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """A `server:` of a kubeconfig. `addresses`: what its host resolves to on the node, or None."""

    url: str
    host: str
    port: int
    addresses: tuple[Address, ...] | None


@dataclass(frozen=True)
class Kubeconfig:
    """A kubeconfig on a node (or in one of its containers): only where its clusters are."""

    path: str
    servers: tuple[Server, ...]


@dataclass(frozen=True)
class EtcdMember:
    """A member of the etcd cluster, as one node sees it.

    `answers`: True if it told its state, False if nobody answers at its client addresses, None if
    somebody does but did not tell. `leader` is the id of its leader ("" if it has none), None if
    it is not known. `alarms`: what it complains about.
    """

    id: str
    name: str
    urls: tuple[str, ...]
    peers: tuple[str, ...]
    learner: bool
    answers: bool | None
    error: str
    leader: str | None
    version: str
    alarms: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name, or its address if it has never started."""
        return self.name or next(iter(self.peers), self.id)


@dataclass(frozen=True)
class Etcd:
    """The etcd cluster as one node sees it.

    No members: `error` says why; `silent`: nobody answered at any of the endpoints.
    """

    endpoints: tuple[str, ...]
    members: tuple[EtcdMember, ...]
    error: str
    silent: bool = False


@dataclass(frozen=True)
class ControlPlane:
    """What one node runs and is told to talk to; `etcd` is None where it was not asked."""

    processes: tuple[Process, ...]
    kubeconfigs: tuple[Kubeconfig, ...]
    etcd: Etcd | None = None

    def running(self, name: str) -> tuple[Process, ...]:
        return tuple(process for process in self.processes if process.name == name)


def parse_control_plane(answer: Mapping[str, Any] | None) -> ControlPlane | None:
    """The answer of node/control_plane.py; None if there is none."""
    if not answer or "processes" not in answer:
        return None
    etcd = answer.get("etcd")
    return ControlPlane(
        processes=tuple(
            Process(str(each["name"]), {str(k): str(v) for k, v in each["flags"].items()})
            for each in answer["processes"]
        ),
        kubeconfigs=tuple(
            Kubeconfig(str(each["path"]), tuple(_servers(each["servers"])))
            for each in answer.get("kubeconfigs", ())
        ),
        etcd=_etcd(etcd) if isinstance(etcd, Mapping) else None,
    )


def _servers(answers: Iterable[Mapping[str, Any]]) -> Iterable[Server]:
    """Those whose URL is one."""
    for answer in answers:
        url = str(answer["url"])
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            continue
        known = answer.get("addresses")
        addresses = tuple(parse_addresses(known)) if known is not None else None
        yield Server(url, parts.hostname or "", port, addresses)


def parse_addresses(texts: Iterable[object]) -> Iterable[Address]:
    """Those texts that are addresses; the zone of a link-local one is dropped."""
    for text in texts:
        try:
            yield ip_address(str(text).partition("%")[0])
        except ValueError:
            continue


def _etcd(answer: Mapping[str, Any]) -> Etcd:
    return Etcd(
        endpoints=tuple(map(str, answer.get("endpoints", ()))),
        members=tuple(_member(each) for each in answer.get("members", ())),
        error=str(answer.get("error") or ""),
        silent=answer.get("silent") is True,
    )


def _member(answer: Mapping[str, Any]) -> EtcdMember:
    leader = answer.get("leader")
    told = leader is not None
    return EtcdMember(
        id=str(answer.get("id", "")),
        name=str(answer.get("name", "")),
        urls=tuple(map(str, answer.get("urls", ()))),
        peers=tuple(map(str, answer.get("peers", ()))),
        learner=bool(answer.get("learner")),
        answers=True if told else False if answer.get("down") or not answer.get("urls") else None,
        error=str(answer.get("error") or ""),
        leader="" if leader == "0" else str(leader) if told else None,
        version=str(answer.get("version", "")),
        alarms=tuple(map(str, answer.get("errors", ()))),
    )
