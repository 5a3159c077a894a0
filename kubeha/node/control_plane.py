"""What runs on this node of Kubernetes' control plane, and where its clients are sent.

Only what is listed here leaves the node: some flags of the servers, `server:` lines of
kubeconfigs, and etcd's word on its members. No key, no token, no certificate.
"""

import glob
import os
import re
import socket
import threading
from typing import Any, Dict, List, NamedTuple, Optional
from urllib.parse import urlsplit

from kubeha.node.etcd import ask_etcd

PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
TOLD = (
    "advertise-address",
    "anonymous-auth",
    "bind-address",
    "etcd-servers",
    "kubeconfig",
    "leader-elect",
    "master",
    "secure-port",
    "tls-cert-file",
)
BOOLEANS = ("anonymous-auth", "leader-elect")
ETCD_FLAGS = ("etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile")
# Where an API server that does not run at the moment has its flags: kubeadm, binaries.
API_SERVER_FILES = (
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/systemd/system/kube-apiserver.service",
    "/lib/systemd/system/kube-apiserver.service",
)
KUBECONFIGS = (
    "/etc/kubernetes/*.conf",
    "/etc/kubernetes/*.kubeconfig",
    "/root/.kube/config",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/kube-proxy/*kubeconfig*",
)
LIMIT = 1 << 20
RESOLVE_TIMEOUT = 1.0

Process = NamedTuple("Process", [("pid", int), ("name", str), ("flags", Dict[str, str])])
_SERVER = re.compile(r"""["']?\bserver["']?[ \t]*:[ \t]*["']?(https?://[^\s"',}]+)""")
_SETTINGS = {
    "leader-elect": re.compile(r"^\s*leaderElect:\s*['\"]?(true|false)", re.M),
    "kubeconfig": re.compile(r"^\s*kubeconfig:\s*['\"]?([^\s'\"]+)", re.M),
}


def control_plane(ask: Dict[str, Any]) -> Dict[str, Any]:
    """Processes, kubeconfigs and (with `etcd`) etcd's members; `timeout` in seconds is etcd's."""
    seen = processes()
    answer = {
        "processes": [_told(each) for each in seen],
        "kubeconfigs": kubeconfigs(seen),
        "etcd": None,
    }  # type: Dict[str, Any]
    if ask.get("etcd"):
        answer["etcd"] = _etcd(seen, ask["timeout"])
    return answer


def processes() -> List[Process]:
    """The control plane's processes, whether in containers or not, with all their flags.

    All of them use the machine's own network; what does not belongs to a cluster inside a Pod.
    """
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or not _on_our_network(entry):
            continue
        argv = _argv(entry)
        for position in (0, 1):  # the second word of hyperkube
            if len(argv) > position and os.path.basename(argv[position]) in PROGRAMS:
                name = os.path.basename(argv[position])
                flags = parse_flags(argv[position + 1 :])
                if position == 0 or os.path.basename(argv[0]) == "hyperkube":
                    found.append(Process(int(entry), name, with_settings(int(entry), flags)))
                break
    return sorted(found)


def _on_our_network(pid: str) -> bool:
    try:
        return os.readlink("/proc/%s/ns/net" % pid) == os.readlink("/proc/self/ns/net")
    except OSError:
        return False  # it has ended


def _argv(pid: str) -> List[str]:
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as stream:
            return stream.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []  # it has ended


def parse_flags(argv: List[str]) -> Dict[str, str]:
    """`--key=value`, `--key value` and `--key` (true), as Go's flag packages take them."""
    flags = {}  # type: Dict[str, str]
    for position, word in enumerate(argv):
        if not word.startswith("-"):
            continue
        key, sign, value = word.lstrip("-").partition("=")
        following = argv[position + 1 : position + 2]
        if not sign:
            # A boolean takes its value behind '=' only.
            alone = key in BOOLEANS or not following or following[0].startswith("-")
            value = "true" if alone else following[0]
        flags[key] = value
    return flags


def with_settings(pid: int, flags: Dict[str, str]) -> Dict[str, str]:
    """The same flags, completed with what the file named by --config says (flags win)."""
    text = _read(_root(pid), flags.get("config", "")) if flags.get("config") else None
    if text is None:
        return flags
    found = {key: pattern.search(text) for key, pattern in _SETTINGS.items()}
    return dict({key: one.group(1) for key, one in found.items() if one}, **flags)


def _told(process: Process) -> Dict[str, Any]:
    flags = {key: process.flags[key] for key in TOLD if key in process.flags}
    return {"name": process.name, "flags": flags}


def kubeconfigs(seen: List[Process]) -> List[Dict[str, Any]]:
    """Every kubeconfig found, with its servers and the addresses that their names have here."""
    found = {}  # type: Dict[str, str]
    for pattern in KUBECONFIGS:
        for path in sorted(glob.glob(pattern)):
            _note(found, path, _read("/", path))
    for process in seen:
        path = process.flags.get("kubeconfig", "")
        if path and path not in found:
            # One that only the container has cannot be mended on the node: its owner is named.
            own = _read("/", path) is not None
            label = path if own else "%s:%s" % (process.name, path)
            _note(found, label, _read(_root(process.pid), path))
    servers = {path: servers_of(text) for path, text in found.items()}
    known = resolve({host for urls in servers.values() for host in map(_host, urls)})
    return [
        {"path": path, "servers": [{"url": url, "addresses": known[_host(url)]} for url in urls]}
        for path, urls in servers.items()
        if urls
    ]


def _note(found: Dict[str, str], path: str, text: Optional[str]) -> None:
    if text is not None:
        found[path] = text


def servers_of(text: str) -> List[str]:
    """URLs of a kubeconfig's clusters, in YAML or JSON; without a user or a password."""
    urls = [re.sub(r"//[^/@]*@", "//", url) for url in _SERVER.findall(text)]
    return list(dict.fromkeys(urls))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def resolve(hosts: "set[str]") -> Dict[str, Optional[List[str]]]:
    """Addresses of each name as this node resolves it; None where that is not known in time."""
    known = {host: None for host in hosts}  # type: Dict[str, Optional[List[str]]]

    def ask(host: str) -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            known[host] = sorted({str(each[4][0]) for each in answers})
        except (OSError, UnicodeError):
            pass

    # Daemons: a name server that does not answer holds nobody up.
    workers = [threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts if host]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(RESOLVE_TIMEOUT)
    return dict(known)


def _etcd(seen: List[Process], timeout: float) -> Optional[Dict[str, Any]]:
    """What etcd says; None where there is no API server to learn from how it is asked."""
    running = [each for each in seen if each.name == "kube-apiserver"]
    for process in running:
        if process.flags.get("etcd-servers"):
            return ask_etcd(process.flags, _root(process.pid), timeout)
    for path in API_SERVER_FILES:
        text = _read("/", path)
        flags = flags_in(text) if text else {}
        if flags.get("etcd-servers"):
            return ask_etcd(flags, "/", timeout)
    return None


def flags_in(text: str) -> Dict[str, str]:
    """kube-apiserver's flags for etcd in the text of a manifest or a unit."""
    found = re.findall(r"--(%s)[= ][\"']?([^\s\"'\\]+)" % "|".join(ETCD_FLAGS), text)
    return dict(found)


def _root(pid: int) -> str:
    """Where a process sees its files: a container has a root of its own."""
    return "/proc/%d/root" % pid


def _read(root: str, path: str) -> Optional[str]:
    try:
        with open(os.path.join(root, path.lstrip("/")), "rb") as stream:
            return stream.read(LIMIT).decode("utf-8", "replace")
    except OSError:
        return None
