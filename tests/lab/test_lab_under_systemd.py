"""The lab on a box whose PID 1 is systemd, which owns the control groups: most users' boxes.

Where this box's PID 1 is something else (a container, a CI runner), its own root file system is
booted as a container with systemd, and the lab runs in there.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_lab import wait_for

from kubeha.lab import cgroup
from kubeha.lab.image import base
from kubeha.lab.journal import Entry, Journal
from kubeha.lab.lab import cache_directory
from kubeha.lab.machine import Machine
from kubeha.lab.power import DETACHED
from kubeha.lab.process import run

CHECKOUT = Path(__file__).parents[2]
KUBEHA = Path(sys.executable).with_name("kubeha")

pytestmark = pytest.mark.skipif(
    cgroup.systemd_runs_here(), reason="systemd runs here: every lab test is this test"
)


class Box(Machine):
    """This box once more, with systemd as its PID 1: entered like a machine."""

    def lab(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        line = ["sh", "-c", 'cd /root && exec "$@"', "sh", str(KUBEHA), "lab", *arguments]
        return self.execute(line, check=check, timeout=120)


def boot(box: Box, cache: Path) -> None:
    """Boot this box's root file system. The machines' disks need a real one, not an overlay."""
    upper = box.store / "upper"
    upper.mkdir(parents=True)
    box.root.mkdir()
    # In memory: an upper layer below its own lower one would not be defined.
    run(["mount", "-t", "tmpfs", "tmpfs", str(upper)])
    for directory in ("upper", "work"):
        (upper / directory).mkdir()
    layers = f"lowerdir=/,upperdir={upper}/upper,workdir={upper}/work"
    run(["mount", "-t", "overlay", "-o", layers, "overlay", str(box.root)])
    cgroup.create(box.running_group)
    command = ["systemd-nspawn", "--boot", "--quiet", f"--directory={box.root}"]
    command += ["--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    command += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--capability=all"]
    command += ["--system-call-filter=@known", f"--machine={box.name}-{box.lab_id}"]
    command += [f"--bind={CHECKOUT}", f"--bind={cache}:{cache_directory()}"]
    command += ["--tmpfs=/run/netns", "systemd.unit=basic.target"]
    console = str(box.store / "console")
    run(
        ["setsid", "--fork", "sh", "-c", DETACHED, str(box.running_group), console, *command],
        env={
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
        },
    )


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    lab_id = f"box{time.monotonic_ns()}"
    store = cache_directory() / "labs" / lab_id
    store.mkdir(parents=True)
    box = Box("box", "", "", lab_id, store / "box")
    journal = Journal(store / "journal")
    journal.record(
        Entry("group", str(box.group.parent)),
        Entry("mount", str(box.store / "upper")),
        Entry("mount", str(box.root)),
    )
    cache = store / "cache"
    image = base("bookworm")
    (cache / "images").mkdir(parents=True)
    run(["cp", "--archive", "--link", str(image), str(cache / "images")])
    try:
        boot(box, cache)
        box.wait_until_up()
        yield box
    finally:
        journal.clean()
        shutil.rmtree(store)


def units(box: Box) -> list[str]:
    """The lab's units in the box's systemd."""
    listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "kubeha-*"]
    return [line.split()[0] for line in box.execute(listing).stdout.splitlines()]


def states(box: Box) -> dict[str, str]:
    seen = json.loads(box.lab("status", "-o", "json").stdout)
    return {each["name"]: each["state"] for each in seen["machines"]}


def left(box: Box) -> list[str]:
    """What the lab has left in the box; the search finds something while a lab is up."""
    mounts = box.execute(["cat", "/proc/self/mounts"]).stdout.splitlines()
    found = [line for line in mounts if "/labs/" in line.split()[1]]
    found += box.execute(["ip", "netns", "list"]).stdout.splitlines()
    return found + units(box) + box.execute(["ls", "/root/.lab"], check=False).stdout.split()


def test_up_faults_reboot_and_down(box: Box) -> None:
    box.lab("up", "--kubernetes", "none", "--nodes", "2")
    assert states(box) == {"m1": "running", "m2": "running", "c1": "running"}
    assert {name.rsplit("-", 1)[1] for name in units(box)} == {
        "m1.service",
        "m2.service",
        "c1.service",
    }
    box.lab("fault", "freeze", "m1")
    box.lab("fault", "power-off", "m2")
    assert states(box) == {"m1": "frozen", "m2": "off", "c1": "running"}
    box.lab("heal")
    assert states(box) == {"m1": "running", "m2": "running", "c1": "running"}
    boot_id = ("exec", "m1", "--", "cat", "/proc/sys/kernel/random/boot_id")
    before = box.lab(*boot_id).stdout
    box.execute(["ssh", "-F", "/root/.lab/lab/ssh_config", "m1", "systemctl reboot"], check=False)
    wait_for(
        "m1 has booted again",
        lambda: box.lab(*boot_id, check=False).stdout not in ("", before),
        timeout=30,
    )
    assert left(box)
    box.lab("down")
    assert left(box) == []


def test_up_after_kill_9(box: Box) -> None:
    command = f"cd /root && {KUBEHA} lab up --kubernetes none & sleep 1; kill -KILL $!"
    box.execute(["sh", "-c", command], check=False)
    assert left(box)
    box.lab("up", "--kubernetes", "none", "--nodes", "1", "--clients", "0")
    assert states(box) == {"m1": "running"}
    box.lab("down")
    assert left(box) == []
