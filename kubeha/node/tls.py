"""TLS as a client of the API server, for everything on a node that speaks it."""

import os
import ssl
import tempfile
from typing import Optional


def client_context(
    ca: Optional[str], certificate: Optional[str] = None, key: Optional[str] = None
) -> ssl.SSLContext:
    """Trust this CA (PEM) and nobody else; without one nothing is verified. PEM of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(cadata=ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate and key:
        _load_pair(context, certificate + "\n" + key)
    return context


def _load_pair(context: ssl.SSLContext, pem: str) -> None:
    """OpenSSL reads keys from files only: this one is ours alone, and gone at once."""
    directory = "/run" if os.access("/run", os.W_OK) else None
    descriptor, path = tempfile.mkstemp(prefix="kubeha-", dir=directory)  # 0600
    try:
        with open(descriptor, "w") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
