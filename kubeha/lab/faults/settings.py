"""Settings of a fault: what can be said, what it is when nothing is said, and what is refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from kubeha.config import parse
from kubeha.errors import UsageError
from kubeha.lab.lab import Lab
from kubeha.model import Cluster
from kubeha.vrrp import derived_vrid

# Values as text, complete and valid: what faults.json has.
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """`parse` raises ValueError for what cannot be; `default` may depend on the lab."""

    meaning: str
    parse: Callable[[str], object]
    default: str | Callable[[Lab], str]

    def default_in(self, lab: Lab) -> str:
        return self.default if isinstance(self.default, str) else self.default(lab)

    @property
    def shown_default(self) -> str:
        """The default for the documentation, where there is no lab."""
        return self.default if isinstance(self.default, str) else "(the cluster file's)"


def complete(
    lab: Lab, fault: str, known: Mapping[str, Setting], given: Mapping[str, str]
) -> Settings:
    """What was given and the defaults of the rest; raises UsageError for what makes no sense."""
    for key in given:
        if key not in known:
            there_are = ", ".join(f"{name}=..." for name in known) or "it has none"
            raise UsageError(f"the fault '{fault}' has no setting '{key}'", hint=there_are)
    values = {key: given.get(key) or each.default_in(lab) for key, each in known.items()}
    for key, value in values.items():
        try:
            known[key].parse(value)
        except ValueError as error:
            raise UsageError(
                f"the fault '{fault}' cannot have {key}={value}: {error}",
                hint=f"{key}: {known[key].meaning}",
            ) from None
    return values


def split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Names of machines, and settings: no machine has '=' in its name."""
    pairs = (word.partition("=") for word in words if "=" in word)
    return [word for word in words if "=" not in word], {key: value for key, _, value in pairs}


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in this range."""

    def parse_whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(text)

    return parse_whole


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of one of these words."""

    def parse_word(text: str) -> str:
        if text not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return text

    return parse_word


def seconds(text: str) -> float:
    """An interval that both versions of VRRP can express; version 2 rounds it to whole seconds."""
    value = float(text)
    if not 0.01 <= value <= 40.95:
        raise ValueError("not 0.01 to 40.95")
    return value


def address(text: str) -> object:
    return ip_address(text)


def vip(lab: Lab) -> str:
    """The VIP in the lab's cluster file, which its user may have changed."""
    return str(_cluster(lab).endpoint.vip)


def port(lab: Lab) -> str:
    """The endpoint's port in the lab's cluster file."""
    return str(_cluster(lab).endpoint.port)


def vrid(lab: Lab) -> str:
    """The VRID in the lab's cluster file, or the one that follows from the VIP."""
    cluster = _cluster(lab)
    return str(cluster.vrrp.vrid or derived_vrid(cluster.endpoint.vip))


def _cluster(lab: Lab) -> Cluster:
    return parse(lab.cluster_file.read_bytes(), str(lab.cluster_file)).cluster
