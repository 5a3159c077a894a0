"""`kubeha lab`: real machines on this box to try everything on."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from kubeha.lab.lab import Lab

NameOption = Annotated[str, typer.Option("--name", help="The lab's name, for several on one box.")]
OutputOption = Annotated[str, typer.Option("--output", "-o", help="text or json.")]
# What to run as Kubernetes; `lab up` takes 'none', too.
_PROGRAMS = "auto, a version (1.31.4), or a directory with the programs"

lab_app = typer.Typer(
    name="lab",
    no_args_is_help=True,
    help="Real machines with a real control plane on this box, to try things on (root).",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.add_typer(lab_app)


@lab_app.command("up")
def up(
    name: NameOption = "lab",
    nodes: Annotated[int, typer.Option(help="Control plane nodes: m1, m2, ...")] = 3,
    clients: Annotated[int, typer.Option(help="Client nodes: c1, ...")] = 1,
    release: Annotated[str, typer.Option(help="Debian release: bookworm or trixie.")] = "bookworm",
    kubernetes: Annotated[
        str,
        typer.Option(
            help=f"{_PROGRAMS}; none: without Kubernetes.",
            metavar="auto|VERSION|DIRECTORY|none",
        ),
    ] = "auto",
    output: OutputOption = "text",
) -> None:
    """Boot machines with SSH and a Kubernetes control plane; files in ./.lab/NAME."""
    from kubeha.lab import lifecycle

    _check_output(output)
    request = lifecycle.Request(name, nodes, clients, release, kubernetes)
    lab = lifecycle.up(request, _progress)
    _print_status(lab, output)
    if output == "text":
        here = _relative(lab.directory)
        print(f"\nLog in:   ssh -F {here}/ssh_config m1    (or: kubeha lab shell m1)")
        print(f"Use it:   kubeha -f {here}/kubeha.yaml check")
        print(f"End it:   kubeha lab down{_name_option(name)}")


@lab_app.command("down")
def down(name: NameOption = "lab") -> None:
    """Take a lab away, with everything that it made on this box."""
    from kubeha.lab import lifecycle

    lifecycle.down(lifecycle.place(name), _progress)


@lab_app.command("status")
def status(name: NameOption = "lab", output: OutputOption = "text") -> None:
    """The machines, their state and the faults in force."""
    _check_output(output)
    _print_status(_load(name), output)


@lab_app.command("kubernetes")
def kubernetes(
    machines: Annotated[
        list[str] | None, typer.Argument(help="Control plane nodes, in this order; else all.")
    ] = None,
    programs: Annotated[
        str,
        typer.Option("--kubernetes", help=f"{_PROGRAMS}.", metavar="auto|VERSION|DIRECTORY"),
    ] = "auto",
    name: NameOption = "lab",
) -> None:
    """Start Kubernetes in a lab made with `--kubernetes none`, as kubeadm would.

    The first machine makes the cluster, as `kubeadm init` does, the others join it. Machines that
    are not named stay as they are, and can join later.
    """
    from kubeha.lab import kubernetes, lifecycle

    lab = _load(name)
    chosen = [lab.machine(machine) for machine in machines] if machines else None
    with lifecycle.interruptible(), _locked(lab):
        kubernetes.bring_up(lab, programs, _progress, chosen)
    print(f"Ready: {', '.join(machine.name for machine in chosen or lab.control_plane)}")
    if lab.clients:
        client = lab.clients[0].name
        print(f"Use it:   kubeha lab exec{_name_option(name)} {client} -- kubectl version")


@lab_app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    machine: Annotated[str, typer.Argument(help="Machine, for example m1.")],
    command: Annotated[list[str], typer.Argument(help="Command, after --.", metavar="-- CMD...")],
    name: NameOption = "lab",
) -> None:
    """Run a command in a machine as root, past its network; its exit status is ours."""
    _become(_load(name).machine(machine).enter(command))


@lab_app.command("shell")
def shell(
    machine: Annotated[str, typer.Argument(help="Machine, for example m1.")],
    name: NameOption = "lab",
) -> None:
    """A root shell in a machine, past its network: like its console."""
    import os

    terminal = os.environ.get("TERM", "linux")
    command = ["script", "--quiet", "--return", "--command", "bash --login", "/dev/null"]
    _become(_load(name).machine(machine).enter(command, terminal=terminal))


@lab_app.command("fault")
def fault(
    fault: Annotated[str, typer.Argument(help="What to break; --help lists the faults.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Machines to break, and settings of the fault.",
            metavar="MACHINE|SETTING=VALUE",
        ),
    ] = None,
    name: NameOption = "lab",
) -> None:
    """Break machines or their segment on purpose; `kubeha lab heal` undoes it.

    vip-stolen, rogue-vrrp and idle-flood concern the whole segment: name no machine with them.
    Settings are shown with their defaults; for example `kubeha lab fault loss percent=50 m2`.

    \b
    power-off               cut the power, without a last packet
    freeze                  stop every process where it stands, and the network
    link-down               pull the network cable
    partition               cut the machines named off from all others
    kill-haproxy            SIGKILL HAProxy, once
    stop-haproxy            stop HAProxy as an administrator would
    hang-haproxy            stop HAProxy's workers: connections are accepted, never answered
    kill-keepalived         SIGKILL keepalived, once
    kill-keepalived-parent  SIGKILL keepalived's main process, once
    kill-keepalived-child   SIGKILL the child of keepalived that speaks VRRP, once
    stop-keepalived         stop keepalived as an administrator would
    hang-keepalived         stop keepalived's processes where they stand: the VIP stays
    kill-apiserver          SIGKILL kube-apiserver, once
    hang-apiserver          stop kube-apiserver where it stands
    fail-readyz             the API server's etcd stalls: it answers 500 on /readyz, and runs on
    loss                    lose some of the packets that are sent to a machine
                              percent=30
    filter-vrrp             a firewall on the machine drops the VRRP packets that come in
    block-vrrp              drop VRRP between the machines named, both ways, and nothing else
    isolate                 cut a machine off from the gateway and the other nodes, not from clients
    second-nic              a second network card in the same segment, with its own address
    mtu                     another MTU on the machine's network card than on all others
                              bytes=9000
    disk-full               leave no space on the machine's disk
    run-full                leave no space in the machine's /run
    vip-stolen              a stranger has the VIP and answers ARP and NDP for it
                              vip=(the cluster file's)
    rogue-vrrp              a stranger advertises a virtual router with our VRID
                              vrid=(the cluster file's) priority=150 version=3 to=multicast
                              interval=1 vip=198.51.100.99
    idle-flood              a stranger takes connections to the endpoint and says nothing
                              connections=5000 rate=1000 vip=(the cluster file's)
                              port=(the cluster file's)
    duplicate-address       a stranger has the machine's own address, too
    """
    from kubeha.lab import faults
    from kubeha.lab.faults.settings import split

    lab = _load(name)
    machines, settings = split(words or [])
    broken = [lab.machine(machine) for machine in machines]
    with _locked(lab):
        faults.inject(lab, fault, broken, settings)


@lab_app.command("heal")
def heal(
    machine: Annotated[str | None, typer.Argument(help="Only this machine.")] = None,
    only: Annotated[str | None, typer.Option(help="Only this fault.", metavar="FAULT")] = None,
    name: NameOption = "lab",
) -> None:
    """Undo every fault; a machine that is off is booted."""
    from kubeha.lab import faults, lifecycle

    lab = _load(name)
    with _locked(lab):
        healed = faults.heal(lab, lab.machine(machine) if machine else None, only=only)
        for each in healed:
            print(f"healed: {each}")
        for booted in (n for each in healed if each.fault == "power-off" for n in each.machines):
            lifecycle.wait_until_up(lab, lab.machine(booted), _progress)
    if not healed:
        print("nothing to heal")


@lab_app.command("boot")
def boot(
    machine: Annotated[str, typer.Argument(help="Machine, for example m1.")],
    name: NameOption = "lab",
) -> None:
    """Switch a machine on that is off, and wait until it is up."""
    from kubeha.lab import faults, lifecycle, power

    lab = _load(name)
    with _locked(lab):
        booted = lab.machine(machine)
        faults.heal(lab, booted, only="power-off")
        power.on(lab, booted)
        lifecycle.wait_until_up(lab, booted, _progress)


def _load(name: str) -> Lab:
    from kubeha.lab import box
    from kubeha.lab.lab import load
    from kubeha.lab.lifecycle import place

    box.require()
    return load(place(name))


def _locked(lab: Lab) -> AbstractContextManager[None]:
    from kubeha.lab.lifecycle import locked

    return locked(lab.directory, _progress)


def _become(argv: list[str]) -> NoReturn:
    """Become the program: terminal, signals and exit status are its own."""
    import os

    os.execvp(argv[0], argv)


def _progress(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)


def _check_output(output: str) -> None:
    if output not in ("text", "json"):
        from kubeha.errors import UsageError

        raise UsageError(f"--output {output} is not known", hint="text or json")


def _print_status(lab: Lab, output: str) -> None:
    from kubeha.lab import lifecycle

    seen = lifecycle.status(lab)
    if output == "json":
        import json

        print(json.dumps(seen, indent=2))
        return
    print(f"{'MACHINE':<9}{'ROLE':<20}{'ADDRESS':<17}{'STATE':<12}FAULTS")
    for machine in seen["machines"]:
        words = [machine["role"], machine["address"], machine["state"]]
        row = f"{machine['name']:<9}{words[0]:<20}{words[1]:<17}{words[2]:<12}"
        print(row + (", ".join(machine["faults"]) or "-"))
    for each in seen["segment"]:
        settings = " ".join(f"{key}={value}" for key, value in each["settings"].items())
        print(f"on the segment: {each['fault']} ({settings})")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _name_option(name: str) -> str:
    return "" if name == "lab" else f" --name {name}"
