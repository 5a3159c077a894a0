"""The lab on a box whose PID 1 is systemd, which owns the control groups: most users' boxes.

Where this box's PID 1 is something else (a container, a CI runner), its own root file system is
booted as a container with systemd, and the lab runs in there.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from running_lab import wait_for

from kubeha.lab import cgroup
from kubeha.lab.binaries import SHARED_PROGRAMS
from kubeha.lab.detached import DETACHED
from kubeha.lab.image import base
from kubeha.lab.journal import Entry, Journal
from kubeha.lab.lab import CACHE_VARIABLE, cache_directory
from kubeha.lab.machine import Machine
from kubeha.lab.process import run

CHECKOUT = Path(__file__).parents[2]
KUBEHA = Path(sys.executable).with_name("kubeha")

pytestmark = pytest.mark.skipif(
    cgroup.systemd_runs_here(), reason="systemd runs here: every lab test is this test"
)


SYSCTL = Path("/proc/sys")
# What the kernel counts or draws by itself: no setting.
COUNTERS = re.compile(
    r"kernel/(random/|ns_last_pid|pty/nr|perf_event_max_sample_rate|tainted)"
    r"|fs/(file-nr|inode-nr|inode-state|dentry-state|aio-nr|dquot-nr|quota/)"
)

# Not where kubeha looks without being told.
CACHE = "/srv/kubeha-cache"

# What boots in there shares this box's kernel: settings of the whole kernel stay this box's.
# /proc/sys but for the network of the namespace is read-only ("network" below), modules and clocks
# need a capability, and the units that would try do not start.
NO_CAPABILITIES = ("CAP_SYS_MODULE", "CAP_SYS_TIME", "CAP_SYSLOG")
MASKED = (
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-timesyncd.service",
)


class Box(Machine):
    """This box once more, with systemd as its PID 1: entered like a machine."""

    def lab(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.shell('exec "$0" "$@"', str(KUBEHA), "lab", *arguments, check=check)

    def shell(
        self, script: str, *words: str, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a script, with the cache's place in its environment as a user would have it."""
        line = ["env", f"{CACHE_VARIABLE}={CACHE}", "sh", "-c", f"cd /root && {script}", *words]
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
    command += [f"--drop-capability={','.join(NO_CAPABILITIES)}"]
    command += [f"--bind={CHECKOUT}", f"--bind={cache}:{CACHE}"]
    command += ["--tmpfs=/run/netns", "systemd.unit=basic.target"]
    command += [f"systemd.mask={unit}" for unit in MASKED]
    console = str(box.store / "console")
    run(
        ["sh", "-c", DETACHED, str(box.running_group), console, *command],
        env={
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        },
    )


def kernel_settings() -> dict[str, bytes]:
    """Every setting in /proc/sys that a box and what runs on it could share, and its value."""
    settings = dict[str, bytes]()
    for directory in ("kernel", "fs", "vm", "net/core"):
        for path in (SYSCTL / directory).rglob("*"):
            name = str(path.relative_to(SYSCTL))
            with suppress(OSError):  # some are only for writing, some only for one's own
                if path.is_file() and not COUNTERS.match(name):
                    settings[name] = path.read_bytes()
    return settings


@pytest.fixture(scope="module")
def settings_before() -> dict[str, bytes]:
    """As they were before anything was booted."""
    return kernel_settings()


@pytest.fixture(scope="module")
def box(settings_before: dict[str, bytes]) -> Iterator[Box]:
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
    box.shell(
        '{ "$0" lab up --kubernetes none & sleep 1; kill -KILL $!; }', str(KUBEHA), check=False
    )
    assert left(box)
    box.lab("up", "--kubernetes", "none", "--nodes", "1", "--clients", "0")
    assert states(box) == {"m1": "running"}
    box.lab("down")
    assert left(box) == []


def test_machines_have_the_programs_of_the_cache_that_was_named(box: Box) -> None:
    """systemd starts the machines, and knows nothing of the environment of who asked for them."""
    box.shell("mkdir -p $KUBEHA_CACHE/kubernetes && touch $KUBEHA_CACHE/kubernetes/here")
    try:
        box.lab("up", "--kubernetes", "none", "--nodes", "1", "--clients", "0")
        shown = box.lab("exec", "m1", "--", "ls", SHARED_PROGRAMS).stdout
    finally:
        box.lab("down", check=False)
    assert shown.split() == ["here"]


def test_the_kernel_of_this_box_is_set_as_before(
    box: Box, settings_before: dict[str, bytes]
) -> None:
    """The box that was booted, and the labs in it, have changed nothing that all share."""
    assert box.state() == "running", "a unit that was not allowed to write has failed"
    after = kernel_settings()
    assert len(settings_before) > 100
    assert {
        n: (settings_before.get(n), after.get(n))
        for n in settings_before.keys() | after.keys()
        if settings_before.get(n) != after.get(n)
    } == {}
