"""Read credentials out of a kubeconfig: pure, of text to Credentials."""

import base64
import binascii
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kubeha.errors import KubehaError
from kubeha.remote import Credentials

_INLINE = {
    "ca": ("cluster", "certificate-authority"),
    "certificate": ("user", "client-certificate"),
    "key": ("user", "client-key"),
}
_HINT = "name a kubeconfig with a client certificate or a token, such as admin.conf of kubeadm"


class KubeconfigError(KubehaError):
    """A kubeconfig cannot be used."""


def referenced(text: str) -> tuple[str, ...]:
    """Paths of files that the kubeconfig names instead of having their content in itself."""
    context = _context(text)
    paths = [context[part].get(name) for part, name in _INLINE.values()]
    paths.append(context["user"].get("tokenFile"))
    return tuple(path for path in paths if isinstance(path, str))


def credentials(text: str, files: Mapping[str, str] | None = None) -> Credentials:
    """The credentials of the current context; `files` has what `referenced` names.

    Raises KubeconfigError when there are none that can be used from another program.
    """
    context = _context(text)
    pem = {
        field: _material(context[part], name, files or {})
        for field, (part, name) in _INLINE.items()
    }
    user = context["user"]
    token = user.get("token") or (files or {}).get(str(user.get("tokenFile", "")))
    if not pem["ca"]:
        raise KubeconfigError("kubeconfig: no certificate-authority in it", hint=_HINT)
    if not token and not (pem["certificate"] and pem["key"]):
        raise KubeconfigError("kubeconfig: neither a client certificate nor a token", hint=_HINT)
    return Credentials(
        pem["ca"], pem["certificate"], pem["key"], str(token).strip() if token else None
    )


def _context(text: str) -> dict[str, dict[str, Any]]:
    """The cluster and the user of the current context."""
    try:
        data = YAML(typ="safe", pure=True).load(StringIO(text))
    except (YAMLError, ValueError, RecursionError) as error:
        raise KubeconfigError("kubeconfig: not YAML", hint=_HINT) from error
    if not isinstance(data, dict):
        raise KubeconfigError("kubeconfig: not a mapping", hint=_HINT)
    context = _named(data, "contexts", data.get("current-context"), "context")
    return {
        "cluster": _named(data, "clusters", context.get("cluster"), "cluster"),
        "user": _named(data, "users", context.get("user"), "user"),
    }


def _named(data: dict[str, Any], section: str, name: object, field: str) -> dict[str, Any]:
    entries = data.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            value = entry.get(field)
            if isinstance(value, dict):
                return value
    raise KubeconfigError(f"kubeconfig: no {field} named {name} in {section}", hint=_HINT)


def _material(entry: dict[str, Any], name: str, files: Mapping[str, str]) -> str | None:
    inline = entry.get(f"{name}-data")
    if inline is None:
        return files.get(str(entry.get(name)))
    try:
        return base64.b64decode(str(inline), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise KubeconfigError(
            f"kubeconfig: {name}-data is not base64 of PEM", hint=_HINT
        ) from error
