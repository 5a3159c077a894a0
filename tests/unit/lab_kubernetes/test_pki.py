"""Certificates, as a verifier that is not ours sees them (cryptography's path validation)."""

import base64
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from ruamel.yaml import YAML

from kubeha.lab import pki
from kubeha.lab.pki import Authorities, Endpoint, NodeNames, SecretFile

NODES = (
    NodeNames("m1", ("198.51.100.11", "2001:db8::11")),
    NodeNames("m2", ("198.51.100.12", "2001:db8::12")),
)
ENDPOINT = Endpoint(("198.51.100.10", "2001:db8::10"), names=("api.example",))


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return pki.new_authorities()


@pytest.fixture(scope="module")
def files(authorities: Authorities) -> dict[str, SecretFile]:
    made = pki.node_files(authorities, NODES[0], ENDPOINT, NODES)
    return {file.path.removeprefix("etc/kubernetes/"): file for file in made}


def certificate(file: SecretFile) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.content)


def verify_server(shown: SecretFile, ca: SecretFile, name: str) -> None:
    store = Store([certificate(ca)])
    builder = PolicyBuilder().store(store)
    builder.build_server_verifier(subject(name)).verify(certificate(shown), [])


def subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.mark.parametrize("name", pki.server_names(ENDPOINT, NODES))
def test_the_api_server_is_known_by_all_its_names(files: dict[str, SecretFile], name: str) -> None:
    verify_server(files["pki/apiserver.crt"], files["pki/ca.crt"], name)


def test_the_names_are_complete() -> None:
    expected = {"kubernetes.default.svc", "api.example", "m1", "m2", "127.0.0.1", "10.96.0.1"}
    addresses = {*ENDPOINT.vips, *NODES[0].addresses, *NODES[1].addresses}
    assert expected | addresses <= set(pki.server_names(ENDPOINT, NODES))


def test_no_other_name_is_accepted(files: dict[str, SecretFile]) -> None:
    with pytest.raises(VerificationError):
        verify_server(files["pki/apiserver.crt"], files["pki/ca.crt"], "198.51.100.99")


def test_another_authority_is_not_accepted(files: dict[str, SecretFile]) -> None:
    with pytest.raises(VerificationError):
        verify_server(files["pki/apiserver.crt"], files["pki/etcd/ca.crt"], "m1")


@pytest.mark.parametrize("name", ["m1", "198.51.100.11", "2001:db8::11", "127.0.0.1"])
@pytest.mark.parametrize("role", ["server", "peer"])
def test_etcd_is_known_by_its_own_names(files: dict[str, SecretFile], role: str, name: str) -> None:
    verify_server(files[f"pki/etcd/{role}.crt"], files["pki/etcd/ca.crt"], name)


def test_etcd_does_not_pass_for_another_machine(files: dict[str, SecretFile]) -> None:
    with pytest.raises(VerificationError):
        verify_server(files["pki/etcd/peer.crt"], files["pki/etcd/ca.crt"], "m2")


def test_every_key_fits_its_certificate(files: dict[str, SecretFile]) -> None:
    pairs = [path for path in files if path.endswith(".crt")]
    assert len(pairs) == 10
    for path in pairs:
        key = files[path.replace(".crt", ".key")].content
        private = serialization.load_pem_private_key(key, None)
        assert private.public_key() == certificate(files[path]).public_key(), path


def test_keys_and_kubeconfigs_are_secret(files: dict[str, SecretFile]) -> None:
    for path, file in files.items():
        secret = not path.endswith((".crt", ".pub"))
        assert file.mode == (0o600 if secret else 0o644), path


@pytest.mark.parametrize(
    ("name", "user", "group", "server"),
    [
        ("admin", "kubernetes-admin", "system:masters", "https://198.51.100.10:8443"),
        (
            "controller-manager",
            "system:kube-controller-manager",
            None,
            "https://198.51.100.11:6443",
        ),
        ("scheduler", "system:kube-scheduler", None, "https://198.51.100.11:6443"),
    ],
)
def test_kubeconfigs(
    files: dict[str, SecretFile], name: str, user: str, group: str | None, server: str
) -> None:
    config = YAML(typ="safe").load(files[f"{name}.conf"].content)
    assert config["current-context"] == f"{user}@kubernetes"
    cluster = config["clusters"][0]["cluster"]
    assert cluster["server"] == server
    assert base64.b64decode(cluster["certificate-authority-data"]) == files["pki/ca.crt"].content
    shown = config["users"][0]["user"]["client-certificate-data"]
    subject = x509.load_pem_x509_certificate(base64.b64decode(shown)).subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [user]
    groups = [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ([group] if group else [])


def test_a_client_gets_no_key_of_an_authority(authorities: Authorities) -> None:
    made = {file.path for file in pki.client_files(authorities, ENDPOINT)}
    assert made == {
        "etc/kubernetes/pki/ca.crt",
        "etc/kubernetes/admin.conf",
        "root/.kube/config",
    }


def test_authorities_are_kept(tmp_path: Path, authorities: Authorities) -> None:
    directory = tmp_path / "pki"
    assert pki.load_authorities(directory) is None
    pki.save_authorities(authorities, directory)
    assert pki.load_authorities(directory) == authorities
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "ca.key").stat().st_mode) == 0o600


def test_interrupted_saving_is_not_taken_for_authorities(
    tmp_path: Path, authorities: Authorities
) -> None:
    pki.save_authorities(authorities, tmp_path)
    (tmp_path / "sa.key").unlink()
    assert pki.load_authorities(tmp_path) is None


def test_secrets_do_not_show_in_a_representation(authorities: Authorities) -> None:
    assert "PRIVATE KEY" not in repr(authorities)


@pytest.mark.parametrize(
    ("address", "joined"),
    [("198.51.100.10", "198.51.100.10:8443"), ("2001:db8::10", "[2001:db8::10]:8443")],
)
def test_host_port(address: str, joined: str) -> None:
    assert pki.host_port(address, 8443) == joined
