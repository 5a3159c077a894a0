"""Becoming root with the real sudo of a real machine: every way in which it can say no.

Works on the client machine with users of its own, made and removed here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
from running_lab import RunningLab, wait_for

from kubeha.errors import HostError
from kubeha.host import connect
from kubeha.lab.machine import Machine
from kubeha.model import Cluster, Endpoint, Node, Ssh

PASSWORD = "correct horse ' \" $(reboot) é"
SUDOERS = """\
asked ALL=(ALL:ALL) ALL
limited ALL=(ALL:ALL) NOPASSWD: /bin/true
seated ALL=(ALL:ALL) NOPASSWD: ALL
Defaults:seated requiretty
piped ALL=(ALL:ALL) ALL
Defaults:piped use_pty, log_output
"""
USERS = ("asked", "limited", "seated", "piped", "plain")


@pytest.fixture(scope="module")
def machine(machines: RunningLab) -> Iterator[Machine]:
    """The client machine, with users of all kinds."""
    machine = machines.machine("c1")
    for user in USERS:
        machine.execute(["useradd", "--create-home", "--shell", "/bin/bash", user])
        machine.execute(["cp", "-r", "/home/ops/.ssh", f"/home/{user}/.ssh"])
        machine.execute(["chown", "-R", f"{user}:", f"/home/{user}/.ssh"])
    machine.execute(["chpasswd"], input="".join(f"{user}:{PASSWORD}\n" for user in USERS))
    machine.execute(["tee", "/etc/sudoers.d/kubeha-test"], input=SUDOERS)
    machine.execute(["chmod", "0440", "/etc/sudoers.d/kubeha-test"])
    machine.execute(["visudo", "-c"])
    yield machine
    machine.execute(["rm", "/etc/sudoers.d/kubeha-test"])
    for user in USERS:
        machine.execute(["userdel", "--remove", user])


@pytest.fixture
def cluster_of(machines: RunningLab, machine: Machine) -> Callable[[str], Cluster]:
    """A cluster of the client machine alone, where one logs in as some user."""
    node = Node.model_validate({"name": "c1", "address": machine.address})
    endpoint = Endpoint.model_validate({"vip": machines.vip})

    def cluster(user: str) -> Cluster:
        ssh = Ssh(config=str(machines.place / "ssh_config"), user=user)
        return Cluster(cluster="lab", endpoint=endpoint, control_plane=(node,), ssh=ssh)

    return cluster


@pytest.fixture
def whoami(cluster_of: Callable[[str], Cluster]) -> Callable[..., str]:
    """Run `id -un` on the machine, logged in as some user."""

    def ask(user: str, password: str | None = None) -> str:
        cluster = cluster_of(user)

        async def main() -> str:
            node = cluster.control_plane[0]
            async with connect(cluster, node, become_password=password) as host:
                return (await host.run(["id", "-un"], timeout=10)).stdout.strip()

        return asyncio.run(main())

    return ask


def refusal(whoami: Callable[..., str], user: str, password: str | None = None) -> tuple[str, ...]:
    with pytest.raises(HostError) as caught:
        whoami(user, password)
    return caught.value.kind, str(caught.value), caught.value.hint


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("root", None),
        ("root", "not needed"),
        ("ops", None),
        # sudo does not ask: the password must not become the program's input.
        ("ops", "not needed"),
        ("asked", PASSWORD),
        ("piped", PASSWORD),
    ],
)
def test_becomes_root(whoami: Callable[..., str], user: str, password: str | None) -> None:
    assert whoami(user, password) == "root"


def test_sudo_that_asks_for_a_password(whoami: Callable[..., str]) -> None:
    assert refusal(whoami, "asked") == (
        "sudo-password",
        "c1: sudo asks for a password",
        "use --ask-become-pass, or allow this user NOPASSWD in sudoers",
    )


def test_a_wrong_password_is_tried_once(whoami: Callable[..., str], machine: Machine) -> None:
    expected = ("wrong-password", "c1: sudo: wrong password", "try again")
    assert refusal(whoami, "asked", "wrong") == expected
    logged = machine.execute(["journalctl", "--output=cat", "_COMM=sudo"]).stdout
    assert "1 incorrect password attempt ;" in logged
    assert "incorrect password attempts" not in logged


def test_a_user_without_sudo_rights(whoami: Callable[..., str]) -> None:
    assert refusal(whoami, "plain", PASSWORD) == (
        "no-sudo",
        "c1: this user has no sudo rights",
        "add the user to sudoers, or log in as root (ssh.user)",
    )


def test_a_user_who_may_run_something_else(whoami: Callable[..., str]) -> None:
    assert refusal(whoami, "limited", PASSWORD) == (
        "no-sudo",
        "c1: this user may not run python3 as root with sudo",
        "allow python3 in sudoers for this user, or log in as root (ssh.user)",
    )


def test_sudo_that_wants_a_terminal(whoami: Callable[..., str]) -> None:
    assert refusal(whoami, "seated") == (
        "sudo-tty",
        "c1: sudo wants a terminal",
        "remove `requiretty` from sudoers for this user",
    )


def test_no_sudo_at_all(whoami: Callable[..., str], machine: Machine) -> None:
    machine.execute(["mv", "/usr/bin/sudo", "/usr/bin/sudo.away"])
    try:
        kind, message, hint = refusal(whoami, "ops")
    finally:
        machine.execute(["mv", "/usr/bin/sudo.away", "/usr/bin/sudo"])
    assert (kind, message) == ("no-sudo", "c1: there is no sudo")
    assert hint == "install sudo there, or log in as root (ssh.user)"


def test_the_password_is_in_no_command_line_log_or_journal(
    whoami: Callable[..., str], machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert whoami("asked", PASSWORD) == "root"
    journal = machine.execute(["journalctl", "--output=cat"]).stdout
    for text in (caplog.text, journal):
        assert text and PASSWORD not in text and "correct horse" not in text


@pytest.mark.parametrize(("user", "password"), [("ops", None), ("piped", PASSWORD)])
@pytest.mark.parametrize("finish", [False, True])
def test_what_becomes_of_a_program_under_sudo_when_the_operator_goes(
    cluster_of: Callable[[str], Cluster],
    machine: Machine,
    user: str,
    password: str | None,
    finish: bool,
) -> None:
    """apt finishes what it began, also where sudo has put a terminal in between."""
    cluster = cluster_of(user)
    mark = f"/run/kubeha-test-{user}-{finish}"
    script = f"echo $$ > {mark}; echo begun; sleep 2; echo still here; touch {mark}-done"

    async def leave() -> None:
        begun = asyncio.Event()
        async with connect(cluster, cluster.control_plane[0], become_password=password) as host:
            work = host.run(
                ["sh", "-c", script], timeout=20, finish=finish, on_line=lambda _: begun.set()
            )
            task = asyncio.ensure_future(work)
            await begun.wait()
            task.cancel()

    asyncio.run(leave())
    gone = ["sh", "-c", f"! test -e /proc/$(cat {mark})"]
    wait_for("the program's end", lambda: _succeeds(machine, gone), timeout=10)
    assert _succeeds(machine, ["test", "-e", f"{mark}-done"]) == finish


def _succeeds(machine: Machine, argv: list[str]) -> bool:
    return machine.execute(argv, check=False).returncode == 0
