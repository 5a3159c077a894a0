"""Entry point: runs the command line and turns every outcome into an exit code."""

import sys

from kubeha.errors import ConfigError, ExitCode, KubehaError


def main() -> None:
    """Run kubeha; never shows a traceback for a KubehaError."""
    try:
        from kubeha.cli import app

        app()
    except KubehaError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)


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
