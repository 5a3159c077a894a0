"""A real sshd on loopback: own port, own keys, own configuration; ended by its pid."""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from kubeha.model import Cluster, Endpoint, Node, Ssh

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin:/bin")


@dataclass
class Sshd:
    """A running sshd and the files that a client of it needs."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.directory / "ssh_config"
        self.configure()

    def configure(
        self, *lines: str, known_hosts: str | None = None, host: str = "127.0.0.1"
    ) -> None:
        """(Re)write the client's configuration; `known_hosts` overrides the right host key."""
        known = self.directory / "known_hosts"
        key = (self.directory / "host_key.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {key}" if known_hosts is None else known_hosts)
        self.config.write_text(
            f"Host m1\n  HostName {host}\n"
            "Host *\n"
            f"  Port {self.port}\n"
            f"  IdentityFile {self.directory}/id_ed25519\n"
            "  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {known}\n"
            "  GlobalKnownHostsFile /dev/null\n" + "".join(f"  {line}\n" for line in lines)
        )

    def cluster(self, **settings: object) -> Cluster:
        """A cluster with one reachable node, m1."""
        node = Node.model_validate({"name": "m1", "address": "198.51.100.11"})
        ssh = Ssh.model_validate({"config": str(self.config), **settings})
        endpoint = Endpoint.model_validate({"vip": "198.51.100.10"})
        return Cluster(cluster="test", endpoint=endpoint, control_plane=(node,), ssh=ssh)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def start_sshd(directory: Path, *lines: str) -> Sshd:
    """Start an sshd that lets this user in with a key of the directory."""
    assert SSHD is not None, "no sshd: run make setup-system-test"
    directory.chmod(0o700)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "id_ed25519"):
        if not (directory / name).exists():
            keygen(directory / name)
    shutil.copy(directory / "id_ed25519.pub", directory / "authorized_keys")
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nPidFile {directory}/pid\n"
        + "".join(f"{line}\n" for line in lines)
    )
    with open(directory / "sshd.log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log)
    _wait_for(port, process, directory / "sshd.log")
    return Sshd(directory, port, process)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd did not come up: {log.read_text()}")


def end_sshd(sshd: Sshd) -> None:
    sshd.process.terminate()
    sshd.process.wait(10)
