"""What is read of the control plane on a node, and what never leaves it."""

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from kubeha.facts.control_plane import parse_control_plane
from kubeha.lab.pki import Authorities, issue, new_authorities
from kubeha.node.control_plane import (
    control_plane,
    flags_in,
    parse_flags,
    processes,
    resolve,
    servers_of,
    with_settings,
)
from kubeha.node.etcd import ask_etcd
from kubeha.node.look import fetch


@cache
def authorities() -> Authorities:
    return new_authorities()


@pytest.mark.parametrize(
    ("argv", "flags"),
    [
        (["--a=b", "--c=d=e"], {"a": "b", "c": "d=e"}),
        (["--etcd-servers", "https://x:1", "-v", "2"], {"etcd-servers": "https://x:1", "v": "2"}),
        (["--profiling", "--leader-elect", "false"], {"profiling": "true", "leader-elect": "true"}),
        (["--leader-elect=false", "word"], {"leader-elect": "false"}),
        (["-master=http://127.0.0.1:8080"], {"master": "http://127.0.0.1:8080"}),
        ([], {}),
    ],
    ids=["equals", "spaces", "booleans", "off", "one-dash", "none"],
)
def test_flags_are_read_as_go_reads_them(argv: list[str], flags: dict[str, str]) -> None:
    assert parse_flags(argv) == flags


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("clusters:\n- cluster:\n    server: https://10.0.0.1:6443\n", ["https://10.0.0.1:6443"]),
        ('    "server": "https://[2001:db8::1]:6443",\n', ["https://[2001:db8::1]:6443"]),
        ("    server: 'https://a:1'\n    server: https://a:1\n", ["https://a:1"]),
        ("    server: https://user:secret@a:1\n", ["https://a:1"]),
        ("    server: ''\n    tls-server-name: https://no\n", []),
        ("- {name: x, cluster: {server: https://a:1, insecure: true}}\n", ["https://a:1"]),
        ("", []),
    ],
    ids=["yaml", "json", "twice", "password", "none", "flow", "empty"],
)
def test_only_servers_are_read_of_a_kubeconfig(text: str, urls: list[str]) -> None:
    assert servers_of(text) == urls


def test_flags_of_an_api_server_that_does_not_run() -> None:
    manifest = """
    - --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt
    - --etcd-servers=https://127.0.0.1:2379
    - --etcd-servers-overrides=/events#https://x:1
    """
    assert flags_in(manifest) == {
        "etcd-cafile": "/etc/kubernetes/pki/etcd/ca.crt",
        "etcd-servers": "https://127.0.0.1:2379",
    }
    unit = 'ExecStart=/opt/kube-apiserver --etcd-servers "https://a:1,https://b:1" \\\n --x=y\n'
    assert flags_in(unit) == {"etcd-servers": "https://a:1,https://b:1"}


