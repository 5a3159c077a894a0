"""The cluster's certificates, keys and kubeconfigs, laid out and named as kubeadm does.

https://kubernetes.io/docs/setup/best-practices/certificates/. Keys are ECDSA P-256 (kubeadm's
encryptionAlgorithm ECDSA-P256): made in a moment, and cheap on a box that runs three servers.
The authorities live with the lab, not on a machine; each machine gets what it needs when its
control plane is started. Nothing here touches a machine.
"""

import base64
import datetime
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

SERVICE_ADDRESS = "10.96.0.1"
CLUSTER_NAME = "kubernetes"
ENDPOINT_PORT = 8443
PKI = "etc/kubernetes/pki"

_CA_DAYS, _LEAF_DAYS = 3650, 365  # as kubeadm
_SERVICE_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class NodeNames:
    """A control plane machine: its name and every address of its own."""

    name: str
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """The address that the other machines use."""
        return self.addresses[0]


@dataclass(frozen=True)
class Endpoint:
    """What clients connect to. `names` are DNS names beside the VIPs."""

    vips: tuple[str, ...]
    port: int = ENDPOINT_PORT
    names: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"https://{host_port(self.vips[0], self.port)}"


@dataclass(frozen=True)
class Pair:
    """A certificate (PEM) and its key (PEM, PKCS #8)."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class SecretFile:
    """A file for a machine: path relative to its root."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o600


@dataclass(frozen=True)
class Authorities:
    """All that the machines share: three CAs and the key that signs service account tokens."""

    cluster: Pair
    front_proxy: Pair
    etcd: Pair
    service_accounts: Pair


def new_authorities() -> Authorities:
    """Fresh random authorities, valid for ten years."""
    return Authorities(
        cluster=_authority("kubernetes"),
        front_proxy=_authority("front-proxy-ca"),
        etcd=_authority("etcd-ca"),
        service_accounts=_key_pair(),
    )


_FILES = {
    "cluster": ("ca.crt", "ca.key"),
    "front_proxy": ("front-proxy-ca.crt", "front-proxy-ca.key"),
    "etcd": ("etcd/ca.crt", "etcd/ca.key"),
    "service_accounts": ("sa.pub", "sa.key"),
}


def load_authorities(directory: Path) -> Authorities | None:
    """The authorities kept in `directory`, or None when there are none yet."""
    if not (directory / "sa.key").exists():
        return None
    pairs = {
        name: Pair((directory / certificate).read_bytes(), (directory / key).read_bytes())
        for name, (certificate, key) in _FILES.items()
    }
    return Authorities(**pairs)


def save_authorities(authorities: Authorities, directory: Path) -> None:
    """Keep the authorities; the last file written is the one that `load_authorities` asks for."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in authority_files(authorities):
        place = directory / Path(file.path).relative_to(PKI)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.touch(mode=file.mode)
        place.write_bytes(file.content)


def authority_files(authorities: Authorities) -> tuple[SecretFile, ...]:
    """The shared files of /etc/kubernetes/pki, as `kubeadm init --upload-certs` hands them on."""
    files = list[SecretFile]()
    for name, (certificate, key) in _FILES.items():
        pair: Pair = getattr(authorities, name)
        files.append(SecretFile(f"{PKI}/{certificate}", pair.certificate, 0o644))
        files.append(SecretFile(f"{PKI}/{key}", pair.key))
    return tuple(files)


def server_names(endpoint: Endpoint, nodes: Iterable[NodeNames]) -> tuple[str, ...]:
    """Every name and address under which an API server may be called, each once."""
    names = [*_SERVICE_NAMES, "localhost", *endpoint.names]
    addresses = [SERVICE_ADDRESS, "127.0.0.1", "::1", *endpoint.vips]
    for node in nodes:
        names.append(node.name)
        addresses += node.addresses
    return tuple(dict.fromkeys([*names, *addresses]))


def node_files(
    authorities: Authorities, node: NodeNames, endpoint: Endpoint, nodes: Iterable[NodeNames]
) -> tuple[SecretFile, ...]:
    """Everything below /etc/kubernetes of one control plane machine but its manifests."""
    local = f"https://{host_port(node.address, 6443)}"
    cluster = authorities.cluster
    components = {
        "controller-manager": "system:kube-controller-manager",
        "scheduler": "system:kube-scheduler",
    }
    files = [*authority_files(authorities), *_certificates(authorities, node, endpoint, nodes)]
    for name, user in components.items():
        client = issue(cluster, user, usages=(Usage.CLIENT_AUTH,))
        config = kubeconfig(local, cluster.certificate, client, user)
        files.append(SecretFile(f"etc/kubernetes/{name}.conf", config))
    return (*files, *client_files(authorities, endpoint))


def client_files(authorities: Authorities, endpoint: Endpoint) -> tuple[SecretFile, ...]:
    """What lets a machine's root use kubectl through the endpoint."""
    admin = admin_kubeconfig(authorities, endpoint)
    return (
        SecretFile(f"{PKI}/ca.crt", authorities.cluster.certificate, 0o644),
        SecretFile("etc/kubernetes/admin.conf", admin),
        SecretFile("root/.kube/config", admin),
    )


