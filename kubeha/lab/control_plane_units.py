"""systemd units for etcd and the Kubernetes servers of one control plane machine: pure text.

The flags are those of kubeadm's static pods. Each API server uses the etcd of its own machine
alone, as kubeadm's do: one that listed all members answered 500 for 11 s after a machine vanished.
Verbosity is the servers' default; nothing else is tuned.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kubeha.lab.pki import CLUSTER_NAME, SERVICE_ADDRESS, host_port

API_PORT = 6443
ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380
ETCD_DATA = "/var/lib/etcd"
ETCD, API_SERVER = "etcd.service", "kube-apiserver.service"
CONTROLLERS = ("kube-controller-manager.service", "kube-scheduler.service")
UNITS = (ETCD, API_SERVER, *CONTROLLERS)
PROGRAMS_IN_MACHINE = "/usr/local/bin"

_PKI = "/etc/kubernetes/pki"
_KUBERNETES = "/etc/kubernetes"
_ETCD_TLS = {
    "client-cert-auth": "true",
    "cert-file": f"{_PKI}/etcd/server.crt",
    "key-file": f"{_PKI}/etcd/server.key",
    "trusted-ca-file": f"{_PKI}/etcd/ca.crt",
    "peer-client-cert-auth": "true",
    "peer-cert-file": f"{_PKI}/etcd/peer.crt",
    "peer-key-file": f"{_PKI}/etcd/peer.key",
    "peer-trusted-ca-file": f"{_PKI}/etcd/ca.crt",
}
_API_SERVER_KEYS = {
    "client-ca-file": f"{_PKI}/ca.crt",
    "etcd-cafile": f"{_PKI}/etcd/ca.crt",
    "etcd-certfile": f"{_PKI}/apiserver-etcd-client.crt",
    "etcd-keyfile": f"{_PKI}/apiserver-etcd-client.key",
    "kubelet-client-certificate": f"{_PKI}/apiserver-kubelet-client.crt",
    "kubelet-client-key": f"{_PKI}/apiserver-kubelet-client.key",
    "service-account-key-file": f"{_PKI}/sa.pub",
    "service-account-signing-key-file": f"{_PKI}/sa.key",
    "tls-cert-file": f"{_PKI}/apiserver.crt",
    "tls-private-key-file": f"{_PKI}/apiserver.key",
}
# Requests which another API server passes on (the API aggregation layer).
_AGGREGATION = {
    "proxy-client-cert-file": f"{_PKI}/front-proxy-client.crt",
    "proxy-client-key-file": f"{_PKI}/front-proxy-client.key",
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-client-ca-file": f"{_PKI}/front-proxy-ca.crt",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-username-headers": "X-Remote-User",
}
# --port, the servers' unencrypted port, has to be closed up to here and is unknown afterwards.
_LAST_MINOR_WITH_PORT = 22


@dataclass(frozen=True)
class Member:
    """A member of the etcd cluster; `name` is the machine's."""

    name: str
    address: str

    @property
    def peer_url(self) -> str:
        return f"https://{host_port(self.address, ETCD_PEER_PORT)}"

    @property
    def client_url(self) -> str:
        return f"https://{host_port(self.address, ETCD_CLIENT_PORT)}"


def etcd_unit(me: Member, members: tuple[Member, ...]) -> str:
    """etcd of one machine. `members` are all of the cluster with `me`, only `me` if it is first.

    The `initial` flags count only while the data directory is empty: afterwards, etcd knows.
    """
    state = "new" if members == (me,) else "existing"
    flags = {
        "name": me.name,
        "data-dir": ETCD_DATA,
        "listen-client-urls": f"https://127.0.0.1:{ETCD_CLIENT_PORT},{me.client_url}",
        "advertise-client-urls": me.client_url,
        "listen-peer-urls": me.peer_url,
        "initial-advertise-peer-urls": me.peer_url,
        "initial-cluster": ",".join(f"{member.name}={member.peer_url}" for member in members),
        "initial-cluster-state": state,
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "snapshot-count": "10000",
    }
    command = flags | _ETCD_TLS
    return _unit("etcd", command, program="/usr/bin/etcd", after=("network-online.target",))


def api_server_unit(address: str, minor: int) -> str:
    """kube-apiserver of one machine, for Kubernetes 1.`minor`."""
    if minor < 20:
        raise ValueError(f"Kubernetes 1.{minor}: the flags are known from 1.20 on")
    flags = {
        "advertise-address": address,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "bind-address": "::" if ":" in address else "0.0.0.0",
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": "true",
        "etcd-servers": f"https://127.0.0.1:{ETCD_CLIENT_PORT}",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "secure-port": str(API_PORT),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-cluster-ip-range": f"{SERVICE_ADDRESS.rsplit('.', 2)[0]}.0.0/12",
    }
    command = flags | _API_SERVER_KEYS | _AGGREGATION
    return _unit("kube-apiserver", command, after=("network-online.target", ETCD))


def controller_manager_unit(minor: int) -> str:
    """kube-controller-manager, for Kubernetes 1.`minor`."""
    config = f"{_KUBERNETES}/controller-manager.conf"
    flags = {
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{_PKI}/ca.crt",
        "cluster-name": CLUSTER_NAME,
        "cluster-signing-cert-file": f"{_PKI}/ca.crt",
        "cluster-signing-key-file": f"{_PKI}/ca.key",
        "controllers": "*,bootstrapsigner,tokencleaner",
        "kubeconfig": config,
        "leader-elect": "true",
        "requestheader-client-ca-file": f"{_PKI}/front-proxy-ca.crt",
        "root-ca-file": f"{_PKI}/ca.crt",
        "service-account-private-key-file": f"{_PKI}/sa.key",
        "use-service-account-credentials": "true",
    }
    return _unit("kube-controller-manager", flags | _closed_port(minor), after=(API_SERVER,))


def scheduler_unit(minor: int) -> str:
    """kube-scheduler, for Kubernetes 1.`minor`."""
    config = f"{_KUBERNETES}/scheduler.conf"
    flags = {
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "kubeconfig": config,
        "leader-elect": "true",
    }
    return _unit("kube-scheduler", flags | _closed_port(minor), after=(API_SERVER,))


def kubernetes_units(address: str, minor: int) -> dict[str, str]:
    """Name and text of every Kubernetes unit of a machine."""
    manager, scheduler = CONTROLLERS
    return {
        API_SERVER: api_server_unit(address, minor),
        manager: controller_manager_unit(minor),
        scheduler: scheduler_unit(minor),
    }


def _closed_port(minor: int) -> dict[str, str]:
    return {"port": "0"} if minor <= _LAST_MINOR_WITH_PORT else {}


def _unit(name: str, flags: Mapping[str, str], *, after: tuple[str, ...], program: str = "") -> str:
    """A unit which is started at boot, for ever, and ended as the kubelet ends a static pod.

    Not Type=notify: etcd without a quorum is never ready, and would keep a machine which boots
    alone in the state 'starting'. What needs another server waits for it by itself or restarts.
    """
    command = [program or f"{PROGRAMS_IN_MACHINE}/{name}"]
    command += [f"--{key}={value}" for key, value in flags.items()]
    lines = " \\\n    ".join(command)
    return f"""\
# Written by kubeha's lab.
[Unit]
Description={name} of the lab's control plane
After={" ".join(after)}
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={lines}
Restart=always
RestartSec=1
TimeoutStopSec=30
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
