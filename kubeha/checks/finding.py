"""Findings: the common currency of check, verify, status and lint."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


class Severity(StrEnum):
    """error: it does not hold or would do harm; warning: it holds, but; info: good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what, what to do, and what shows it."""

    code: str
    severity: Severity
    node: str
    message: str
    fix: str
    evidence: str = ""

    def as_json(self) -> dict[str, str]:
        """The shape that scripts rely on (docs/status-json.md)."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "node": self.node,
            "message": self.message,
            "fix": self.fix,
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class Kind:
    """What all findings of one code share. Codes are stable for ever, never used twice."""

    code: str
    severity: Severity
    title: str

    @property
    def group(self) -> str:
        """Its hundred, such as '3xx: network and wire'."""
        digit = self.code[2]
        return f"{digit}xx: {GROUPS[digit]}"

    def at(self, node: str, message: str, fix: str, evidence: str = "") -> Finding:
        """A finding of this kind on a node (or on the cluster, with an empty name)."""
        return Finding(self.code, self.severity, node, message, fix, evidence.strip())


GROUPS = {
    "1": "cluster file",
    "2": "node",
    "3": "network and wire",
    "4": "VRRP",
    "5": "HAProxy",
    "6": "Kubernetes",
    "7": "hand-written files",
}
_CATALOGUE: dict[str, Kind] = {}


def _kind(code: str, severity: Severity, title: str) -> Kind:
    assert code not in _CATALOGUE, code
    _CATALOGUE[code] = Kind(code, severity, title)
    return _CATALOGUE[code]


def catalogue() -> tuple[Kind, ...]:
    """Every kind of finding, by code."""
    return tuple(_CATALOGUE[code] for code in sorted(_CATALOGUE))


def kind_of(text: str) -> Kind | None:
    """The kind that somebody means by KH301, kh301 or 301; None if there is no such code."""
    written = re.fullmatch(r"(?:KH)?([0-9]{3})", text.strip(), re.IGNORECASE)
    return _CATALOGUE.get(f"KH{written[1]}") if written else None


def similar(text: str) -> str:
    """The code most like one that does not exist, for 'did you mean'; empty if none is."""
    return next(iter(get_close_matches(text.strip().upper(), sorted(_CATALOGUE), n=1, cutoff=0.75)), "")


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

# 1xx cluster file
FILE_WARNING = _kind("KH101", _W, "the cluster file gives less than high availability")

# 2xx node
UNREACHABLE = _kind("KH201", _E, "a node cannot be asked")
NO_SYSTEMD = _kind("KH202", _E, "a node does not run systemd")
UNSUPPORTED_OS = _kind("KH203", _E, "kubeha cannot install packages on this distribution")
PACKAGE_MISSING = _kind("KH204", _E, "keepalived or HAProxy is missing and may not be installed")
FOREIGN_FILE = _kind("KH205", _E, "a configuration that kubeha did not write is in the way")
DISK_FULL = _kind("KH206", _E, "too little disk space to install and configure")
READ_ONLY = _kind("KH207", _E, "a directory that kubeha must write to is read-only")
DRIFT = _kind("KH208", _W, "what is on the node is not what apply would put there")
UNREADABLE = _kind("KH210", _E, "something that has to be known cannot be read on a node")
MASKED = _kind("KH211", _E, "a service is masked: it can never start")
NOT_ENABLED = _kind("KH209", _E, "a service would not start at the next boot")

# 3xx network and wire
VIP_TAKEN = _kind("KH301", _E, "somebody else holds the VIP")
VIP_NOT_ON_SUBNET = _kind("KH302", _E, "the VIP lies in no subnet of the node")
PORT_TAKEN = _kind("KH303", _E, "the endpoint's port is in use by another program")
VIP_UNANSWERED = _kind("KH304", _E, "the VIP does not answer on the wire")

# 4xx VRRP
NO_HOLDER = _kind("KH401", _E, "no node holds the VIP")
TWO_HOLDERS = _kind("KH402", _E, "more than one node holds the VIP")
KEEPALIVED_DOWN = _kind("KH403", _E, "keepalived does not run")
STATE_MISMATCH = _kind("KH404", _E, "keepalived's word and the interface disagree")
ROUTER_CHANGE = _kind("KH405", _E, "the file asks for another virtual router than the deployed one")
FAULT = _kind("KH406", _E, "keepalived is in FAULT: this node cannot take the VIP")
SILENT = _kind("KH407", _W, "keepalived runs but does not tell its state")
STALE_VIP = _kind("KH408", _E, "the VIP is on a node whose keepalived does not run")
LEFT_BEHIND = _kind("KH409", _E, "a node that is no longer in the cluster file still takes part")
FEW_BALANCERS = _kind("KH410", _E, "fewer than two load balancer nodes can take the VIP")
EQUAL_PRIORITIES = _kind("KH411", _W, "load balancer nodes have the same VRRP priority")
VIPS_DIFFER = _kind("KH412", _E, "the nodes' virtual routers carry different VIPs")
PEER_MISSING = _kind("KH413", _E, "a load balancer node is missing among another's unicast peers")
CASTS_DIFFER = _kind("KH414", _E, "some nodes send VRRP to peers, others by multicast")
AUTHENTICATION_DIFFERS = _kind("KH415", _E, "the nodes' VRRP authentication differs")
INTERVALS_DIFFER = _kind("KH416", _E, "the nodes' advertisement intervals differ (VRRP version 2)")
VERSIONS_DIFFER = _kind("KH417", _E, "the nodes speak different versions of VRRP")
VRIDS_DIFFER = _kind("KH418", _E, "the nodes carry the VIP in different virtual routers")
VIP_FLAPS = _kind("KH419", _E, "the VIP moves again and again")
NOT_LOADED = _kind("KH421", _W, "keepalived runs with other settings than its file")
NOT_CONFIGURED = _kind("KH422", _E, "a load balancer node's keepalived does not carry the VIP")
INTERVALS_LEARNED = _kind("KH423", _W, "the nodes' advertisement intervals differ (VRRP version 3)")

# 5xx HAProxy
HAPROXY_DOWN = _kind("KH501", _E, "HAProxy does not run or does not answer")
SERVER_DOWN = _kind("KH502", _W, "HAProxy sees an API server down")
ALL_SERVERS_DOWN = _kind("KH503", _E, "HAProxy sees no ready API server")
NOT_OURS = _kind("KH504", _E, "HAProxy runs without the endpoint's servers")
REFUSED_CHECK = _kind("KH505", _E, "API servers refuse HAProxy's anonymous /readyz")

# 6xx Kubernetes
API_UNHEALTHY = _kind("KH601", _W, "an API server is not ready")
NO_CA = _kind("KH602", _W, "no cluster CA yet: API servers are checked by TCP only")
ENDPOINT_DOWN = _kind("KH603", _E, "the endpoint does not answer")
CERTIFICATE_NAME = _kind("KH604", _E, "the API server's certificate does not name the VIP")
LEASE_STALE = _kind("KH605", _E, "a controller's Lease is missing or stale")
READ_FAILED = _kind("KH606", _E, "an authenticated read through the endpoint failed")
NOT_READ = _kind("KH607", _I, "no credentials: the authenticated read was not tried")
CAS_DIFFER = _kind("KH608", _E, "control plane nodes do not share one CA")
NO_API = _kind("KH609", _W, "no API server runs yet: the endpoint is deployed ahead of them")
FEW_API_SERVERS = _kind("KH610", _E, "fewer than two API servers are ready")
CA_GONE = _kind("KH611", _E, "the CA that HAProxy checks with is no longer found on any node")