def admin_kubeconfig(authorities: Authorities, endpoint: Endpoint) -> bytes:
    """A cluster administrator's kubeconfig for the endpoint."""
    user = "kubernetes-admin"
    client = issue(
        authorities.cluster, user, groups=("system:masters",), usages=(Usage.CLIENT_AUTH,)
    )
    return kubeconfig(endpoint.url, authorities.cluster.certificate, client, user)


def _certificates(
    authorities: Authorities, node: NodeNames, endpoint: Endpoint, nodes: Iterable[NodeNames]
) -> Iterable[SecretFile]:
    """A machine's own certificates, with their keys."""
    client, server = (Usage.CLIENT_AUTH,), (Usage.SERVER_AUTH,)
    masters = ("system:masters",)
    etcd_names = (node.name, *node.addresses, "localhost", "127.0.0.1", "::1")
    api_names = server_names(endpoint, nodes)
    ca, etcd = authorities.cluster, authorities.etcd
    pairs = {
        "apiserver": issue(ca, "kube-apiserver", names=api_names, usages=server),
        "apiserver-kubelet-client": issue(
            ca, "kube-apiserver-kubelet-client", groups=masters, usages=client
        ),
        "front-proxy-client": issue(authorities.front_proxy, "front-proxy-client", usages=client),
        "apiserver-etcd-client": issue(etcd, "kube-apiserver-etcd-client", usages=client),
        "etcd/server": issue(etcd, node.name, names=etcd_names, usages=(*server, *client)),
        "etcd/peer": issue(etcd, node.name, names=etcd_names, usages=(*server, *client)),
        "etcd/healthcheck-client": issue(etcd, "kube-etcd-healthcheck-client", usages=client),
    }
    for name, pair in pairs.items():
        yield SecretFile(f"{PKI}/{name}.crt", pair.certificate, 0o644)
        yield SecretFile(f"{PKI}/{name}.key", pair.key)


def issue(
    authority: Pair,
    name: str,
    *,
    usages: Iterable[x509.ObjectIdentifier],
    groups: Iterable[str] = (),
    names: Iterable[str] = (),
) -> Pair:
    """A certificate for `name`, member of `groups`, valid for `names` (DNS names, addresses)."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(name, groups), _LEAF_DAYS)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if alternatives := [_alternative(alternative) for alternative in names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _pair(builder.sign(signer, hashes.SHA256()), key)


def _authority(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name, ())
    certificate = (
        _builder(subject, _CA_DAYS)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def _builder(subject: x509.Name, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(x509.random_serial_number())
        # The clocks of machines that come up together may differ by a little.
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _subject(name: str, groups: Iterable[str]) -> x509.Name:
    """Kubernetes reads the user from the common name and the groups from the organizations."""
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=signs,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def _key_pair() -> Pair:
    """A key and its public half: tokens are signed with the one and checked with the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(public, _private_pem(key))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def kubeconfig(server: str, ca: bytes, client: Pair, user: str) -> bytes:
    """A kubeconfig with everything embedded."""
    fields: Mapping[str, str] = {
        "server": server,
        "ca": base64.b64encode(ca).decode(),
        "certificate": base64.b64encode(client.certificate).decode(),
        "key": base64.b64encode(client.key).decode(),
        "user": user,
        "context": f"{user}@{CLUSTER_NAME}",
        "cluster": CLUSTER_NAME,
    }
    return _KUBECONFIG.format(**fields).encode()


_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {context}
  context:
    cluster: {cluster}
    user: {user}
current-context: {context}
"""


def host_port(address: str, port: int) -> str:
    """Join them as URLs do (RFC 3986): an IPv6 address goes into brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
