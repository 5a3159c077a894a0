"""Opening SSH connections, and saying what is wrong when one cannot be opened.

Rule for the SSH configuration: where it gives the node's name a HostName (`Host m1` with
`HostName 203.0.113.5`), the node is reached as `ssh m1` would reach it; otherwise as `ssh ADDRESS`
would, with the address of the cluster file. The configuration is the cluster file's `ssh.config`,
or ~/.ssh/config if there is one. Host keys are verified in every case: StrictHostKeyChecking and
`UserKnownHostsFile none` cannot switch that off.
"""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from kubeha.errors import HostError
from kubeha.model import Cluster, Node, Ssh
from kubeha.proxy_command import Proxy, running

# A silent peer is given up after about 15 s.
_KEEPALIVE_INTERVAL = 5
_KEEPALIVE_COUNT = 3
_CLOSING_TIME = 1.0
# Known types first, as ssh does, then the rest: a machine that shows a key of another type than the
# known one shall be told from a machine that does not answer.
_HOST_KEY_TYPES = "+ssh-ed25519,ecdsa-sha2-nistp*,rsa-sha2-512,rsa-sha2-256"
_USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


@dataclass(frozen=True)
class Target:
    """How a node is reached: what the cluster file and the SSH configuration make of it."""

    node: Node
    name: str  # What the SSH configuration is asked for.
    host: str  # What is connected to.
    port: int
    user: str
    config: tuple[str, ...]
    known_hosts: bytes
    known_as: str
    known_files: tuple[str, ...]
    host_key_types: str
    proxy: str | None
    jump: str | None

    @property
    def login(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


class _Client(asyncssh.SSHClient):
    """Remembers whether the node itself was reached, and its host key if that was not known."""

    reached = False
    offered: asyncssh.SSHKey | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.reached = True

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self.offered = key
        return False


def target(cluster: Cluster, node: Node) -> Target:
    """Work out how to reach a node; the node's own `ssh` settings win over the cluster's."""
    own = node.ssh or Ssh()
    paths = _config_paths(own.config or cluster.ssh.config, node.name)
    address = str(node.address)
    name = node.name if _options(node, paths, node.name).get("Hostname") else address
    config = _options(node, paths, name)
    host = str(config.get("Hostname", address))
    files = _known_hosts_files(config)
    return Target(
        node=node,
        name=name,
        host=host,
        port=own.port or cluster.ssh.port or _as_port(config.get("Port")),
        user=own.user or cluster.ssh.user or str(config.get("User", "root")),
        config=paths,
        known_hosts=b"\n".join(_content(file) for file in files) or b"\n",
        known_as=str(config.get("HostKeyAlias") or host),
        known_files=tuple(str(file) for file in files),
        host_key_types=str(config.get("HostKeyAlgorithms") or _HOST_KEY_TYPES),
        proxy=_unless_none(config.get("ProxyCommand")),
        jump=_unless_none(config.get("ProxyJump")),
    )


@asynccontextmanager
async def open_connection(
    to: Target, timeout: float
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to the node, closed at the end. Raises HostError; `timeout` in seconds."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(running(to.proxy)) if to.proxy else None
        client = _Client()
        try:
            async with asyncio.timeout(timeout):
                connection = await _connect(to, client, proxy, timeout)
        except (OSError, asyncssh.Error, ValueError) as error:
            words = await proxy.last_words() if proxy else ""
            raise explain(to, error, client, timeout, words) from error
        stack.push_async_callback(_close, connection)
        yield connection


async def _connect(
    to: Target, client: _Client, proxy: Proxy | None, timeout: float
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        to.name,
        to.port,
        sock=proxy.socket if proxy else None,
        username=to.user,
        config=list(to.config),
        known_hosts=to.known_hosts,
        server_host_key_algs=to.host_key_types,
        client_factory=lambda: client,
        password_auth=False,
        kbdint_auth=False,
        keepalive_interval=_KEEPALIVE_INTERVAL,
        keepalive_count_max=_KEEPALIVE_COUNT,
        login_timeout=timeout,
    )


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    """Say good-bye, but do not wait long for somebody who may not be there any more."""
    connection.close()
    try:
        async with asyncio.timeout(_CLOSING_TIME):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()


def explain(
    to: Target, error: Exception, client: _Client, timeout: float, words: str = ""
) -> HostError:
    """The HostError for a connection that could not be opened; `words` are the ProxyCommand's."""
    if to.jump and not client.reached:
        said = error.reason if isinstance(error, asyncssh.Error) else str(error)
        return _error(
            to, "jump-host", f"no way through the jump host {to.jump}: {said}",
            f"see whether `ssh {to.jump}` works, and leads to {to.host} port {to.port}",
        )  # fmt: skip
    if isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.KeyExchangeFailed):
        return _host_key(to, error, client.offered)
    if isinstance(error, asyncssh.PermissionDenied):
        return _error(
            to, "permission-denied", f"permission denied for {to.login}: no key was accepted",
            f"add your public key to ~/.ssh/authorized_keys of {to.user} there, "
            "or name the right key with IdentityFile in the SSH configuration",
        )  # fmt: skip
    if isinstance(error, asyncssh.Error | ConnectionResetError | BrokenPipeError):
        why = words or (error.strerror if isinstance(error, OSError) else error.reason)
        return _error(
            to, "closed", f"no SSH with {to.login}: {why or 'the connection was closed'}",
            "see that the machine is up, and whether the ProxyCommand works by itself" if to.proxy
            else "see whether this is the port of an SSH server, and its log",
        )  # fmt: skip
    if isinstance(error, OSError):
        return _network(to, error, timeout)
    return _error(to, "ssh-config", f"SSH cannot be set up: {error}", _config_hint(to))


def _network(to: Target, error: OSError, timeout: float) -> HostError:
    if isinstance(error, ConnectionRefusedError):
        return _error(
            to, "refused", f"connection refused by {to.host} port {to.port}",
            "see that sshd runs there and listens on this port",
        )  # fmt: skip
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return _error(
            to, "timeout", f"no answer from {to.host} port {to.port} within {timeout:g} s",
            "see that the machine is up and that no firewall is in between",
        )  # fmt: skip
    if isinstance(error, socket.gaierror):
        return _error(
            to, "dns", f"the name {to.host} cannot be resolved",
            f"correct HostName for {to.name} in the SSH configuration",
        )  # fmt: skip
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return _error(
            to, "unreachable", f"{to.host} is unreachable: {error.strerror}",
            "see that the machine is up and that there is a route to it",
        )  # fmt: skip
    words = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return _error(to, "ssh-config", f"SSH cannot be set up: {words}", _config_hint(to))


def _host_key(to: Target, error: Exception, offered: asyncssh.SSHKey | None) -> HostError:
    """Unknown and changed keys are different stories, and so is a revoked one."""
    port = to.port if to.port != 22 else None
    trusted, authorities, *_ = asyncssh.match_known_hosts(to.known_hosts, to.known_as, "", port)
    files = " or ".join(to.known_files or _USER_KNOWN_HOSTS[:1])
    shown = f" ({offered.get_fingerprint()})" if offered else ""
    name = to.known_as if port is None else f"[{to.known_as}]:{port}"
    if "revoked" in str(error):
        return _error(to, "host-key-revoked", f"the host key of {name} is revoked", f"see {files}")
    if trusted or authorities:
        return _error(
            to, "host-key-changed", f"the host key of {name} has changed{shown}",
            "somebody may be in between; if the machine was installed anew: "
            f"ssh-keygen -R '{name}' -f {files}",
        )  # fmt: skip
    return _error(
        to, "host-key-unknown", f"the host key of {name} is not known{shown}",
        f"compare it with the machine's own, then accept it: {_accepting(to)}",
    )  # fmt: skip


def _accepting(to: Target) -> str:
    """The command that puts the node's host key into the right file."""
    if to.proxy or to.jump:
        # ssh-keyscan knows no way round.
        config = f"-F {to.config[0]} " if to.config else ""
        return f"ssh {config}-o StrictHostKeyChecking=ask -l {to.user} {to.name} true"
    port = f"-p {to.port} " if to.port != 22 else ""
    file = to.known_files[0] if to.known_files else _USER_KNOWN_HOSTS[0]
    return f"ssh-keyscan {port}{to.host} >> {file}"


def _error(to: Target, kind: str, message: str, hint: str) -> HostError:
    return HostError(message, hint=hint, node=to.node.name, kind=kind)


def _config_hint(to: Target) -> str:
    return f"see {to.config[0]}" if to.config else "see the keys in ~/.ssh"


def _config_paths(path: str | None, node: str) -> tuple[str, ...]:
    if path is None:
        default = Path("~/.ssh/config").expanduser()
        return (str(default),) if default.is_file() else ()
    chosen = Path(path).expanduser()
    if not chosen.is_file():
        raise HostError(
            f"SSH cannot be set up: {chosen}: no such file",
            hint="correct ssh.config in the cluster file",
            node=node,
            kind="ssh-config",
        )
    return (str(chosen),)


def _options(node: Node, paths: tuple[str, ...], name: str) -> Any:
    """What the SSH configuration says about `name`; no key is loaded for that."""
    try:
        options = asyncssh.SSHClientConnectionOptions(
            host=name, config=list(paths), client_keys=None, agent_path=None, known_hosts=b"\n"
        )
    except (OSError, ValueError) as error:
        raise HostError(
            f"SSH cannot be set up: {error}",
            hint=f"see {paths[0]}" if paths else "see ~/.ssh",
            node=node.name,
            kind="ssh-config",
        ) from error
    return options.config


def _unless_none(value: str | None) -> str | None:
    """In ssh_config(5), `none` switches a way round off."""
    return None if value is None or value.lower() == "none" else value


def _as_port(value: object) -> int:
    return value if isinstance(value, int) else 22


def _known_hosts_files(config: Any) -> tuple[Path, ...]:
    """The files that ssh itself would read, without those that are not there."""
    user = config.get("UserKnownHostsFile", _USER_KNOWN_HOSTS)
    system = config.get("GlobalKnownHostsFile", _GLOBAL_KNOWN_HOSTS)
    files = (Path(name).expanduser() for name in (*user, *system))
    return tuple(file for file in files if file.is_file())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
