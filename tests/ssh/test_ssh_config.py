"""What the SSH configuration says is done; what it cannot do is switch verification off."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback import Sshd
from test_failures import failure, stand_in

from kubeha import ssh
from kubeha.errors import HostError
from kubeha.host import connect
from kubeha.model import Cluster, Node, Ssh
from kubeha.remote import Command

# Standard input and output to a TCP port: what `nc` does, without needing it.
NETCAT = Path(__file__).with_name("netcat.py")


def answers(cluster: Cluster) -> bool:
    async def main() -> bool:
        async with connect(cluster, cluster.control_plane[0]) as host:
            return (await host.run(["true"], timeout=5)).ok

    return asyncio.run(main())


def test_a_block_for_the_address(sshd: Sshd) -> None:
    """Without a HostName for the node's name, the address is what counts."""
    text = sshd.config.read_text().replace("Host m1\n", "Host 198.51.100.11\n")
    sshd.config.write_text(text)
    assert answers(sshd.cluster())
    to = ssh.target(sshd.cluster(), sshd.cluster().control_plane[0])
    assert (to.name, to.host, to.port) == ("198.51.100.11", "127.0.0.1", sshd.port)


def test_without_any_block_the_address_is_connected_to(sshd: Sshd) -> None:
    sshd.config.write_text("Host m1\n  User somebody\n")
    to = ssh.target(sshd.cluster(), sshd.cluster().control_plane[0])
    assert (to.host, to.port, to.user) == ("198.51.100.11", 22, "root")


def test_the_nodes_own_settings_win(sshd: Sshd) -> None:
    sshd.configure("User third", "Port 3")
    node = Node(name="m1", address="198.51.100.11", ssh=Ssh(user="first", port=1))  # type: ignore[arg-type]
    cluster = sshd.cluster(user="second", port=2)
    assert (ssh.target(cluster, node).user, ssh.target(cluster, node).port) == ("first", 1)
    other = ssh.target(cluster, cluster.control_plane[0])
    assert (other.user, other.port) == ("second", 2)
    plain = ssh.target(sshd.cluster(), cluster.control_plane[0])
    assert (plain.user, plain.port) == ("third", sshd.port)


def test_the_users_own_configuration_is_the_default(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(sshd.config.read_text())
    cluster = sshd.cluster().model_copy(update={"ssh": Ssh()})
    assert answers(cluster)


def test_default_known_hosts_files_are_read(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    text = sshd.config.read_text()
    known = (sshd.directory / "known_hosts").read_text()
    lines = [line for line in text.splitlines(True) if "UserKnownHostsFile" not in line]
    sshd.config.write_text("".join(lines))
    assert failure(sshd)[0] == "host-key-unknown"
    (tmp_path / ".ssh" / "known_hosts2").write_text(known)
    assert answers(sshd.cluster())


def test_hashed_names_aliases_and_includes(sshd: Sshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", sshd.directory / "known_hosts"], check=True)
    (sshd.directory / "known_hosts.old").unlink()
    assert "127.0.0.1" not in (sshd.directory / "known_hosts").read_text()
    assert answers(sshd.cluster())
    key = (sshd.directory / "host_key.pub").read_text()
    sshd.configure("HostKeyAlias the-machine", known_hosts=f"[the-machine]:{sshd.port} {key}")
    outer = sshd.directory / "outer"
    outer.write_text(f"Include {sshd.config}\n")
    assert answers(sshd.cluster(config=str(outer)))


def test_a_proxy_command(sshd: Sshd) -> None:
    sshd.configure(f"ProxyCommand {sys.executable} {NETCAT} %h %p")
    assert answers(sshd.cluster())


def test_a_proxy_command_is_the_shells_and_may_talk(sshd: Sshd) -> None:
    """As with ssh: what it writes to standard error is not taken for data."""
    talk = f"sh -c 'echo Warning: a new host >&2; exec {sys.executable} {NETCAT} %h $((%p))'"
    sshd.configure(f"ProxyCommand {talk}")
    assert answers(sshd.cluster())
    sshd.configure("ProxyCommand none")
    assert answers(sshd.cluster())


def test_a_proxy_command_that_hangs_is_ended(sshd: Sshd, tmp_path: Path) -> None:
    stand_in(tmp_path / "proxy", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    sshd.configure(f"ProxyCommand {tmp_path}/proxy")
    begin = time.monotonic()
    kind, message, _ = failure(sshd, timeout=0.5)
    assert (kind, message) == (
        "timeout",
        f"m1: no answer from 127.0.0.1 port {sshd.port} within 0.5 s",
    )
    assert time.monotonic() - begin < 5
    time.sleep(0.2)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def jump_through(sshd: Sshd, known: Path) -> None:
    """Reach the node through the same sshd under another name."""
    sshd.configure("ProxyJump jump")
    text = sshd.config.read_text().replace("Host *\n", "Host m1\n")
    alias = f"Host jump\n  HostName localhost\n  User root\n  UserKnownHostsFile {known}\n"
    rest = f"  Port {sshd.port}\n  IdentityFile {sshd.directory}/id_ed25519\n  IdentitiesOnly yes\n"
    sshd.config.write_text(alias + rest + text)


def test_a_jump_host(sshd: Sshd, tmp_path: Path) -> None:
    key = (sshd.directory / "host_key.pub").read_text()
    (tmp_path / "known").write_text(f"[localhost]:{sshd.port} {key}")
    jump_through(sshd, tmp_path / "known")
    assert answers(sshd.cluster())


def test_a_jump_host_that_is_not_known(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    jump_through(sshd, tmp_path / "known")
    kind, message, hint = failure(sshd)
    assert kind == "jump-host"
    assert message.startswith("m1: no way through the jump host jump: Host key is not trusted")
    assert hint == f"see whether `ssh jump` works, and leads to 127.0.0.1 port {sshd.port}"


def test_many_requests_at_once_share_one_connection(sshd: Sshd) -> None:
    """More than sshd's MaxSessions of 10."""
    cluster = sshd.cluster()

    async def main() -> list[str]:
        async with connect(cluster, cluster.control_plane[0]) as host:
            asks = [host.collect({"it": Command(("echo", str(i)))}) for i in range(15)]
            return [seen.commands["it"].stdout for seen in await asyncio.gather(*asks)]

    assert asyncio.run(main()) == [f"{number}\n" for number in range(15)]


def test_a_connection_that_is_gone_says_so(sshd: Sshd) -> None:
    cluster = sshd.cluster()

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0]) as host:
            await host.run(["true"], timeout=5)
            parent = await host.run(["sh", "-c", "cut -d' ' -f4 /proc/$PPID/stat"], timeout=5)
            os.kill(int(parent.stdout), 9)
            await asyncio.sleep(0.2)
            await host.run(["true"], timeout=5)

    with pytest.raises(HostError, match="m1: the connection was lost in the middle"):
        asyncio.run(main())
