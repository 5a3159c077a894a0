"""How one gets into the machines: keys, known hosts, an ssh_config, and the cluster file.

Host keys are made here and not at the machines' first boot, so that they are known and verified
from the first connection on, as everywhere else.
"""

import os
import shlex
import sys
import uuid
from pathlib import Path

from kubeha.lab import proxy
from kubeha.lab.lab import OPERATOR, VIP, Lab
from kubeha.lab.machine import Machine
from kubeha.lab.network import NETNS
from kubeha.lab.process import run

_SSH_CONFIG = """\
# Written by kubeha lab: ssh -F {path} m1
# The machines are reached through the lab's own network namespace, so this needs root.
Host *
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ProxyCommand {proxy}
"""


def write_client_files(lab: Lab) -> None:
    """Key, ssh_config and cluster file in the lab's directory."""
    _new_key(_client_key(lab), f"kubeha-{lab.name}")
    (lab.directory / "known_hosts").write_text("")
    lab.ssh_config.write_text(ssh_config(lab))
    lab.cluster_file.write_text(cluster_file(lab))


def give_identity(lab: Lab, machine: Machine) -> None:
    """Make a machine's files its own: name, ids, host key, who may log in."""
    root = machine.root
    (root / "etc/hostname").write_text(f"{machine.name}\n")
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (root / "etc/hosts").write_text(hosts_file(lab))
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    _new_key(host_key, machine.name)
    public = host_key.with_suffix(".pub").read_text()
    with (lab.directory / "known_hosts").open("a") as known:
        known.write(f"{machine.name},{machine.address},{machine.address6} {public}")
    ours = _client_key(lab).with_suffix(".pub").read_text()
    for home in ("root", "home/ops"):
        _authorize(root / home, ours)


def ssh_config(lab: Lab) -> str:
    """Names and addresses of the machines, for ssh(1) and asyncssh alike."""
    through = ["nsenter", f"--net={NETNS / lab.lan}"]
    command = [*through, sys.executable, "-I", "-S", proxy.__file__]
    config = _SSH_CONFIG.format(
        path=lab.ssh_config.resolve(),
        key=_quoted(_client_key(lab).resolve()),
        known_hosts=_quoted((lab.directory / "known_hosts").resolve()),
        proxy=f"{shlex.join(command)} %h %p",
    )
    for machine in lab.machines:
        config += f"Host {machine.name}\n    HostName {machine.address}\n"
    return config


def _quoted(path: Path) -> str:
    """As ssh_config(5) wants arguments which may contain spaces."""
    return f'"{path}"'


def hosts_file(lab: Lab) -> str:
    """/etc/hosts with every machine, for we have no name server."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [f"{machine.address} {machine.name}" for machine in lab.machines]
    return "\n".join([*lines, f"{OPERATOR} operator"]) + "\n"


def cluster_file(lab: Lab) -> str:
    """The cluster file that describes this lab to kubeha."""
    lines = [
        f"# The lab '{lab.name}' on this box.",
        f"cluster: {lab.name}",
        f"endpoint: {{vip: {VIP}, port: 8443}}",
        "control_plane:",
        *_nodes(lab.control_plane),
    ]
    if lab.clients:
        lines += ["clients:", *_nodes(lab.clients)]
    return "\n".join([*lines, "ssh: {config: ssh_config}"]) + "\n"


def _nodes(machines: tuple[Machine, ...]) -> list[str]:
    return [f"  - {{name: {machine.name}, address: {machine.address}}}" for machine in machines]


def _client_key(lab: Lab) -> Path:
    return lab.directory / "id_ed25519"


def _new_key(path: Path, comment: str) -> None:
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def _authorize(home: Path, public: str) -> None:
    """Let the key's owner log in; sshd wants both places to be the user's own."""
    owner = home.stat()
    directory = home / ".ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    keys = directory / "authorized_keys"
    keys.write_text(public)
    keys.chmod(0o600)
    for path in (directory, keys):
        os.chown(path, owner.st_uid, owner.st_gid)
