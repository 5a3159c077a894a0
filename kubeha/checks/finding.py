"""Findings: the common currency of check, verify, status and lint."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    # The reason for which somebody lives with it (`ignoring`): told, but it does not count.
    ignored: str | None = field(default=None, kw_only=True)

    def as_json(self) -> dict[str, str | None]:
        """The shape that scripts rely on (docs/status-json.md)."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "node": self.node,
            "message": self.message,
            "fix": self.fix,
            "evidence": self.evidence,
            "ignored": self.ignored,
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


def counted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that decide: all that nobody has chosen to ignore."""
    return tuple(finding for finding in findings if finding.ignored is None)


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


_LOOKS_LIKE = str.maketrans("OQIL", "0011")


def similar(text: str) -> str:
    """The code most like one that does not exist, for 'did you mean'; empty if none is."""
    wanted = text.strip().upper()
    if kind := kind_of(wanted.translate(_LOOKS_LIKE)):
        return kind.code
    return next(iter(get_close_matches(wanted, sorted(_CATALOGUE), n=1, cutoff=0.75)), "")


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

# 1xx cluster file
FILE_WARNING = _kind("KH101", _W, "the cluster file gives less than high availability")
SHORT_INTERVAL = _kind(
    "KH102", _W, "the advertisement interval is shorter than pauses of virtual machines"
)

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
TOO_OLD = _kind("KH212", _E, "a program is too old for what kubeha writes")
NO_SOURCE = _kind("KH213", _E, "missing packages cannot be had")
APT_BUSY = _kind("KH214", _W, "another apt or dpkg is at work")
SELINUX = _kind("KH215", _E, "SELinux would keep HAProxy or keepalived from its work")
PORT_FILTERED = _kind("KH216", _E, "the firewall drops connections to the endpoint or the API")
VRRP_FILTERED = _kind("KH217", _E, "the firewall drops VRRP between load balancer nodes")
REVERSE_PATH = _kind("KH218", _W, "strict reverse path filtering drops clients of the VIP")
MUTED_VIP = _kind("KH219", _E, "a kernel setting keeps the VIP from being reached")
OTHER_MANAGER = _kind("KH220", _E, "another VIP manager is configured with the VIP")
FIXED_VIP = _kind("KH221", _E, "the VIP is a fixed address in a node's network configuration")
OTHER_ROUTERS = _kind("KH222", _W, "keepalived.conf has other virtual routers")
UNATTENDED_UPGRADES = _kind("KH223", _I, "unattended upgrades may restart the holder's services")
NEEDRESTART = _kind("KH224", _I, "needrestart may restart the holder's services")
NOT_REAL_TIME = _kind("KH225", _W, "keepalived runs without real-time priority")
NO_INOTIFY = _kind("KH226", _W, "keepalived watches none of its files")
API_PORT_TAKEN = _kind("KH227", _E, "the API server's port is in use by another program")
SECOND_KEEPALIVED = _kind("KH228", _W, "a keepalived runs that its service did not start")
CLOCK_OFF = _kind("KH229", _W, "a node's clock is off")

# 3xx network and wire
VIP_TAKEN = _kind("KH301", _E, "somebody else holds the VIP")
VIP_NOT_ON_SUBNET = _kind("KH302", _E, "the VIP lies in no subnet of the node")
PORT_TAKEN = _kind("KH303", _E, "the endpoint's port is in use by another program")
VIP_UNANSWERED = _kind("KH304", _E, "the VIP does not answer on the wire")

VRID_TAKEN = _kind("KH305", _E, "another virtual router on the segment uses our VRID")
VRRP_BLOCKED = _kind("KH306", _E, "protocol 112 does not pass between two load balancer nodes")
API_BLOCKED = _kind("KH307", _E, "a load balancer node cannot connect to an API server")
LARGE_LOST = _kind("KH308", _E, "large packets do not pass between two load balancer nodes")
MTU_DIFFERS = _kind("KH309", _W, "the MTU differs between the nodes' VIP interfaces")
SHARED_SEGMENT = _kind("KH310", _E, "two interfaces of a node are in one segment")
ADDRESS_TAKEN = _kind("KH311", _E, "another machine answers for a node's address")
WRONG_INTERFACE = _kind("KH312", _E, "the interface named is not the one in the VIP's subnet")
VIP_ADVERTISED = _kind("KH313", _E, "another virtual router announces the VIP")
NOT_LISTENED = _kind("KH314", _W, "the wire cannot be probed from a node")
ROUTERS_NEARBY = _kind("KH315", _I, "other virtual routers speak on the segment")

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
GUARD_DOWN = _kind("KH424", _W, "the guard does not run: two nodes may hold the VIP unnoticed")
STEPPED_ASIDE = _kind("KH425", _E, "the guard keeps the VIP away from a node")

# 5xx HAProxy
HAPROXY_DOWN = _kind("KH501", _E, "HAProxy does not run or does not answer")
SERVER_DOWN = _kind("KH502", _W, "HAProxy sees an API server down")
ALL_SERVERS_DOWN = _kind("KH503", _E, "HAProxy sees no ready API server")
NOT_OURS = _kind("KH504", _E, "HAProxy runs without the endpoint's servers")
REFUSED_CHECK = _kind("KH505", _E, "API servers refuse HAProxy's anonymous /readyz")
FEW_DESCRIPTORS = _kind("KH506", _E, "HAProxy may open too few files for its connections")

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
CERTIFICATE_EXPIRED = _kind("KH612", _E, "an API server's certificate is not valid now")
CERTIFICATE_ENDS = _kind("KH613", _W, "an API server's certificate expires soon")
CERTIFICATE_FOREIGN = _kind(
    "KH614", _E, "the cluster's CA did not sign an API server's certificate"
)
CERTIFICATE_UNCHECKABLE = _kind("KH615", _E, "a certificate lacks the name that HAProxy checks")
NO_ELECTION = _kind("KH616", _E, "several controllers run without leader election")
CONTROLLER_MISSING = _kind("KH617", _W, "a controller does not run beside its API server")
KUBECONFIG_ELSEWHERE = _kind("KH618", _W, "a kubeconfig goes past the endpoint to one machine")
KUBECONFIG_LOCAL = _kind("KH619", _I, "a kubeconfig knows only the node's own API server")
ETCD_NO_LEADER = _kind("KH620", _E, "etcd has no leader")
ETCD_MEMBER_DOWN = _kind("KH621", _W, "an etcd member does not answer")
ETCD_EVEN = _kind("KH622", _W, "etcd has an even number of members")
ETCD_ALONE = _kind("KH623", _W, "etcd has a single member")
ETCD_ALARM = _kind("KH624", _E, "etcd has raised an alarm")
ETCD_UNKNOWN = _kind("KH625", _I, "etcd could not be asked")
LOOPBACK_ONLY = _kind("KH626", _E, "an API server listens on its own machine only")
ADVERTISES_VIP = _kind("KH627", _W, "an API server advertises the VIP as its own address")
ONE_ETCD = _kind("KH628", _W, "all API servers use the etcd of one machine")

# 701-739: keepalived.conf
BROKEN = _kind("KH701", _E, "keepalived.conf cannot be read as it stands")
INCLUDE_UNSEEN = _kind("KH702", _I, "a file that keepalived.conf includes was not looked at")
UNKNOWN_WORD = _kind("KH703", _E, "keepalived ignores a line that it does not know")
CUT_BY_COMMENT = _kind("KH704", _W, "a # or ! inside a word begins a comment")
VALUE_REFUSED = _kind("KH705", _E, "keepalived refuses a value and goes on without it")
NO_LINK_TRACKING = _kind("KH706", _E, "the VIP stays on a node whose link is down")
SLOW_INTERVAL = _kind("KH707", _W, "a dead holder is noticed only after seconds")
RT_WITHOUT_LIMIT = _kind("KH708", _E, "real-time priority without its limit kills keepalived")
STARTUP_DELAY = _kind("KH709", _E, "vrrp_startup_delay is broken in keepalived 2.2.0 to 2.2.7")
STRICT = _kind("KH710", _E, "vrrp_strict drops the traffic to the VIP")
SUBNET_PREFIX = _kind("KH711", _W, "the VIP has the subnet's prefix length")
PASSWORD_CUT = _kind("KH712", _W, "keepalived uses only eight characters of the password")
PASSWORD_USELESS = _kind("KH713", _W, "VRRP's password protects nothing")
MASTER_IGNORES = _kind("KH714", _E, "state MASTER switches nopreempt and preempt_delay off")
NOPREEMPT_WEIGHTS = _kind("KH715", _W, "with nopreempt, weights do not move the VIP")
PROCESS_CHECK = _kind("KH716", _W, "the health check only asks whether a process exists")
SCRIPT_USER = _kind("KH717", _W, "nobody said as which user keepalived runs scripts")
SCRIPT_SECURITY = _kind("KH718", _W, "keepalived runs scripts that others may write")
COMMON_VRID = _kind("KH719", _W, "multicast with a virtual router id that many others have")
ADDRESS_OWNER = _kind("KH720", _E, "priority 255 switches all health checks off")
SAME_ROUTER = _kind("KH721", _E, "two instances of a file are one virtual router")
WEIGHT_TOO_SMALL = _kind("KH722", _E, "a failed health check cannot move the VIP")
NO_GARP_REFRESH = _kind("KH723", _W, "a stale ARP entry for the VIP is never mended")
OTHER_INTERFACE = _kind("KH725", _I, "the VIP is on another interface than the adverts")
TRACK_UNDEFINED = _kind("KH726", _E, "something is tracked that nobody defines")
SLOW_CHECK = _kind("KH727", _W, "the health check notices a failure late")
NO_HEALTH_CHECK = _kind("KH728", _E, "the VIP stays on a node whose load balancer is dead")
SCRIPT_UNUSED = _kind("KH729", _W, "a health check is defined and tracked nowhere")
OWN_PEER = _kind("KH730", _W, "unicast_peer names the node itself")
NO_UNICAST_SOURCE = _kind("KH731", _W, "unicast without unicast_src_ip")
SAMPLE_MAIL = _kind("KH732", _W, "mail goes to the addresses of the sample file")
SAMPLE_SERVICE = _kind("KH733", _E, "the sample file's addresses are still there")
EMPTY_PEERS = _kind("KH734", _E, "unicast without peers is multicast")
PLACEHOLDER = _kind("KH735", _E, "a name in use has no definition")

# 741-779: haproxy.cfg
HAPROXY_REFUSES = _kind("KH741", _E, "HAProxy would refuse the file")
UNDECIDED = _kind("KH742", _I, "a conditional block cannot be decided from the file")
BALANCE_SOURCE = _kind("KH743", _W, "each client address is tied to one API server")
IDLE_TIMEOUT = _kind("KH744", _W, "idle watches and sessions are cut off")
TCP_CHECK = _kind("KH745", _W, "an API server that is not ready is not noticed")
SLOW_DETECTION = _kind("KH746", _W, "a dead API server stays in use for long")
NO_REDISPATCH = _kind("KH747", _W, "a connection that meets a dead server is not tried elsewhere")
SLOW_REDISPATCH = _kind("KH748", _W, "a connection that meets a dead server waits for seconds")
VERSION_KEYWORD = _kind("KH749", _W, "a keyword that not every HAProxy accepts")
STATS_OPEN = _kind("KH750", _W, "the statistics page is open to other machines")
STATS_ADMIN = _kind("KH751", _E, "the statistics page lets other machines switch servers off")
DEFAULT_TCP_UT = _kind("KH752", _W, "tcp-ut in default-server is ignored")
VERIFYHOST_ADDRESS = _kind("KH753", _E, "verifyhost names an address: every check fails")
PORT_SHARED = _kind("KH754", _W, "HAProxy binds the port that an API server here would need")
SERVER_LOOP = _kind("KH755", _E, "a server is HAProxy itself")
UNCHECKED = _kind("KH756", _E, "a server is never checked")
VERIFY_NONE = _kind("KH757", _W, "health checks believe any certificate")
CHECK_REPLACED = _kind("KH758", _W, "of several kinds of check only the last one counts")
LOW_LIMIT = _kind("KH759", _W, "a limit of connections is too low for watches")
NO_TIMEOUT = _kind("KH760", _W, "a timeout is missing")
NO_CHECK_TIMEOUT = _kind("KH761", _I, "a hung API server is noticed late: no timeout check")
HTTP_MODE = _kind("KH762", _E, "mode http in front of API servers")
HTTP_OPTION = _kind("KH763", _I, "an option that does nothing in TCP mode")
PLAIN_CHECK = _kind("KH764", _E, "an HTTP check without TLS fails on every API server")
ONE_SERVER = _kind("KH765", _W, "one API server: there is none to go on with")
CUT_REDISPATCH = _kind("KH766", _W, "mark-down with shutdown-sessions breaks what redispatch saves")
NO_HARD_STOP = _kind("KH767", _I, "after a reload the old process may stay for ever")
LOG_IN_CHROOT = _kind("KH768", _I, "the log socket may be out of reach in the chroot")
RUNS_AS_ROOT = _kind("KH769", _W, "HAProxy keeps root's rights")
NO_CHROOT = _kind("KH770", _I, "HAProxy runs without a chroot")
RUN_DIRECTORY = _kind("KH771", _I, "the socket's directory may be gone after a reboot")
ADMIN_SOCKET_OPEN = _kind("KH772", _E, "anybody may give HAProxy orders")
SAME_SERVER = _kind("KH773", _W, "two servers are one")

# 781-799: a node's two files, several nodes' files
SCRIPT_ELSEWHERE = _kind("KH781", _E, "keepalived checks a port on which HAProxy does not listen")
VIP_NOT_BOUND = _kind("KH782", _E, "HAProxy does not listen on the VIP")
BIND_NEEDS_VIP = _kind("KH783", _W, "HAProxy starts only where the VIP is")
VIP_AS_SERVER = _kind("KH784", _E, "the VIP is one of its own servers")
SERVERS_DIFFER = _kind("KH786", _W, "the nodes send clients to different API servers")
PORTS_DIFFER = _kind("KH787", _E, "the endpoint's port differs between the nodes")
FILES_VERSION = _kind("KH788", _E, "the nodes' files speak different versions of VRRP")
FILES_VRID = _kind("KH789", _E, "the nodes' files carry the VIP in different virtual routers")
FILES_VIPS = _kind("KH790", _E, "the nodes' files carry different lists of VIPs")
FILES_CAST = _kind("KH791", _E, "some nodes' files send to peers, others by multicast")
FILES_PEERS = _kind("KH792", _E, "a node is missing among the peers of another node's file")
FILES_AUTHENTICATION = _kind("KH793", _E, "the nodes' files differ in authentication")
FILES_INTERVAL = _kind("KH794", _E, "the nodes' files have different intervals (VRRP version 2)")
FILES_LEARNED = _kind("KH795", _W, "the nodes' files have different intervals (VRRP version 3)")
FILES_PRIORITY = _kind("KH796", _W, "the nodes' files have the same priority")
