"""Entry point: runs the command line and turns every outcome into an exit code."""

import os
import sys

from kubeha.errors import ConfigError, ExitCode, KubehaError


def main() -> None:
    """Run kubeha; never shows a traceback for a KubehaError."""
    try:
        from kubeha.cli import app

        try:
            app()
        finally:
            sys.stdout.flush()
    except KubehaError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        _end_without_output(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)


def _end_without_output(error: OSError) -> None:
    """What was to be said could not be: a full disk, a closed pipe.

    All else that fails is a KubehaError. What is still buffered is dropped, or the interpreter
    would try once more and complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    sys.exit(ExitCode.UNKNOWN)


def print_error(error: KubehaError) -> None:
    """Message, every problem, and the hint, on stderr."""
    print(f"error: {error}", file=sys.stderr)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


if __name__ == "__main__":
    main()
