"""One request to the program on a node: start it over SSH, ask, read the answer.

Knows the order of things (sudo's password, the sentinel, events, the result) and nothing of what is
asked. Everything that can go wrong on the way becomes a HostError that says what to do.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncssh

from kubeha.errors import HostError
from kubeha.node import BOOTSTRAP, OLDEST_PYTHON, SENTINEL, program

log = logging.getLogger(__name__)

# sudo's prompt. The password is sent only when this is seen, so that it never goes anywhere else.
_PROMPT = "kubeha-asks-for-the-password"
_PYTHON = f"python3 -I -S -c '{BOOTSTRAP}'"
_NOISE_LIMIT = 64 * 1024
_CHUNK = 64 * 1024

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Become:
    """How the program becomes root: not at all (already root), `sudo -n`, or with a password."""

    needed: bool
    password: str | None = None

    @property
    def command(self) -> str:
        """The remote command; our own words only, the same for every request."""
        if not self.needed:
            return f"exec {_PYTHON}"
        how = "-n" if self.password is None else f"-S -p {_PROMPT}"
        return f"exec env LC_ALL=C sudo {how} {_PYTHON}"


class Session:
    """One request and its answer. Used once."""

    def __init__(self, node: str, process: asyncssh.SSHClientProcess[bytes], become: Become):
        self._node = node
        self._process = process
        self._become = become
        self._buffer = b""
        self._stderr = bytearray()
        self._changed = asyncio.Event()
        self._begun = asyncio.Event()

    async def ask(
        self,
        request: dict[str, Any],
        on_event: OnEvent | None = None,
        stop: asyncio.Event | None = None,
    ) -> Any:
        """Send the request and return its result; `stop` asks the node for an early end.

        Raises HostError.
        """
        tasks = [asyncio.create_task(self._read_errors())]
        if stop is not None:
            tasks.append(asyncio.create_task(self._pass_on(stop)))
        try:
            if self._become.password is not None:
                await self._become_root()
                await self._await_sentinel()
                self._send(request)
            else:
                # All at once: one round trip.
                self._send(request)
                await self._await_sentinel()
            return await self._answer(on_event)
        finally:
            self._process.close()
            for task in tasks:
                task.cancel()

    def _send(self, request: dict[str, Any]) -> None:
        data = json.dumps(request, separators=(",", ":")).encode()
        self._process.stdin.write(program(request["op"]) + b"%d\n%s" % (len(data), data))

    async def _pass_on(self, stop: asyncio.Event) -> None:
        """Tell the node to stop, but not before it has read its request: it reads ahead."""
        await self._begun.wait()
        await stop.wait()
        self._process.stdin.write(b"stop\n")

    async def _become_root(self) -> None:
        """Give sudo the password when it asks; it may also let us through without."""
        prompts = 0
        while not self._buffer:
            asked = self._stderr.count(_PROMPT.encode())
            if asked > 1:
                # Not a third time: some machines lock the account.
                raise self._error("wrong-password", "sudo: wrong password", "try again")
            if asked > prompts:
                prompts = asked
                self._process.stdin.write(f"{self._become.password}\n".encode())
            if not await self._wait_for_more():
                return

    async def _wait_for_more(self) -> bool:
        """Wait for output on either stream; False at the end of standard output."""
        read = asyncio.create_task(self._process.stdout.read(_CHUNK))
        changed = asyncio.create_task(self._changed.wait())
        await asyncio.wait({read, changed}, return_when=asyncio.FIRST_COMPLETED)
        self._changed.clear()
        changed.cancel()
        if not read.done():
            read.cancel()
            return True
        self._buffer += read.result()
        return bool(self._buffer)

    async def _read_errors(self) -> None:
        while chunk := await self._process.stderr.read(_CHUNK):
            self._stderr += chunk[: max(0, _NOISE_LIMIT - len(self._stderr))]
            self._changed.set()

    async def _line(self) -> bytes | None:
        """The next line of standard output, None at its end."""
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            chunk = await self._process.stdout.read(_CHUNK)
            if not chunk:
                return None
            self._buffer += chunk
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line

    async def _await_sentinel(self) -> None:
        """Skip what the login shell printed, and see that Python is new enough."""
        noise = b""
        while (line := await self._line()) is not None:
            if line.startswith(SENTINEL.encode() + b" "):
                return self._check_python(line)
            noise = (noise + line + b"\n")[:_NOISE_LIMIT]
        raise await self._not_started(noise + self._buffer)

    def _check_python(self, line: bytes) -> None:
        version = tuple(int(part) for part in line.split()[1:3])
        if version < OLDEST_PYTHON:
            shown = ".".join(map(str, version))
            oldest = ".".join(map(str, OLDEST_PYTHON))
            raise self._error(
                "old-python",
                f"python3 is {shown}, kubeha needs {oldest} or later",
                "install a newer python3 there",
            )

    async def _answer(self, on_event: OnEvent | None) -> Any:
        while (line := await self._line()) is not None:
            try:
                message = json.loads(line)
            except ValueError:
                words = line[:200].decode("utf-8", "replace")
                hint = "report this as a bug, with the output of --verbose"
                raise self._error("bad-answer", f"not an answer: {words}", hint) from None
            if "event" in message:
                self._begun.set()
                if on_event is not None:
                    on_event(message)
            elif "error" in message:
                raise self._refusal(message["error"])
            else:
                return message["result"]
        raise await self._lost()

    def _refusal(self, error: dict[str, str]) -> HostError:
        kind, message = error["kind"], error["message"]
        if kind == "bug":
            log.debug("%s: %s", self._node, message)
            message = f"the program on the node failed: {message.strip().splitlines()[-1]}"
        return self._error(kind, message, _REFUSAL_HINTS.get(kind, ""))

    async def _not_started(self, noise: bytes) -> HostError:
        """Why the first line of the program never came."""
        await self._ended()
        if self._process.exit_status is None:
            return await self._lost()
        said = self._stderr.decode("utf-8", "replace").replace(_PROMPT, "").strip()
        for words, kind, message, hint in _START_FAILURES:
            if all(word in said for word in words):
                return self._error(kind, message, hint)
        shown = (said or noise.decode("utf-8", "replace").strip())[-500:] or "no output"
        return self._error(
            "not-started",
            f"the program on the node did not start (exit status "
            f"{self._process.exit_status}): {shown}",
            "log in there as the same user and see whether `sudo -n python3 --version` works",
        )

    async def _lost(self) -> HostError:
        await self._ended()
        status = self._process.exit_status
        if status is None:
            message = "the connection was lost in the middle"
            return self._error("lost", message, "see that the machine is up, then try again")
        said = self._stderr.decode("utf-8", "replace").strip().splitlines()
        for line in said[-1:]:
            if line.startswith(("ModuleNotFoundError", "ImportError")):
                return self._error(
                    "no-python", f"python3 is not complete: {line.partition(': ')[2]}",
                    "install the package python3 there (python3-minimal is not enough)",
                )  # fmt: skip
        tail = said[-1] if said else "no output"
        killed = self._process.exit_signal
        how = f"killed by SIG{killed[0]}" if killed else f"exit status {status}"
        message = f"the program on the node ended early ({how}): {tail}"
        return self._error("died", message, "see the node's log, then try again")

    async def _ended(self) -> None:
        """Let the exit status and the last words on standard error arrive."""
        try:
            async with asyncio.timeout(2):
                await self._process.wait_closed()
        except TimeoutError:
            pass

    def _error(self, kind: str, message: str, hint: str) -> HostError:
        return HostError(message, hint=hint, node=self._node, kind=kind)


# What sudo and shells say (in English: LC_ALL=C), the most particular first.
_START_FAILURES: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        ("sudo:", "a password is required"),
        "sudo-password",
        "sudo asks for a password",
        "use --ask-become-pass, or allow this user NOPASSWD in sudoers",
    ),
    (
        ("incorrect password attempt",),
        "wrong-password",
        "sudo: wrong password",
        "try again",
    ),
    (
        ("is not in the sudoers file",),
        "no-sudo",
        "this user has no sudo rights",
        "add the user to sudoers, or log in as root (ssh.user)",
    ),
    (
        ("is not allowed to",),
        "no-sudo",
        "this user may not run python3 as root with sudo",
        "allow python3 in sudoers for this user, or log in as root (ssh.user)",
    ),
    (
        ("may not run sudo",),
        "no-sudo",
        "this user has no sudo rights",
        "add the user to sudoers, or log in as root (ssh.user)",
    ),
    (
        ("must have a tty",),
        "sudo-tty",
        "sudo wants a terminal",
        "remove `requiretty` from sudoers for this user",
    ),
    (
        ("python3", "not found"),
        "no-python",
        "there is no python3",
        "install the package python3 there",
    ),
    (
        ("python3", "No such file"),
        "no-python",
        "there is no python3",
        "install the package python3 there",
    ),
    (
        ("sudo", "No such file"),
        "no-sudo",
        "there is no sudo",
        "install sudo there, or log in as root (ssh.user)",
    ),
    (
        ("sudo", "not found"),
        "no-sudo",
        "there is no sudo",
        "install sudo there, or log in as root (ssh.user)",
    ),
)

_REFUSAL_HINTS = {
    "stale": "somebody changed it in the meantime: make a new plan",
    "disk-full": "make room there, then try again",
    "read-only": "the file system is mounted read-only: see the node's log, then remount it",
    "link": "kubeha replaces only regular files: remove it or put a file in its place",
    "owner": "install the package that brings this user",
    "busy": "wait until the other kubeha is done",
    "bug": "report this as a bug, with the output of --verbose",
}
