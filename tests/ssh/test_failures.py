"""Everything that can keep a node from being asked, and exactly what is said about it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Sshd, keygen

from kubeha.errors import HostError
from kubeha.host import Host, connect
from kubeha.remote import Command, FileWrite

MakeSshd = Callable[..., Sshd]
CHECKOUT = Path(__file__).parents[2]


def failure(sshd: Sshd, *, timeout: float = 10.0, **settings: object) -> tuple[str, str, str]:
    """What is said when the node is asked something: kind, message, hint."""
    cluster = sshd.cluster(**settings)

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0], timeout=timeout) as host:
            await host.collect({"true": Command(("true",))})

    with pytest.raises(HostError) as caught:
        asyncio.run(main())
    assert caught.value.node == "m1"
    return caught.value.kind, str(caught.value), caught.value.hint


def fingerprint(public: Path) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True)
    return said.stdout.split()[1]


# Connecting


def test_connection_refused(sshd: Sshd) -> None:
    assert failure(sshd, port=1) == (
        "refused",
        "m1: connection refused by 127.0.0.1 port 1",
        "see that sshd runs there and listens on this port",
    )


def test_no_answer_in_time(sshd: Sshd) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert failure(sshd, port=port, timeout=0.5) == (
            "timeout",
            f"m1: no answer from 127.0.0.1 port {port} within 0.5 s",
            "see that the machine is up and that no firewall is in between",
        )


def test_something_that_does_not_speak_ssh(sshd: Sshd) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        hanging_up = threading.Thread(target=lambda: other.accept()[0].close())
        hanging_up.start()
        kind, message, hint = failure(sshd, port=port)
        hanging_up.join()
    # Lost or reset: it depends on whether our greeting was under way.
    assert kind == "closed"
    assert message.startswith(f"m1: no SSH with root@127.0.0.1:{port}: Connection ")
    assert hint == "see whether this is the port of an SSH server, and its log"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (
            "198.51.100.11",
            "unreachable|m1: 198.51.100.11 is unreachable: Network is unreachable|"
            "see that the machine is up and that there is a route to it",
        ),
        (
            "no-such-host.invalid",
            "dns|m1: the name no-such-host.invalid cannot be resolved|"
            "correct HostName for m1 in the SSH configuration",
        ),
    ],
)
def test_from_a_machine_without_a_network(sshd: Sshd, host: str, expected: str) -> None:
    """In a network namespace of its own, where there is nothing at all."""
    sshd.configure(host=host)
    script = """
import sys
from test_failures import failure
from loopback import Sshd
from pathlib import Path
sshd = Sshd.__new__(Sshd)
sshd.config = Path(sys.argv[1])
print("|".join(failure(sshd)))
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script, sshd.config],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        cwd=CHECKOUT,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_a_proxy_command_that_fails(sshd: Sshd, tmp_path: Path) -> None:
    stand_in(tmp_path / "proxy", 'echo "$1: No route to host" >&2; exit 1')
    sshd.configure(f"ProxyCommand {tmp_path}/proxy %h:%p")
    where = f"127.0.0.1:{sshd.port}"
    assert failure(sshd) == (
        "closed",
        f"m1: no SSH with root@{where}: {where}: No route to host",
        "see that the machine is up, and whether the ProxyCommand works by itself",
    )


# Host keys and keys


def test_host_key_unknown(sshd: Sshd) -> None:
    sshd.configure(known_hosts="")
    shown = fingerprint(sshd.directory / "host_key.pub")
    known = sshd.directory / "known_hosts"
    assert failure(sshd) == (
        "host-key-unknown",
        f"m1: the host key of [127.0.0.1]:{sshd.port} is not known ({shown})",
        "compare it with the machine's own, then accept it: "
        f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {known}",
    )


def test_the_command_that_accepts_a_host_key_does_it(sshd: Sshd) -> None:
    sshd.configure(known_hosts="")
    hint = failure(sshd)[2]
    command = hint.partition("accept it: ")[2]
    subprocess.run(["sh", "-c", command], check=True, stderr=subprocess.PIPE)
    cluster = sshd.cluster()

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0]):
            pass

    asyncio.run(main())


def test_host_key_unknown_behind_a_proxy(sshd: Sshd) -> None:
    relay = f"{sys.executable} {Path(__file__).with_name('netcat.py')} %h %p"
    sshd.configure(f"ProxyCommand {relay}", known_hosts="")
    assert failure(sshd)[2] == (
        "compare it with the machine's own, then accept it: "
        f"ssh -F {sshd.config} -o StrictHostKeyChecking=ask -l root m1 true"
    )


def test_host_key_checks_cannot_be_switched_off(sshd: Sshd) -> None:
    sshd.configure("StrictHostKeyChecking no", known_hosts="")
    assert failure(sshd)[0] == "host-key-unknown"
    text = sshd.config.read_text()
    for nothing in ("none", "/dev/null"):
        sshd.config.write_text(f"UserKnownHostsFile {nothing}\n{text}")
        assert failure(sshd)[0] == "host-key-unknown"


