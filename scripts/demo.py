"""The main job of kubeha, told as a story on real machines in the lab.

Run it with `make demo`; KEEP=1 leaves the machines up. Ctrl-C at any time leaves nothing behind.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kubeha.cli.cluster_file import beside
from kubeha.config import parse
from kubeha.history import History, KindSummary, summarise
from kubeha.kubeconfig import credentials
from kubeha.model import Cluster
from kubeha.remote import Load
from kubeha.sampling import background, request_for

KUBEHA = str(Path(sys.executable).with_name("kubeha"))
NAME = os.environ.get("NAME", "demo")
LAB = Path(".lab") / NAME
FILE = LAB / "kubeha.yaml"
# Clients wait this long for an answer, as kubectl and kubelets do at least; seconds.
PATIENCE = 10.0
LOADS = (
    Load("version", rate=25, timeout=PATIENCE),
    Load("read", rate=5, timeout=PATIENCE),
    Load("watch", connections=3),
)
LABELS = {"version": "GET /version", "read": "read from etcd", "watch": "idle watch"}
console = Console(highlight=False)


class DemoFailed(Exception):
    """The story did not go as it has to."""


def main() -> int:
    """The whole story; whatever happens, the machines are gone at its end (unless KEEP=1)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    started = time.monotonic()
    try:
        story()
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted: taking the machines away.[/yellow]")
        lab_down()
        return 130
    except (DemoFailed, subprocess.CalledProcessError) as failure:
        console.print(f"\n[red]The demo failed:[/red] {escape(str(failure))}")
        return leave(keep, 1)
    console.print(f"\n[bold green]Done[/bold green] in {time.monotonic() - started:.0f} s.")
    return leave(keep, 0)


def story() -> None:
    """Nine steps, each of which says what it does and why."""
    step("Three control plane machines and a client, with a real Kubernetes control plane")
    say("Each has its own systemd, sshd and network; each m runs etcd and the three programs of the"
        " control plane. Nothing makes their API highly available yet.")  # fmt: skip
    kubeha("lab", "up", "--name", NAME)
    cluster = load()
    step("Check: what would make it fail, found before anything is touched")
    on_cluster("check")
    step("Plan: what would be changed, where, and in which order")
    on_cluster("plan", "--no-diff")
    step("Apply: install keepalived and HAProxy, the primary first, the others one at a time")
    on_cluster("apply", "--yes", "--no-diff")
    step("Verify: is it really highly available now?")
    on_cluster("verify")
    step("A client uses the endpoint")
    as_client()
    holder = only_holder()
    step(f"{holder} holds {cluster.endpoint.vip}. Pull its plug")
    new = pull_the_plug(cluster, holder)
    step(f"{new} holds it now, and the endpoint answers")
    show_status()
    as_client()
    step(f"{holder} comes back, and takes nothing away from {new}")
    come_back(holder, new)


def pull_the_plug(cluster: Cluster, holder: str) -> str:
    """Power the holder off while clients are at work; returns the new holder."""
    say(f"Clients on c1 ask all the time while {holder} loses its power; each waits up to"
        f" {PATIENCE:g} s for an answer.")  # fmt: skip
    client = next(node for node in cluster.clients)
    request = request_for(cluster, credentials((LAB / "kubeconfig").read_text()), LOADS)
    with background(cluster, [client], request) as recorder:
        time.sleep(3)
        kubeha("lab", "fault", "--name", NAME, "power-off", holder)
        struck = json.loads((LAB / "faults.json").read_text())[0]["since"]
        new = wait_for_other_holder(holder)
        say(f"{cluster.endpoint.vip} is on {new}. The clients go on for a while.")
        time.sleep(12)
    report(recorder.history, holder, struck)
    return new


def report(history: History, holder: str, struck: float) -> None:
    """What the clients saw of it."""
    table = Table(title=f"What clients saw of {holder}'s power failure", title_justify="left")
    for column in ("clients", "requests", "cut off", "failed", "silence", "slowest"):
        table.add_column(column, justify="left" if column == "clients" else "right")
    lost = history.cut_off(struck)
    rest = summarise(History(tuple(one for one in history.attempts if one not in lost)), struck)
    for kind, label in LABELS.items():
        cut = sum(one.kind == kind for one in lost)
        table.add_row(label, *cells(rest.kinds[kind], cut))
    console.print(table)
    say(f"cut off: under way through {holder} at that moment, lost with it. failed: of all those"
        " that began later. silence: the longest time without an answer.")  # fmt: skip
    if failed := rest.kinds["version"].failed:
        raise DemoFailed(f"{failed} new connections failed")


