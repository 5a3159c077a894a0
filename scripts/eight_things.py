#!/usr/bin/env python3
"""What `kubeha check` prints when eight things are wrong at once, on real machines in the lab.

Root, and half a minute; nothing is left behind. `scripts/terminal_session.py check` draws it.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

KUBEHA = str(Path(sys.executable).with_name("kubeha"))
NAME = f"eight-{os.getpid()}"
FOREIGN = "mkdir -p /etc/haproxy; printf 'global\\n    daemon\\n' >/etc/haproxy/haproxy.cfg"
REGISTRY = "systemd-run -q --unit registry python3 -m http.server 8443"
# Beside them the eighth, which is to be expected: there is no cluster yet.
FAULTS = (("vip-stolen",), ("rogue-vrrp",), ("filter-vrrp", "m3"), ("mtu", "m2"))
BROKEN = (
    ("m1", FOREIGN),
    ("m2", REGISTRY),
    ("m3", REGISTRY),
    ("m2", "systemctl mask keepalived"),
)
CHECK = ("check", "--ignore", "KH602=kubeadm init comes next")


def main() -> int:
    """Exit status 1: it has to find something."""
    # Whatever ends this, a closed terminal too: the machines are taken away.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as directory:
        try:
            lab(directory, "up", "--kubernetes", "none")
            for fault in FAULTS:
                lab(directory, "fault", *fault)
            for machine, line in BROKEN:
                lab(directory, "exec", machine, "--", "sh", "-c", line)
            print(f"$ kubeha {shlex.join(CHECK)}", flush=True)
            file = f"{directory}/.lab/{NAME}/kubeha.yaml"
            return subprocess.run([KUBEHA, "-f", file, *CHECK], check=False).returncode
        finally:
            lab(directory, "down")


def lab(directory: str, verb: str, *arguments: str) -> None:
    """A verb of the lab, in silence unless it fails."""
    command = [KUBEHA, "lab", verb, "--name", NAME, *arguments]
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
