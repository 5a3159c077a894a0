"""Credentials out of kubeconfigs as kubeadm, kubelets and people write them."""

import base64

import pytest

from kubeha.kubeconfig import KubeconfigError, credentials, referenced
from kubeha.remote import Credentials

CA, CERT, KEY = ("-----BEGIN A-----\nca\n", "-----BEGIN B-----\ncert\n", "-----BEGIN C-----\nkey\n")


def data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(cluster: str, user: str, current: str = "it") -> str:
    return f"""
apiVersion: v1
kind: Config
current-context: {current}
contexts:
- {{name: other, context: {{cluster: there, user: them}}}}
- {{name: it, context: {{cluster: here, user: me}}}}
clusters:
- {{name: there, cluster: {{certificate-authority-data: {data("wrong")}}}}}
- {{name: here, cluster: {{{cluster}}}}}
users:
- {{name: them, user: {{token: wrong}}}}
- {{name: me, user: {{{user}}}}}
"""


INLINE_CA = f"certificate-authority-data: {data(CA)}"
PAIR = f"client-certificate-data: {data(CERT)}, client-key-data: {data(KEY)}"


def test_data_within_as_kubeadm_writes_it() -> None:
    text = kubeconfig(INLINE_CA, PAIR)
    assert credentials(text) == Credentials(CA, CERT, KEY)
    assert referenced(text) == ()


def test_files_beside_as_kubelets_have_them() -> None:
    text = kubeconfig("certificate-authority: /ca", "client-certificate: /pem, client-key: /pem")
    assert referenced(text) == ("/ca", "/pem", "/pem")
    assert credentials(text, {"/ca": CA, "/pem": CERT + KEY}) == Credentials(
        CA, CERT + KEY, CERT + KEY
    )


def test_tokens_of_service_accounts() -> None:
    assert credentials(kubeconfig(INLINE_CA, "token: secret")).token == "secret"
    assert credentials(kubeconfig(INLINE_CA, "token: 12345")).token == "12345"
    text = kubeconfig(INLINE_CA, "tokenFile: /token")
    assert referenced(text) == ("/token",)
    assert credentials(text, {"/token": "secret\n"}).token == "secret"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kubeconfig: not a mapping"),
        ("a: [", "kubeconfig: not YAML"),
        ("- 1", "kubeconfig: not a mapping"),
        ("a: " + "[" * 5000, "kubeconfig: not YAML"),
        ("a: 2001-13-45", "kubeconfig: not YAML"),
        ("contexts: 1", "kubeconfig: no context named None in contexts"),
        (kubeconfig(INLINE_CA, PAIR, current="none"), "no context named none in contexts"),
        (kubeconfig("server: x", PAIR), "no certificate-authority in it"),
        (kubeconfig(INLINE_CA, "exec: {command: aws}"), "neither a client certificate nor a token"),
        (kubeconfig(INLINE_CA, f"client-key-data: {data(KEY)}"), "neither a client certificate"),
        (kubeconfig("certificate-authority-data: '?'", PAIR), "-data is not base64 of PEM"),
    ],
)
def test_what_cannot_be_used_is_said(text: str, message: str) -> None:
    with pytest.raises(KubeconfigError, match=message) as caught:
        credentials(text)
    assert "admin.conf" in caught.value.hint


def test_secrets_stay_out_of_what_is_printed() -> None:
    shown = repr(credentials(kubeconfig(INLINE_CA, f"{PAIR}, token: secret")))
    assert "secret" not in shown and "BEGIN C" not in shown