def test_host_key_changed(sshd: Sshd, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    other = (tmp_path / "other.pub").read_text()
    sshd.configure(known_hosts=f"[127.0.0.1]:{sshd.port} {other}")
    shown = fingerprint(sshd.directory / "host_key.pub")
    name = f"[127.0.0.1]:{sshd.port}"
    assert failure(sshd) == (
        "host-key-changed",
        f"m1: the host key of {name} has changed ({shown})",
        "somebody may be in between; if the machine was installed anew: "
        f"ssh-keygen -R '{name}' -f {sshd.directory}/known_hosts",
    )


def test_a_host_key_of_another_type_has_changed_too(sshd: Sshd, tmp_path: Path) -> None:
    rsa = ["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", tmp_path / "rsa"]
    subprocess.run(rsa, check=True)
    other = (tmp_path / "rsa.pub").read_text()
    sshd.configure(known_hosts=f"[127.0.0.1]:{sshd.port} {other}")
    kind, message, _ = failure(sshd)
    shown = fingerprint(sshd.directory / "host_key.pub")
    assert (kind, message) == (
        "host-key-changed",
        f"m1: the host key of [127.0.0.1]:{sshd.port} has changed ({shown})",
    )


def test_host_key_revoked(sshd: Sshd) -> None:
    key = (sshd.directory / "host_key.pub").read_text()
    name = f"[127.0.0.1]:{sshd.port}"
    sshd.configure(known_hosts=f"@revoked {name} {key}{name} {key}")
    assert failure(sshd)[:2] == ("host-key-revoked", f"m1: the host key of {name} is revoked")


def test_permission_denied(sshd: Sshd, tmp_path: Path) -> None:
    keygen(tmp_path / "stranger")
    text = sshd.config.read_text().replace(
        str(sshd.directory / "id_ed25519"), f"{tmp_path}/stranger"
    )
    sshd.config.write_text(text)
    assert failure(sshd) == (
        "permission-denied",
        f"m1: permission denied for root@127.0.0.1:{sshd.port}: no key was accepted",
        "add your public key to ~/.ssh/authorized_keys of root there, "
        "or name the right key with IdentityFile in the SSH configuration",
    )


# Configuration


def test_a_configuration_that_is_not_there(sshd: Sshd, tmp_path: Path) -> None:
    assert failure(sshd, config=str(tmp_path / "none")) == (
        "ssh-config",
        f"m1: SSH cannot be set up: {tmp_path}/none: no such file",
        "correct ssh.config in the cluster file",
    )


def test_a_configuration_that_cannot_be_read(sshd: Sshd) -> None:
    sshd.config.write_text("Port twenty-two\n")
    kind, message, hint = failure(sshd)
    assert kind == "ssh-config" and "Invalid Port integer value: twenty-two" in message
    assert hint == f"see {sshd.config}"


def test_a_key_file_that_is_not_there(sshd: Sshd, tmp_path: Path) -> None:
    sshd.config.write_text(f"IdentityFile {tmp_path}/none\n" + sshd.config.read_text())
    kind, message, hint = failure(sshd)
    assert kind == "ssh-config" and f"{tmp_path}/none" in message
    assert hint == f"see {sshd.config}"


# Starting the program


def with_path(make_sshd: MakeSshd, directory: Path) -> Sshd:
    """An sshd whose sessions find programs only there, whatever the user's ~/.bashrc says."""
    login = directory.parent / "login"
    stand_in(login, f'PATH={directory}\neval "$SSH_ORIGINAL_COMMAND"')
    return make_sshd(f"ForceCommand {login}")


def stand_in(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_no_python3(make_sshd: MakeSshd, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    assert failure(with_path(make_sshd, tmp_path / "bin")) == (
        "no-python",
        "m1: there is no python3",
        "install the package python3 there",
    )


def test_too_old_a_python3(make_sshd: MakeSshd, tmp_path: Path) -> None:
    """No 3.5 is left to try: a stand-in says what it would say, then chokes on the program."""
    stand_in(tmp_path / "bin" / "python3", "echo; echo kubeha-node 3 5; exit 1")
    assert failure(with_path(make_sshd, tmp_path / "bin")) == (
        "old-python",
        "m1: python3 is 3.5, kubeha needs 3.6 or later",
        "install a newer python3 there",
    )


def test_half_a_python3(make_sshd: MakeSshd, tmp_path: Path) -> None:
    """What python3-minimal of Debian is: without json."""
    without = "import sys; sys.modules['json'] = None; exec(sys.argv[1])"
    real = os.path.realpath(sys.executable)
    stand_in(tmp_path / "bin" / "python3", f'exec {real} -I -c "{without}" "$4"')
    kind, message, hint = failure(with_path(make_sshd, tmp_path / "bin"))
    assert kind == "no-python" and message.startswith("m1: python3 is not complete: ")
    assert hint == "install the package python3 there (python3-minimal is not enough)"


def test_a_login_that_may_do_nothing(make_sshd: MakeSshd) -> None:
    sshd = make_sshd("ForceCommand echo This account is not available.; exit 1")
    kind, message, _ = failure(sshd)
    assert kind == "not-started"
    assert message == (
        "m1: the program on the node did not start (exit status 1): This account is not available."
    )


def test_a_chatty_login_is_talked_over(make_sshd: MakeSshd, tmp_path: Path) -> None:
    noise = """printf 'Welcome!\\n{"result": 1}\\nno newline'; eval "$SSH_ORIGINAL_COMMAND\""""
    stand_in(tmp_path / "login", noise)
    sshd = make_sshd(f"ForceCommand {tmp_path}/login")
    cluster = sshd.cluster()

    async def main() -> str:
        async with connect(cluster, cluster.control_plane[0]) as host:
            return (await host.run(["echo", "quiet"], timeout=5)).stdout

    assert asyncio.run(main()) == "quiet\n"


def test_output_that_is_not_an_answer(make_sshd: MakeSshd, tmp_path: Path) -> None:
    stand_in(tmp_path / "login", """eval "$SSH_ORIGINAL_COMMAND" | sed 's/^{/oops/'""")
    kind, message, _ = failure(make_sshd(f"ForceCommand {tmp_path}/login"))
    assert kind == "bad-answer" and message.startswith('m1: not an answer: oops"result"')


# In the middle


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def on_host(sshd: Sshd, work: Callable[[Host], object]) -> None:
    cluster = sshd.cluster()

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0]) as host:
            await work(host)  # type: ignore[misc]

    asyncio.run(main())


def test_connection_lost_in_the_middle(make_sshd: MakeSshd) -> None:
    sshd = make_sshd()

    def cut(line: str) -> None:
        for child in children(sshd.process.pid):
            os.kill(child, signal.SIGKILL)

    with pytest.raises(HostError) as caught:
        argv = ["sh", "-c", "echo begun; sleep 3"]
        on_host(sshd, lambda host: host.run(argv, timeout=20, on_line=cut))
    assert caught.value.kind == "lost"
    assert str(caught.value) == "m1: the connection was lost in the middle"


def test_the_program_killed_in_the_middle(sshd: Sshd) -> None:
    with pytest.raises(HostError) as caught:
        on_host(sshd, lambda host: host.run(["sh", "-c", "kill -9 $PPID"], timeout=20))
    assert (caught.value.kind, str(caught.value)) == (
        "died",
        "m1: the program on the node ended early (killed by SIGKILL): no output",
    )


def running(marker: Path) -> bool:
    return Path(f"/proc/{marker.read_text().strip()}").exists()


@pytest.mark.parametrize("finish", [False, True])
def test_what_becomes_of_a_program_when_the_operator_goes(
    sshd: Sshd, tmp_path: Path, finish: bool
) -> None:
    pid, done = tmp_path / "pid", tmp_path / "done"
    script = f"echo $$ > {pid}; echo begun; sleep 2; echo still here; touch {done}"

    async def leave(host: Host) -> None:
        begun = asyncio.Event()
        work = host.run(
            ["sh", "-c", script], timeout=20, finish=finish, on_line=lambda _: begun.set()
        )
        task = asyncio.ensure_future(work)
        await begun.wait()
        task.cancel()

    on_host(sshd, leave)
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists() == finish


# Files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    assert shutil.which("mount")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], check=True)
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def write(sshd: Sshd, *files: FileWrite) -> HostError:
    with pytest.raises(HostError) as caught:
        on_host(sshd, lambda host: host.write(files))
    return caught.value


def test_full_disk_changes_nothing(sshd: Sshd, small_disk: Path) -> None:
    (small_disk / "first").write_text("old")
    big = FileWrite(f"{small_disk}/second", "x" * 100_000)
    error = write(sshd, FileWrite(f"{small_disk}/first", "new"), big)
    assert (error.kind, str(error), error.hint) == (
        "disk-full",
        f"m1: {small_disk}/second: No space left on device",
        "make room there, then try again",
    )
    assert os.listdir(small_disk) == ["first"]
    assert (small_disk / "first").read_text() == "old"


def test_read_only_file_system(sshd: Sshd, small_disk: Path) -> None:
    (small_disk / "etc").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for path in ("etc/file", "etc/new/file"):
        error = write(sshd, FileWrite(f"{small_disk}/{path}", "x"))
        assert (error.kind, error.hint) == (
            "read-only",
            "the file system is mounted read-only: see the node's log, then remount it",
        )
        assert str(error).startswith(f"m1: {small_disk}/etc/")
        assert str(error).endswith(": Read-only file system")
