"""Findings and an observed world -> the exit code that scripts rely on."""

from kubeha.checks.finding import NO_HOLDER, UNREACHABLE, Finding, Severity, counted
from kubeha.errors import ExitCode
from kubeha.world import World


def exit_code(world: World, findings: tuple[Finding, ...]) -> ExitCode:
    """0 it holds; 1 an error was found; 3 the only errors are nodes that could not be asked.

    What is ignored does not count. A VIP that was found nowhere may be on a node that did not
    answer.
    """
    errors = {finding.code for finding in counted(findings) if finding.severity is Severity.ERROR}
    if not errors:
        return ExitCode.OK
    if world.unreachable and errors <= {UNREACHABLE.code, NO_HOLDER.code}:
        return ExitCode.UNKNOWN
    return ExitCode.DOES_NOT_HOLD
