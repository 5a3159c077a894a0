"""A lab as a value: its machines, their addresses and places, and its file lab.json.

Addresses are from TEST-NET-2 (RFC 5737) and the IPv6 documentation prefix (RFC 3849): no real
network has them, and the bridge which carries them lives in a namespace of its own.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from kubeha.errors import LabError, UsageError
from kubeha.lab.machine import Machine

PREFIX = "198.51.100"
PREFIX6 = "2001:db8:"
VIP = f"{PREFIX}.10"
VIP6 = f"{PREFIX6}:10"
# The gateway has the address that gateways have; beside it is the operator.
GATEWAY_NUMBER, OPERATOR_NUMBER = 1, 2
GATEWAY = f"{PREFIX}.{GATEWAY_NUMBER}"
GATEWAY6 = f"{PREFIX6}:{GATEWAY_NUMBER}"
OPERATOR = f"{PREFIX}.{OPERATOR_NUMBER}"
OPERATOR6 = f"{PREFIX6}:{OPERATOR_NUMBER}"
FIRST_NODE, FIRST_CLIENT = 11, 101
MOST_NODES, MOST_CLIENTS = 80, 100
RELEASES = ("bookworm", "trixie")
BRIDGE = "br0"
CACHE_VARIABLE = "KUBEHA_CACHE"


def cache_directory() -> Path:
    """What labs keep outside the checkout: images, binaries, the machines' disks."""
    return Path(os.environ.get(CACHE_VARIABLE, "/var/cache/kubeha")).absolute()


@dataclass(frozen=True)
class Lab:
    """`directory` is ./.lab/NAME; `id` is random and part of every name that is given out."""

    name: str
    id: str
    directory: Path
    store: Path
    release: str
    control_plane: tuple[Machine, ...]
    clients: tuple[Machine, ...]

    @property
    def machines(self) -> tuple[Machine, ...]:
        return (*self.control_plane, *self.clients)

    @property
    def vip(self) -> str:
        return VIP

    @property
    def lan(self) -> str:
        """Name of the network namespace with the bridge, where the operator is, too."""
        return f"kubeha-{self.id}-lan"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def cluster_file(self) -> Path:
        return self.directory / "kubeha.yaml"

    @property
    def ssh_config(self) -> Path:
        return self.directory / "ssh_config"

    def machine(self, name: str) -> Machine:
        """The machine of that name; raises UsageError with the names there are."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        names = ", ".join(machine.name for machine in self.machines)
        raise UsageError(f"there is no machine '{name}'", hint=f"the machines are {names}")


def design(
    name: str,
    lab_id: str,
    directory: Path,
    *,
    store: Path,
    release: str,
    nodes: int,
    clients: int,
) -> Lab:
    """Names, addresses and places for so many machines; nothing is touched."""
    control_plane = (_machine(f"m{n}", FIRST_NODE - 1 + n, lab_id, store) for n in _upto(nodes))
    client_nodes = (_machine(f"c{n}", FIRST_CLIENT - 1 + n, lab_id, store) for n in _upto(clients))
    return Lab(
        name=name,
        id=lab_id,
        directory=directory,
        store=store,
        release=release,
        control_plane=tuple(control_plane),
        clients=tuple(client_nodes),
    )


def _upto(count: int) -> range:
    return range(1, count + 1)


def _machine(name: str, number: int, lab_id: str, store: Path) -> Machine:
    return Machine(
        name=name,
        address=f"{PREFIX}.{number}",
        address6=f"{PREFIX6}:{number}",
        lab_id=lab_id,
        store=store / name,
    )


def save(lab: Lab) -> None:
    """Write what `load` needs."""
    data = {
        "version": 1,
        "name": lab.name,
        "id": lab.id,
        "store": str(lab.store),
        "release": lab.release,
        "nodes": len(lab.control_plane),
        "clients": len(lab.clients),
    }
    (lab.directory / "lab.json").write_text(json.dumps(data, indent=2) + "\n")


def load(directory: Path) -> Lab:
    """The lab whose files are in `directory`; raises LabError when there is none."""
    try:
        data = json.loads((directory / "lab.json").read_text())
        return design(
            data["name"],
            data["id"],
            directory,
            store=Path(data["store"]),
            release=data["release"],
            nodes=data["nodes"],
            clients=data["clients"],
        )
    except (FileNotFoundError, NotADirectoryError):
        raise LabError(
            f"there is no lab in {directory}",
            hint="kubeha lab up, or go to the directory where it was started",
        ) from None
    except (ValueError, KeyError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise LabError(
            f"{directory}/lab.json is damaged: {what}",
            hint=f"kubeha lab down --name {directory.name}",
        ) from error
