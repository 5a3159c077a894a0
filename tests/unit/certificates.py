"""Certificates for the tests: any validity, any names, any signer."""

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubeha.lab.pki import Pair


@dataclass(frozen=True)
class Wanted:
    """A certificate for an API server: valid from `start` to `days` days from `now`."""

    authority: Pair
    names: tuple[str, ...]
    start: float = -1.0
    days: float = 365.0


def issued(wanted: Wanted, now: datetime.datetime | None = None) -> tuple[str, str]:
    """A certificate and its key, as PEM; `now` is this moment if it is not given."""
    issuer = x509.load_pem_x509_certificate(wanted.authority.certificate)
    signer = serialization.load_pem_private_key(wanted.authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = now or datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
        .issuer_name(issuer.subject)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(now + datetime.timedelta(days=wanted.start))
        .not_valid_after(now + datetime.timedelta(days=wanted.days))
        .add_extension(x509.SubjectAlternativeName(list(map(_name, wanted.names))), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
