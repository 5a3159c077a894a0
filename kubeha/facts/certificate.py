"""An X.509 certificate that a server showed: PEM -> what is judged of it (RFC 5280)."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.exceptions import InvalidSignature

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Certificate:
    """Who it is for, who signed it, and when it holds (UTC)."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]
    addresses: tuple[Address, ...]

    def names(self, wanted: Address | str) -> bool:
        """Is this address or DNS name among its subject alternative names?

        As Go's crypto/x509 and OpenSSL have it: an address must be there as an address, the
        common name does not count, a wildcard stands for one whole first label.
        """
        if not isinstance(wanted, str):
            return wanted in self.addresses
        name = wanted.lower().rstrip(".")
        parent = name.partition(".")[2]
        return any(
            mine == name or (bool(parent) and mine == f"*.{parent}")
            for mine in (each.lower().rstrip(".") for each in self.dns_names)
        )

    @property
    def alternatives(self) -> str:
        """All its names, as evidence."""
        return ", ".join([*self.dns_names, *map(str, self.addresses)]) or "no names at all"


@lru_cache(maxsize=64)
def parse_certificate(pem: str | None) -> Certificate | None:
    """The first certificate of a PEM text; None if there is none that can be read."""
    certificate = _load(pem)
    if certificate is None:
        return None
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        dns_names = extension.value.get_values_for_type(x509.DNSName)
        addresses = extension.value.get_values_for_type(x509.IPAddress)
    except (x509.ExtensionNotFound, ValueError):
        dns_names, addresses = [], []
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        dns_names=tuple(dns_names),
        addresses=tuple(one for one in addresses if isinstance(one, IPv4Address | IPv6Address)),
    )


def signed_by(pem: str | None, authorities: str) -> bool | None:
    """Was it signed by one of these CAs (PEM, one or more)? None if that cannot be told."""
    certificate = _load(pem)
    try:
        issuers = x509.load_pem_x509_certificates(authorities.encode())
    except ValueError:
        return None
    if certificate is None:
        return None
    return any(_signed(certificate, issuer) for issuer in issuers)


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _load(pem: str | None) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode()) if pem else None
    except ValueError:
        return None
