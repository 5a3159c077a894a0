"""Clients that notice a move of the VIP: long-lived streams everywhere, and new connections."""

import difflib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from endpoint import NODES, Endpoint, Seen
from running_lab import KUBEHA, RunningLab, wait_for

from kubeha.remote import Load

HANDOVER = "/etc/kubeha/handover"
# What a move may change on a node, and nothing else: addresses, settings, rules.
COMPARED = {
    "addresses": ["ip", "-o", "address", "show"],
    "rules": ["nft", "list", "ruleset"],
    "units": ["systemctl", "list-units", "--all", "--no-legend", "kubeha-handover*"],
    "aside": ["cat", "/run/kubeha/aside"],
}


@dataclass
class Crowd:
    """What all clients saw, by who they are."""

    seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def broken(self) -> list[Any]:
        return [one for who in ("c1", "nodes") for one in self.seen[who].history.failures]

    @property
    def failed(self) -> list[Any]:
        return list(self.seen["new"].history.failures)

    def show(self, what: str) -> None:
        for who, seen in self.seen.items():
            seen.show(f"{what}: {who}")

    def assert_unharmed(self, what: str) -> None:
        self.show(what)
        assert self.broken == []
        assert self.failed == []
        assert all(seen.history.attempts for seen in self.seen.values())


@contextmanager
def crowd(
    endpoint: Endpoint,
    *,
    on_client: int = 60,
    on_node: int = 20,
    rate: float = 100,
    on: Sequence[str] = NODES,
    after: float = 3.0,
) -> Iterator[Crowd]:
    """Streams on c1 and on every node, and new connections from c1, while the body runs."""
    result = Crowd()
    far = Load("stream", connections=on_client, interval=0.5)
    near = Load("stream", connections=on_node, interval=0.5)
    with ExitStack() as stack:
        for who, load, places in (("c1", far, ["c1"]), ("nodes", near, list(on))):
            clients = endpoint.clients([load], on=places, after=0)
            result.seen[who] = stack.enter_context(clients)
        new = endpoint.clients([Load("version", rate=rate)], after=after)
        result.seen["new"] = stack.enter_context(new)
        for seen in result.seen.values():
            seen.strike()
        yield result


def status(lab: RunningLab, name: str) -> dict[str, Any]:
    """What the node says of its part in moves."""
    return json.loads(lab.machine(name).execute([HANDOVER, "status"]).stdout)


def nothing_left(lab: RunningLab, names: Sequence[str] = NODES, timeout: float = 60) -> None:
    """Wait until no node has a part in a move any more."""
    for name in names:
        wait_for(
            f"{name} has undone its part",
            lambda name=name: not _busy(lab, name),
            timeout=timeout,
        )


def _busy(lab: RunningLab, name: str) -> bool:
    """The service works, or systemd is still about to forget it."""
    shown = lab.machine(name).execute(
        ["systemctl", "list-units", "--all", "-q", "kubeha-handover*"]
    )
    return status(lab, name)["active"] or bool(shown.stdout.strip())


def snapshot(endpoint: Endpoint) -> dict[str, dict[str, str]]:
    """All that a move may change and has to put back, of every node, without the VIP."""
    return {name: _state(endpoint, name) for name in NODES}


def _state(endpoint: Endpoint, name: str) -> dict[str, str]:
    machine = endpoint.lab.machine(name)
    state = {key: machine.execute(argv).stdout for key, argv in COMPARED.items()}
    lines = state["addresses"].splitlines()
    # Who holds the VIP has changed: on a card, never on lo.
    kept = [line for line in lines if endpoint.lab.vip not in line or ": lo " in line]
    state["addresses"] = "\n".join(kept)
    everything = machine.execute(["sysctl", "-a"], check=False).stdout.splitlines()
    settings = [line for line in everything if line.startswith(("net.ipv4.conf", "net.ipv6.conf"))]
    state["settings"] = "\n".join(settings)
    return state


def other(holder: str, *, than: str = "") -> str:
    """A node that is neither."""
    return next(name for name in NODES if name not in (holder, than))


@contextmanager
def operator(lab: RunningLab, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """kubeha at work in the background, as an operator whose machine may die."""
    command = [str(KUBEHA), "-f", str(lab.place / "kubeha.yaml"), *arguments]
    with subprocess.Popen(
        command,
        cwd=lab.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], words: str) -> str:
    """Read the operator's progress until these words are in a line; returns all of it."""
    assert process.stderr is not None
    read: list[str] = []
    for line in process.stderr:
        read.append(line)
        if words in line:
            return "".join(read)
    raise AssertionError(f"never said {words!r}:\n{''.join(read)}")


def assert_as_before(endpoint: Endpoint, before: dict[str, dict[str, str]]) -> None:
    """The nodes are as they were, line by line."""
    after = snapshot(endpoint)
    differs = [
        f"{name}: {key}: {line}"
        for name, state in before.items()
        for key, text in state.items()
        for line in difflib.ndiff(text.splitlines(), after[name][key].splitlines())
        if line[0] in "+-"
    ]
    assert differs == []
