"""The two scripts that stay on a node, run for real against real sockets and files."""

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeha.templates import fill

INFO = b"Name: HAProxy\nPid: 42\n"
# As HAProxy 2.6 prints it, with fewer columns.
HEAD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_fqdn srv_port srvrecord\n"
M1 = "3 kube-apiserver 1 m1 198.51.100.11 2 - 6443 -\n"
M2 = "3 kube-apiserver 2 m2 198.51.100.12 0 - 6443 -\n"
V6 = "3 kube-apiserver 3 m3 2001:db8::13 2 - 6443 -\n"
STATE = HEAD + M1 + M2 + V6
CONFIG = """backend kube-apiserver
    # server m1 198.51.100.11:7443
    server m1 198.51.100.11:6443 check
    server m2 198.51.100.12:6443 check
    server m3 [2001:db8::13]:6443 check
    server
"""
OLDER = HEAD + "3 kube-apiserver 1 m1 198.51.100.99 2 - 6443 -\n"


class Node:
    """A directory with what the scripts expect of a node, where nobody may look as well."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "admin.sock"
        self.state = directory / "servers"
        self.config = directory / "haproxy.cfg"
        self.config.write_text(CONFIG)
        self.gone = directory / "haproxy"
        self.holder = directory / "holder"
        self.fresh = directory / "fresh"
        self.admin = self._script(
            directory / "haproxy-admin",
            fill(
                "haproxy-admin.py.j2",
                admin_socket=str(self.socket),
                state_file=str(self.state),
                config_file=str(self.config),
                haproxy_file=str(self.gone),
                user="nobody",
            ),
        )
        self.notify = self._script(
            directory / "notify",
            fill("holder.sh.j2", holder_file=str(self.holder), fresh_file=str(self.fresh)),
        )

    @staticmethod
    def _script(path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, script: Path, argument: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([script, argument], capture_output=True, text=True, timeout=20)

    def alive(self) -> int:
        done = self.run(self.admin, "alive")
        assert (done.stdout, done.stderr) == ("", "")
        return done.returncode


@pytest.fixture
def node() -> Iterator[Node]:
    directory = Path(tempfile.mkdtemp(prefix="kubeha-"))
    directory.chmod(0o755)
    yield Node(directory)
    shutil.rmtree(directory)


@pytest.fixture
def listener(node) -> Iterator[socket.socket]:
    """The admin socket, on which nobody answers yet."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(node.socket))
        node.socket.chmod(0o666)
        listening.listen(1)
        yield listening


@pytest.fixture
def haproxy(listener) -> Iterator[list[bytes]]:
    """A HAProxy's admin socket; the list says which commands were asked for."""
    asked: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(100))
            connection.sendall(STATE.encode() if b"state" in asked[-1] else INFO)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield asked
    thread.join(timeout=5)


def test_a_haproxy_that_answers_is_alive(node, haproxy):
    assert node.alive() == 0
    assert haproxy == [b"show info\n"]


def test_a_haproxy_that_does_not_answer_hangs(node, listener):
    assert node.alive() == 1


def test_a_full_queue_of_connections_is_a_hang_too(node, listener):
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(str(node.socket))
    assert node.alive() == 1
    for each in waiting:
        each.close()


def test_a_socket_that_is_not_there_is_no_reason_to_give_the_vip_up(node):
    assert node.alive() == 0


def test_a_haproxy_that_is_gone_for_its_unit_is_gone(node):
    node.gone.write_text("1\n")
    assert node.alive() == 1
    node.gone.write_text("0\n")
    assert node.alive() == 0


def test_the_servers_state_is_saved_for_the_reload(node, haproxy):
    done = node.run(node.admin, "save")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert haproxy == [b"show servers state\n"]
    assert node.state.read_text() == STATE
    assert node.state.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize(
    "old, new, kept",
    [
        ("m1 198.51.100.11:6443 check", "m1 198.51.100.11:7443 check", M2 + V6),
        ("m1 198.51.100.11:6443 check", "m1 198.51.100.11:64430 check", M2 + V6),
        ("m1 198.51.100.11", "m1 198.51.100.21", M2 + V6),
        ("server m2", "server m9", M1 + V6),
        ("[2001:db8::13]:6443", "[2001:db8::13]:7443", M1 + M2),
        ("[2001:db8::13]", "[2001:db8::14]", M1 + M2),
        ("server m", "balance m", ""),
    ],
    ids=["port", "longer port", "address", "name", "IPv6 port", "IPv6 address", "no server"],
)
def test_a_server_that_the_new_configuration_moves_is_not_saved(node, haproxy, old, new, kept):
    """HAProxy would keep its port: https://github.com/haproxy/haproxy/issues/1412."""
    node.config.write_text(CONFIG.replace(old, new))
    assert node.run(node.admin, "save").returncode == 0
    assert node.state.read_text() == HEAD + kept


def test_a_configuration_that_cannot_be_read_leaves_no_state(node, haproxy):
    node.config.unlink()
    node.state.write_text(OLDER)
    done = node.run(node.admin, "save")
    assert done.returncode == 1
    assert str(node.config) in done.stderr
    assert node.state.read_text() == "1\n"


def test_an_answer_that_is_no_state_is_not_saved(node, listener):
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"Permission denied.\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    node.state.write_text(OLDER)
    done = node.run(node.admin, "save")
    thread.join(timeout=5)
    assert done.returncode == 1
    assert done.stderr == "haproxy-admin: not a server state: 'Permission denied.\\n'\n"
    assert node.state.read_text() == "1\n"


def test_a_haproxy_that_does_not_answer_leaves_no_state(node, listener):
    node.state.write_text(OLDER)
    done = node.run(node.admin, "save")
    assert (done.returncode, done.stderr) == (1, f"haproxy-admin: {node.socket}: timed out\n")
    assert node.state.read_text() == "1\n"


def test_a_socket_that_is_not_there_leaves_no_state_and_one_line_in_the_journal(node):
    node.state.write_text(OLDER)
    done = node.run(node.admin, "save")
    words = f"haproxy-admin: {node.socket}: [Errno 2] No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, words)
    assert node.state.read_text() == "1\n"


def test_the_holder_says_so(node):
    for value in ("1", "0"):
        assert node.run(node.notify, value).returncode == 0
        assert node.holder.read_text() == node.fresh.read_text() == f"{value}\n"
