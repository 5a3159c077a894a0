"""The one gate through which the lab starts programs on this box."""

import logging
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeha.errors import LabError

log = logging.getLogger(__name__)


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    input: str | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output as text.

    `env` is added to this process's environment, `timeout` is in seconds. Raises LabError with the
    command and its last words if it cannot start, takes too long, or (with `check`) fails.
    """
    log.debug("run: %s", shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            cwd=cwd,
            env=environment(env),
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: not found", hint="run: make setup-system") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout:g} s: {shlex.join(argv)}") from error
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"exit status {done.returncode}: {shlex.join(argv)}\n{words}")
    return done


def environment(added: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment with what is added; messages in English, for some are parsed."""
    return {**os.environ, "LC_ALL": "C.UTF-8", **(added or {})}
