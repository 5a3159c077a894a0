"""Every exception of kubeha, and the exit codes, on one screen.

A *finding* is a value and is never raised. An exception means that the question could not be
answered; it names the node where there is one, says what happened, and what to do next.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes that scripts may rely on (docs/commands.md)."""

    OK = 0
    DOES_NOT_HOLD = 1
    USAGE = 2
    UNKNOWN = 3
    ROLLED_BACK = 4
    NEEDS_PERSON = 5
    INTERRUPTED = 130


class KubehaError(Exception):
    """Root of all. `hint` is one sentence that says what to do next."""

    exit_code = ExitCode.UNKNOWN

    def __init__(self, message: str, *, hint: str = "", node: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node

    def __str__(self) -> str:
        return f"{self.node}: {self.message}" if self.node else self.message


class ConfigError(KubehaError):
    """The cluster file cannot be used; `problems` holds every reason, one line each."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class UsageError(KubehaError):
    """The command line asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class HostError(KubehaError):
    """A node could not be asked, or refused: SSH, sudo, Python, the connection or a file.

    `kind` is a word for programs ("refused", "host-key-changed", "stale", ...); see `host`.
    """

    def __init__(self, message: str, *, hint: str = "", node: str = "", kind: str = "") -> None:
        super().__init__(message, hint=hint, node=node)
        self.kind = kind


class RolloutFailed(KubehaError):
    """A gate failed; the node was put back and nothing else was touched."""

    exit_code = ExitCode.ROLLED_BACK


class RolloutStuck(KubehaError):
    """A gate failed and putting the node back failed too: a person is needed."""

    exit_code = ExitCode.NEEDS_PERSON


class LabError(KubehaError):
    """The lab on this box could not do what was asked."""