def cells(summary: KindSummary, cut: int) -> tuple[str, ...]:
    quiet = f"{summary.silence.seconds:.2f} s" if summary.silence else "-"
    slow = f"{summary.worst_latency:.2f} s" if summary.worst_latency is not None else "-"
    return str(summary.count + cut), str(cut), str(summary.failed), quiet, slow


def come_back(holder: str, new: str) -> None:
    """Boot the machine again and wait until everything is well."""
    kubeha("lab", "boot", "--name", NAME, holder)
    say("Its API server has to catch up; verify is asked until it finds nothing wrong.")
    deadline = time.monotonic() + 120
    while not nothing_found(seen := quietly("verify", "-o", "json")):
        if time.monotonic() > deadline:
            on_cluster("verify")
            raise DemoFailed("not well after 120 s")
        time.sleep(1)
    holders = json.loads(seen.stdout)["endpoint"]["holders"]
    if holders != [new]:
        raise DemoFailed(f"the VIP moved back: it is held by {holders}")
    on_cluster("verify")


def nothing_found(seen: subprocess.CompletedProcess[str]) -> bool:
    """Not a warning either: an API server that is still kept out of service is one."""
    return seen.returncode == 0 and not json.loads(seen.stdout)["findings"]


def wait_for_other_holder(old: str) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        holders = [name for name in holders_now() if name != old]
        if len(holders) == 1:
            return holders[0]
    raise DemoFailed(f"nobody but {old} got the VIP within 30 s")


def only_holder() -> str:
    holders = holders_now()
    if len(holders) != 1:
        raise DemoFailed(f"the VIP is held by {' and '.join(holders) or 'nobody'}")
    return holders[0]


def holders_now() -> list[str]:
    seen: list[str] = json.loads(quietly("status", "-o", "json").stdout)["endpoint"]["holders"]
    return seen


def as_client() -> None:
    """kubectl on the client machine, through VIP and port."""
    for words in ("kubectl version --request-timeout=10s", "kubectl get --raw /readyz"):
        kubeha("lab", "exec", "--name", NAME, "c1", "--", *words.split())
        print()


def show_status() -> None:
    """Status finds a machine off, so its exit status is no failure here."""
    on_cluster("status", check=False)


def load() -> Cluster:
    return beside(parse(FILE.read_bytes(), str(FILE)).cluster, LAB.resolve())


def on_cluster(*words: str, check: bool = True) -> None:
    kubeha("-f", str(FILE), *words, check=check)


def kubeha(*words: str, check: bool = True) -> None:
    """Run kubeha as a user would, showing the command."""
    console.print(f"[bold cyan]$ kubeha {escape(shlex.join(words))}[/bold cyan]", soft_wrap=True)
    done = subprocess.run([KUBEHA, *words])
    if check and done.returncode != 0:
        raise DemoFailed(f"exit status {done.returncode}: kubeha {shlex.join(words)}")


def quietly(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KUBEHA, "-f", str(FILE), *words], capture_output=True, text=True)


def step(title: str) -> None:
    global _steps
    _steps += 1
    console.print(f"\n[bold]{_steps}. {escape(title)}[/bold]")


_steps = 0


def say(text: str) -> None:
    console.print(f"   {escape(text)}", style="dim")


def leave(keep: bool, status: int) -> int:
    """Take the machines away, or say how to play with them."""
    if not keep:
        lab_down()
        return status
    console.print("\nThe machines are still up. Play with them:", style="bold")
    for words in played_with():
        console.print(f"  {shlex.join(words)}", soft_wrap=True)
    return status


def played_with() -> Sequence[Sequence[str]]:
    cluster = ("kubeha", "-f", str(FILE))
    lab = ("kubeha", "lab")
    return (
        (*cluster, "status", "--watch"),
        (*lab, "fault", "--name", NAME, "kill-haproxy", "m1"),
        (*lab, "heal", "--name", NAME),
        (*lab, "shell", "--name", NAME, "c1"),
        (*lab, "down", "--name", NAME),
    )


def lab_down() -> None:
    """Ctrl-C does not stop the cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subprocess.run([KUBEHA, "lab", "down", "--name", NAME], check=False)


if __name__ == "__main__":
    sys.exit(main())
