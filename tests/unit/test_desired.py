"""What a node should have, and what it must not."""

import pytest

from kubeha.desired import MARK, Site, certificates_only, desired_node
from kubeha.errors import ConfigError
from kubeha.model import Cluster

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nAAA=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"


def cluster(count: int = 3, **values: object) -> Cluster:
    nodes = tuple({"name": f"m{i}", "address": f"198.51.100.1{i}"} for i in range(1, count + 1))
    tree = {"cluster": "prod", "endpoint": {"vip": "198.51.100.10"}, "control_plane": nodes}
    return Cluster.model_validate(tree | values)


def files(ca: str | None = CERTIFICATE) -> dict[str, str]:
    node = desired_node(cluster(), "m1", Site("eth0", 10, ca))
    return {file.path: file.content for file in node.files}


def test_every_file_says_who_wrote_it_in_its_first_lines():
    for path, text in files().items():
        assert any(MARK in line for line in text.splitlines()[:3]), path


def test_every_file_has_a_reason_and_belongs_to_root():
    for file in desired_node(cluster(), "m1", Site("eth0", 10, None)).files:
        assert (bool(file.reason), file.owner, file.group) == (True, "root", "root")
        assert file.mode == (0o755 if file.content.startswith("#!") else 0o644)


def test_bootstrap_has_no_ca_and_checks_ports_only():
    bootstrap = files(ca=None)
    assert set(files()) - set(bootstrap) == {"/etc/haproxy/kube-ca.pem"}
    assert "readyz over TLS" in bootstrap["/etc/haproxy/haproxy.cfg"]
    assert "ca-file" not in bootstrap["/etc/haproxy/haproxy.cfg"]


def test_nothing_but_certificates_leaves_the_ca_file():
    text = certificates_only(f"subject=x\r\n{CERTIFICATE}{KEY}{CERTIFICATE}".replace("\n", "\r\n"))
    assert text.count("BEGIN CERTIFICATE") == 2
    assert "SECRET" not in text
    assert "\r" not in text
    assert text.splitlines()[0].startswith("# Written by kubeha")


@pytest.mark.parametrize("text", ["", KEY, "-----BEGIN CERTIFICATE-----\n"])
def test_a_ca_without_certificate_is_refused(text):
    with pytest.raises(ConfigError, match="the cluster's CA holds no certificate"):
        desired_node(cluster(), "m1", Site("eth0", 10, text))


def test_only_load_balancer_nodes_have_files():
    with pytest.raises(ConfigError, match="m9 is not a load balancer node"):
        desired_node(cluster(), "m9", Site("eth0", 10, None))


@pytest.mark.parametrize("name", ["eth0\n", "eth0 x", "eth0;", "$(id)", '"', "a{b"])
def test_an_interface_that_would_break_out_is_not_rendered(name):
    with pytest.raises(ValueError, match="not allowed in a rendered file"):
        desired_node(cluster(), "m1", Site(name, 10, None))


def test_enough_descriptors_for_every_connection():
    big = cluster(haproxy={"max_connections": 50_000})
    node = desired_node(big, "m1", Site("eth0", 10, None))
    texts = {file.path: file.content for file in node.files}
    drop_in = texts["/etc/systemd/system/haproxy.service.d/10-kubeha.conf"]
    assert "LimitNOFILE=101000\n" in drop_in
    assert "    maxconn 50000\n" in texts["/etc/haproxy/haproxy.cfg"]
