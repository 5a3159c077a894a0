"""SELinux on a node, from its file system (selinuxfs): raw text -> values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeha.remote import FileState

_ROOT = "/sys/fs/selinux"
# HAProxy may connect to any TCP port; keepalived, too (for its checks of real servers).
BOOLEANS = ("haproxy_connect_any", "keepalived_connect_any")
FILES = (f"{_ROOT}/enforce", *(f"{_ROOT}/booleans/{name}" for name in BOOLEANS))


@dataclass(frozen=True)
class SELinux:
    """Is it enforcing, and the booleans that its policy knows: name -> on."""

    enforcing: bool
    booleans: Mapping[str, bool] = field(default_factory=dict)


def parse(files: Mapping[str, FileState]) -> SELinux | None:
    """None where there is no SELinux, or where it cannot be read."""
    texts = {path: (files[path].content or "") for path in FILES if path in files}
    mode = texts.get(FILES[0], "").strip()
    if mode not in ("0", "1"):
        return None
    # A boolean's file has two numbers: the value now, and the one that waits for a commit.
    values = {name: texts.get(f"{_ROOT}/booleans/{name}", "").split() for name in BOOLEANS}
    return SELinux(mode == "1", {name: value[0] == "1" for name, value in values.items() if value})
