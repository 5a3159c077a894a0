"""What is measured: kubeha at several intervals, and what people use today.

The others' files are in `files/NAME`, as they lie on a node; `$name` stands for what differs from
node to node. Nothing of them is tuned, and nothing is taken from them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Protocol

from bench.failover.machines import NODES, PORT, Bench, NotWell, install, kubeha, must
from kubeha.lab.machine import Machine

FILES = Path(__file__).with_name("files")
ROLES = {"m1": "MASTER", "m2": "BACKUP", "m3": "BACKUP"}

# Every lab has one of its own (and a name), and a run goes on in another lab.
_ANY_CA = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"

# What a configuration may have left, besides its packages.
_CLEAN = r"""
for unit in keepalived haproxy l4lb $(systemctl list-units --all --plain --no-legend 'kubeha*' |
        cut -d' ' -f1); do
    systemctl disable --now --quiet "$unit" 2>/dev/null
done
systemctl reset-failed
apt-get purge -q -y keepalived haproxy nginx nginx-common libnginx-mod-stream
nft list tables | grep kubeha | while read -r _ family table; do
    nft delete table "$family" "$table"
done
rm -rf /etc/keepalived /etc/haproxy /etc/l4lb /etc/kubeha /run/kubeha /var/lib/kubeha \
    /etc/tmpfiles.d/kubeha.conf /etc/sysctl.d/*kubeha* /etc/systemd/system/*kubeha* \
    /etc/systemd/system/keepalived.service* /etc/systemd/system/haproxy.service* \
    /etc/systemd/system/l4lb.service
systemctl daemon-reload
for interface in eth0 lo; do
    ip address flush dev $interface to "$0"
done
true
"""


class Configuration(Protocol):
    """One line of the comparison."""

    @property
    def name(self) -> str:
        """In the file of results."""

    @property
    def title(self) -> str:
        """In tables."""

    @property
    def settle(self) -> float:
        """Seconds for which nothing may move before a trial, by its own timers."""

    def digest(self, bench: Bench) -> str:
        """Changes with whatever is deployed."""

    def deploy(self, bench: Bench) -> None:
        """On clean nodes, as its users do."""

    def leave(self, bench: Bench, holder: str) -> None:
        """The planned move of the VIP away from its holder, as its users do it."""

    def come_back(self, bench: Bench, holder: str) -> None:
        """After a planned move: the former holder takes part again."""


def clean(bench: Bench) -> None:
    """Take every configuration away, whichever there is."""
    bench.on_each(NODES, lambda node: node.execute(["sh", "-c", _CLEAN, bench.vip], timeout=600))


@dataclass(frozen=True)
class HandMade:
    """Files that people write or copy; the planned move is `systemctl stop keepalived`."""

    name: str
    title: str
    settle: float
    proxy: str
    packages: tuple[str, ...]
    priorities: Mapping[str, int]

    def digest(self, bench: Bench) -> str:
        texts = [f"{path}\n{text}" for node in NODES for path, text in self.files(bench, node)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]

    def files(self, bench: Bench, node: str, *, port: int = PORT) -> list[tuple[str, str]]:
        """Path and text of every file on a node."""
        top = FILES / self.name
        values = {**self._values(bench, node), "port": str(port)}
        return [
            (f"/{path.relative_to(top)}", Template(path.read_text()).substitute(values))
            for path in sorted(top.rglob("*"))
            if path.is_file()
        ]

    def _values(self, bench: Bench, node: str) -> dict[str, str]:
        addresses = {name: bench.machine(name).address for name in NODES}
        peer1, peer2 = (addresses[name] for name in NODES if name != node)
        own = {"address": addresses[node], "peer1": peer1, "peer2": peer2}
        role = {"state": ROLES[node], "priority": str(self.priorities[node])}
        return {**addresses, **own, **role, "vip": bench.vip}

    def deploy(self, bench: Bench) -> None:
        bench.on_each(NODES, self._prepare, bench)
        for unit in (self.proxy, "keepalived"):
            start = ["systemctl", "enable", "--now", unit]
            bench.on_each(NODES, lambda node, start=start: node.execute(start))

    def _prepare(self, node: Machine, bench: Bench) -> None:
        node.execute(["systemctl", "mask", "keepalived", "haproxy", "nginx"])
        install(node, self.packages)
        node.execute(["systemctl", "unmask", "keepalived", "haproxy", "nginx"])
        node.execute(["systemctl", "disable", "--now", "nginx"], check=False)
        node.execute(["mkdir", "-p", "/etc/l4lb/conf", "/etc/l4lb/logs", "/etc/l4lb/sbin"])
        for path, text in self.files(bench, node.name):
            write(node, path, text)
        if "nginx" in self.packages:
            node.execute(["cp", "/usr/sbin/nginx", "/etc/l4lb/sbin/l4lb"])
        node.execute(["systemctl", "daemon-reload"])

    def leave(self, bench: Bench, holder: str) -> None:
        bench.machine(holder).execute(["systemctl", "stop", "keepalived"])

    def come_back(self, bench: Bench, holder: str) -> None:
        bench.machine(holder).execute(["systemctl", "start", "keepalived"])


@dataclass(frozen=True)
class Kubeha:
    """kubeha with this advertisement interval; the planned move is `kubeha handover`."""

    name: str
    title: str
    settle: float
    advert_interval: str

    def digest(self, bench: Bench) -> str:
        with TemporaryDirectory() as directory:
            ca, rendered = Path(directory, "ca.crt"), Path(directory, "rendered")
            ca.write_text(_ANY_CA)
            where = ("--ca", str(ca), "--output", str(rendered))
            self._must(bench, "render", "--interface", "eth0", *where)
            files = sorted(path for path in rendered.rglob("*") if path.is_file())
            texts = [f"{file.relative_to(rendered)}\n{file.read_text()}" for file in files]
            texts = [text.replace(bench.name, "bench") for text in texts]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]

    def deploy(self, bench: Bench) -> None:
        self._must(bench, "apply", "--yes", "--no-diff")

    def leave(self, bench: Bench, holder: str) -> None:
        others = NODES[NODES.index(holder) + 1 :] + NODES[: NODES.index(holder)]
        self._must(bench, "handover", "--to", others[0])

    def come_back(self, bench: Bench, holder: str) -> None:
        """It never went."""

    def _must(self, bench: Bench, *words: str) -> str:
        file = bench.directory / f"{self.name}.yaml"
        interval = f"vrrp: {{advert_interval: {self.advert_interval}}}\n"
        file.write_text(bench.lab.cluster_file.read_text() + interval)
        return must("-f", str(file), *words)


def write(machine: Machine, path: str, text: str) -> None:
    """Put a file there; a script can be executed."""
    machine.execute(["tee", path], input=text)
    machine.execute(["chmod", "755" if text.startswith("#!") else "644", path])


def can_move(configuration: Configuration) -> bool:
    """Whether there is a planned move to be measured: kubeha's is a verb of its own."""
    return isinstance(configuration, HandMade) or kubeha("handover", "--help").returncode == 0


CONFIGURATIONS: dict[str, Configuration] = {
    each.name: each
    for each in (
        # Two checks of 10 s each bring a server back; then nothing moves any more.
        HandMade(
            "article",
            "copied from articles",
            settle=22.0,
            proxy="haproxy",
            packages=("keepalived", "haproxy", "psmisc"),
            priorities={"m1": 100, "m2": 99, "m3": 98},
        ),
        # kubeasz draws the backups' priorities between 61 and 119.
        HandMade(
            "kubeasz",
            "kubeasz",
            settle=12.0,
            proxy="l4lb",
            packages=("keepalived", "nginx", "libnginx-mod-stream"),
            priorities={"m1": 120, "m2": 98, "m3": 79},
        ),
        HandMade(
            "kubeadm",
            "kubeadm's page",
            settle=12.0,
            proxy="haproxy",
            packages=("keepalived", "haproxy", "curl"),
            priorities={"m1": 101, "m2": 100, "m3": 100},
        ),
        Kubeha("kubeha-1s", "kubeha, 1 s", settle=10.0, advert_interval="1s"),
        Kubeha("kubeha-100ms", "kubeha, 100 ms", settle=5.0, advert_interval="100ms"),
        Kubeha("kubeha-50ms", "kubeha, 50 ms", settle=5.0, advert_interval="50ms"),
    )
}


def chosen(names: Sequence[str]) -> list[Configuration]:
    """The configurations of these names, or all; raises NotWell for an unknown name."""
    if unknown := set(names) - set(CONFIGURATIONS):
        raise NotWell(f"no configuration {', '.join(unknown)}: {', '.join(CONFIGURATIONS)}")
    return [each for name, each in CONFIGURATIONS.items() if not names or name in names]
