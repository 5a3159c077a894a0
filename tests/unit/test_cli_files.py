"""init, schema and render, as an operator runs them: stdout, stderr, exit code, files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubeha.__main__ import main

GOLDEN = Path(__file__).parents[1] / "golden"
INIT = ["init", "--cluster", "prod", "--vip", "198.51.100.10"]
NODES = ["m1=198.51.100.11", "m2=198.51.100.12", "m3=198.51.100.13"]


@pytest.fixture
def kubeha(tmp_path, monkeypatch, capsys):
    """Runs kubeha's entry point in an empty directory; status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kubeha", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_init_writes_the_file_of_the_examples(kubeha, tmp_path):
    assert kubeha(*INIT, *NODES) == (0, "", "wrote kubeha.yaml; next: kubeha check\n")
    written = (tmp_path / "kubeha.yaml").read_text()
    assert written == (GOLDEN / "three-nodes/kubeha.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["kubeha.yaml"]


def test_init_does_not_overwrite(kubeha, tmp_path):
    (tmp_path / "kubeha.yaml").write_text("mine")
    assert kubeha(*INIT, *NODES) == (
        2,
        "",
        "error: kubeha.yaml exists already\nhint: overwrite it with --force\n",
    )
    assert (tmp_path / "kubeha.yaml").read_text() == "mine"
    assert kubeha(*INIT, "--force", *NODES)[0] == 0
    assert (tmp_path / "kubeha.yaml").read_text().startswith("# The control plane endpoint")


def test_init_to_standard_output(kubeha):
    status, out, err = kubeha(*INIT, "-o", "-", *NODES)
    assert (status, err) == (0, "")
    assert out == (GOLDEN / "three-nodes/kubeha.yaml").read_text()


def test_init_refuses_what_would_not_load(kubeha, tmp_path):
    assert kubeha(*INIT, "m1=198.51.100.10", "m1=x", "--port", "6443") == (
        2,
        "",
        "error: no cluster file can be written from these values\n"
        "  control_plane[1].address: must be an IPv4 or IPv6 address without a prefix length, "
        'not "x"\n'
        "  control_plane[1].name: m1 is also control_plane[0].name\n"
        "  endpoint.vip: 198.51.100.10 is the address of m1 "
        "(the VIP moves between the nodes: take a free address of their network)\n"
        "  endpoint.port: is 6443, as api_port is: HAProxy and the API server cannot both listen "
        "there on m1 (take another, such as 8443, or list dedicated load_balancers)\n"
        "hint: see: kubeha init --help\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_init_wants_pairs(kubeha):
    assert kubeha(*INIT, "m1:198.51.100.11") == (
        2,
        "",
        "error: m1:198.51.100.11: not NAME=ADDRESS\nhint: such as m1=198.51.100.11\n",
    )


def test_schema_is_json(kubeha):
    status, out, err = kubeha("schema")
    assert (status, err) == (0, "")
    assert json.loads(out)["title"] == "kubeha cluster file"


def test_render_writes_a_tree_per_node(kubeha, tmp_path):
    file = str(GOLDEN / "three-nodes/kubeha.yaml")
    ca = str(GOLDEN / "ca.pem")
    assert kubeha("-f", file, "render", "-o", "out", "--interface", "eth0", "--ca", ca) == (
        0,
        "",
        "wrote out/m1\nwrote out/m2\nwrote out/m3\n",
    )
    for node in ("m1", "m2", "m3"):
        path = "etc/keepalived/keepalived.conf"
        written = (tmp_path / "out" / node / path).read_text()
        assert written == (GOLDEN / "three-nodes" / node / path).read_text()
    script = tmp_path / "out/m1/etc/kubeha/holder"
    assert script.stat().st_mode & 0o777 == 0o755


def test_render_needs_an_interface(kubeha, tmp_path):
    file = str(GOLDEN / "three-nodes/kubeha.yaml")
    hint = "hint: name it with --interface, or vrrp.interface in the cluster file\n"
    assert kubeha("-f", file, "render", "-o", "out") == (
        2,
        "",
        f"error: no interface is known for m1\n{hint}",
    )
    assert kubeha("-f", file, "render", "-o", "out", "--interface", "a b") == (
        2,
        "",
        f"error: a b: not an interface name\n{hint}",
    )
    assert not (tmp_path / "out").exists()


def test_a_cluster_file_that_is_not_there_names_init(kubeha):
    assert kubeha("render", "-o", "out") == (
        2,
        "",
        "error: kubeha.yaml: there is no such file\n"
        "hint: write one with: kubeha init --cluster NAME --vip ADDRESS m1=ADDRESS m2=ADDRESS "
        "m3=ADDRESS, or name another with -f\n",
    )


def test_a_cluster_file_that_is_a_directory(kubeha):
    assert kubeha("-f", "/", "render", "-o", "out") == (
        2,
        "",
        "error: /: is a directory\nhint: name the file in it with -f\n",
    )


def test_every_problem_is_printed_with_its_place(kubeha, tmp_path):
    (tmp_path / "kubeha.yaml").write_text("cluster: prod\nendpoint: {vip: 1.2.3}\n")
    assert kubeha("render", "-o", "out") == (
        2,
        "",
        "error: kubeha.yaml: 2 problems\n"
        "  kubeha.yaml:1:1: control_plane: is missing\n"
        "  kubeha.yaml:2:12: endpoint.vip: must be an IPv4 or IPv6 address without a prefix "
        'length, not "1.2.3"\n'
        "hint: every key is described in docs/configuration.md and by: kubeha schema\n",
    )


def test_a_warning_goes_to_standard_error(kubeha):
    file = str(GOLDEN / "one-node/kubeha.yaml")
    status, out, err = kubeha("-f", file, "render", "-o", "out", "--interface", "eth0")
    assert (status, out) == (0, "")
    assert err.startswith(f"warning: {file}:11:1: control_plane: only one load balancer node:")


def test_external_load_balancers_are_reserved(kubeha, tmp_path):
    text = (GOLDEN / "three-nodes/kubeha.yaml").read_text() + "load_balancers: external\n"
    (tmp_path / "kubeha.yaml").write_text(text)
    status, _, err = kubeha("render", "-o", "out")
    assert status == 2
    assert err == (
        "error: kubeha.yaml: load_balancers: external is reserved:"
        " there is nothing for kubeha to run\n"
        "hint: name the machines that shall run HAProxy and keepalived, or leave it out\n"
    )


@pytest.mark.parametrize("words", [["explain"], ["explain", "KH301"], ["schema"], ["--help"]])
def test_a_disk_that_is_full(words: list[str]) -> None:
    """The answer is lost, and that is said; no traceback."""
    program = [sys.executable, "-m", "kubeha", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "error: No space left on device\n"
    assert done.returncode == 3