@contextmanager
def named(tmp_path: Path, *argv: str) -> Iterator[int]:
    """A process that calls itself by the first word."""
    script = 'import sys, time; print("up", flush=True); time.sleep(60)'
    # argv[0] is what counts: a static Pod's binary may have any path.
    process = subprocess.Popen(
        [argv[0], "-c", script, *argv[1:]],
        executable=os.path.realpath("/proc/self/exe"),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
def test_a_cluster_inside_a_pod_is_not_this_machines() -> None:
    inside = ["unshare", "-n", "bash", "-c", "exec -a kube-scheduler sleep 30"]
    with subprocess.Popen(inside) as process:
        try:
            deadline = time.monotonic() + 5
            argv = Path(f"/proc/{process.pid}/cmdline")
            while not argv.read_bytes().startswith(b"kube-scheduler"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert process.pid not in {one.pid for one in processes()}
        finally:
            process.kill()


def test_running_servers_are_found_with_flags_and_settings(tmp_path: Path) -> None:
    settings = tmp_path / "scheduler.yaml"
    settings.write_text(
        "leaderElection:\n  leaderElect: false\nclientConnection:\n  kubeconfig: /srv/a.conf\n"
    )
    with named(tmp_path, "/usr/bin/kube-scheduler", f"--config={settings}", "--secret=s") as pid:
        found = {one.pid: one for one in processes()}
        assert found[pid].name == "kube-scheduler"
        assert found[pid].flags["leader-elect"] == "false"
        assert found[pid].flags["kubeconfig"] == "/srv/a.conf"
        told = control_plane({"etcd": False})
        flags = [one["flags"] for one in told["processes"] if one["name"] == "kube-scheduler"]
        assert {"leader-elect": "false", "kubeconfig": "/srv/a.conf"} in flags
        assert "secret" not in json.dumps(told)
        # Flags win over the file.
        on = with_settings(pid, {"config": str(settings), "leader-elect": "true"})
        assert on["leader-elect"] == "true"


def test_the_kubeconfig_of_a_process_is_found_wherever_it_lies(tmp_path: Path) -> None:
    secret = "client-key-data: c2VjcmV0"
    config = tmp_path / "elsewhere"
    config.write_text(f"cluster:\n  server: https://198.51.100.11:6443\nuser:\n  {secret}\n")
    with named(tmp_path, "kube-proxy", f"--kubeconfig={config}"):
        told = control_plane({"etcd": False})
    assert {
        "path": str(config),
        "servers": [{"url": "https://198.51.100.11:6443", "addresses": ["198.51.100.11"]}],
    } in told["kubeconfigs"]
    assert "c2VjcmV0" not in json.dumps(told)


def test_names_are_resolved_as_the_node_does() -> None:
    known = resolve({"localhost", "does-not-exist.invalid", "198.51.100.7", ""})
    assert set(known["localhost"] or ()) & {"127.0.0.1", "::1"}
    assert known["198.51.100.7"] == ["198.51.100.7"]
    assert known["does-not-exist.invalid"] is None and known[""] is None


class Gateway(BaseHTTPRequestHandler):
    """etcd's JSON gateway, as far as it is asked; the server's `answers` has path -> body."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.server.answers.get(self.path, (404, "not found"))  # type: ignore[attr-defined]
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def gateway(answers: dict[str, tuple[int, str]], directory: Path) -> Iterator[dict[str, str]]:
    """A gateway that wants a client certificate of the etcd CA; yields kube-apiserver's flags."""
    ca = authorities().etcd
    files = {"ca": ca.certificate}
    for name, usage in (("server", Usage.SERVER_AUTH), ("client", Usage.CLIENT_AUTH)):
        pair = issue(ca, name, usages=(usage,), names=("elsewhere",))
        files |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers = answers  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "etcd-servers": f"https://127.0.0.1:{server.server_port}",
            "etcd-cafile": "/ca",
            "etcd-certfile": "/client.crt",
            "etcd-keyfile": "/client.key",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(url: str) -> tuple[int, str]:
    members = [{"ID": "7", "name": "m1", "clientURLs": [url], "peerURLs": [], "isLearner": True}]
    return 200, json.dumps({"members": members})


@pytest.mark.parametrize("version", ["/v3", "/v3beta"])
def test_etcd_is_asked_with_the_api_servers_credentials(version: str, tmp_path: Path) -> None:
    answers: dict[str, tuple[int, str]] = {}
    with gateway(answers, tmp_path) as flags:
        answers[f"{version}/cluster/member/list"] = listing(flags["etcd-servers"])
        state = {"version": "3.5.9", "leader": "7", "errors": ["memberID:7 alarm:NOSPACE "]}
        answers[f"{version}/maintenance/status"] = (200, json.dumps(state))
        seen = ask_etcd(flags, str(tmp_path), 5)
    assert seen["error"] is None
    (member,) = seen["members"]
    assert (member["name"], member["leader"], member["learner"]) == ("m1", "7", True)
    assert (member["down"], member["errors"]) == (False, ["memberID:7 alarm:NOSPACE "])


def test_a_member_that_refuses_to_tell_is_not_down(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, str]] = {}
    with gateway(answers, tmp_path) as flags:
        answers["/v3/cluster/member/list"] = listing(flags["etcd-servers"])
        answers["/v3/maintenance/status"] = (403, "{}")
        told = ask_etcd(flags, str(tmp_path), 5)
        # The client certificate is of another CA: a handshake is refused by somebody.
        (tmp_path / "client.crt").write_bytes(issue_other().certificate)
        (tmp_path / "client.key").write_bytes(issue_other().key)
        refused = ask_etcd(flags, str(tmp_path), 5)
    member = told["members"][0]
    assert (member["down"], member["error"].endswith("HTTP 403")) == (False, True)
    assert parse(told).members[0].answers is None
    assert refused["error"] and not refused["members"]


@cache
def issue_other() -> Any:
    return issue(new_authorities().etcd, "client", usages=(Usage.CLIENT_AUTH,))


def parse(etcd: dict[str, Any]) -> Any:
    whole = parse_control_plane({"processes": [], "kubeconfigs": [], "etcd": etcd})
    assert whole is not None and whole.etcd is not None
    return whole.etcd


def test_nobody_there_is_told_from_a_file_that_is_missing(tmp_path: Path) -> None:
    with gateway({}, tmp_path) as flags:
        pass
    seen = ask_etcd(flags, str(tmp_path), 5)
    assert seen["silent"] and "refused" in seen["error"]
    (tmp_path / "client.key").unlink()
    seen = ask_etcd(flags, str(tmp_path), 5)
    assert not seen["silent"] and "client.key" in seen["error"]
    assert ask_etcd({}, "/", 5)["error"] == "kube-apiserver has no --etcd-servers"


def test_one_that_never_answers_takes_no_longer_than_allowed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, gateway({}, tmp_path) as flags:
        flags["etcd-servers"] = f"https://127.0.0.1:{mute.getsockname()[1]}"
        started = time.monotonic()
        seen = ask_etcd(flags, str(tmp_path), 0.5)
        assert time.monotonic() - started < 1.5
    assert seen["silent"] is True


def test_a_certificate_that_is_refused_is_shown_all_the_same(tmp_path: Path) -> None:
    with gateway({}, tmp_path) as flags:
        port = int(flags["etcd-servers"].rpartition(":")[2])
        ask = {"address": "127.0.0.1", "port": port, "path": "/", "timeout": 5}
        ca = authorities().etcd.certificate.decode()
        name = fetch({**ask, "ca": ca})
        other = fetch({**ask, "ca": authorities().cluster.certificate.decode()})
    shown = (tmp_path / "server.crt").read_text().strip()
    assert (name["error"]["kind"], name["certificate"].strip()) == ("name", shown)
    assert (other["error"]["kind"], other["certificate"].strip()) == ("certificate", shown)
