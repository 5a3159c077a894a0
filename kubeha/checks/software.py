"""Programs on the nodes: new enough, to be had, and allowed to do their work?"""

from collections.abc import Iterator
from dataclasses import replace

from kubeha import paths
from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity
from kubeha.facts import NodeFacts
from kubeha.facts.machine import PACKAGES, PackageSource
from kubeha.facts.programs import Version
from kubeha.world import World

# The oldest that take what kubeha renders. HAProxy: clitcpka-idle and the like (1.8 refuses them,
# 2.4.0 takes the whole file). keepalived: 2.1.5 takes the whole file and was the oldest tried.
# systemd: RuntimeDirectoryPreserve= (NEWS of 235).
OLDEST: dict[str, Version] = {
    "haproxy": (2, 4, 0),
    "keepalived": (2, 1, 5),
    "systemd": (235, 0, 0),
}


def too_old(world: World) -> Iterator[Finding]:
    """What is installed, or what apt would install where it is missing."""
    for facts in world.load_balancers:
        if facts.machine is None:
            continue
        source = facts.machine.source
        offered = source.candidates if source else {}
        for name, oldest in OLDEST.items():
            installed = name in facts.packages or name == "systemd"
            version = facts.machine.programs.versions.get(name) if installed else offered.get(name)
            if version is not None and version < oldest:
                yield kinds.TOO_OLD.at(
                    facts.name,
                    f"{name} {_dotted(version)} {'is' if installed else 'would be'} installed,"
                    f" {_dotted(oldest)} is the oldest that takes what kubeha writes",
                    "upgrade the distribution (Debian 12, Ubuntu 22.04 and later have newer ones),"
                    f" or install a newer {name} from its project's or the backports repository",
                    facts.packages.get(name, ""),
                )


def _dotted(version: Version) -> str:
    return str(version[0]) if version[1:] == (0, 0) else ".".join(str(part) for part in version)


def package_source(world: World) -> Iterator[Finding]:
    """Packages are missing and apt is sure not to get them."""
    if world.cluster.packages != "install":
        return
    for facts in world.load_balancers:
        source = facts.machine.source if facts.machine else None
        if source is None or not source.missing:
            continue
        words = " and ".join(source.missing)
        why, evidence = _no_source(source)
        if why:
            yield kinds.NO_SOURCE.at(
                facts.name,
                f"{words} not installed, and {why}",
                f"see what apt-get update and apt-get install {' '.join(source.missing)} say there;"
                " without a mirror: install the packages by hand and set packages: preinstalled",
                evidence,
            )


def _no_source(source: PackageSource) -> tuple[str, str]:
    """Why apt cannot get them, and what it says; two empty words if it may well be able to."""
    if not source.sources:
        return "apt has no source of packages", source.problem
    if source.unreachable:
        return "apt cannot reach its source of packages", "; ".join(
            f"{where}: {said}" for where, said in source.unreachable.items()
        )
    # Without lists apt cannot know; the apt-get update of an apply fetches them.
    if source.problem and source.lists:
        return "apt cannot install them", source.problem
    return "", ""


def apt_busy(world: World) -> Iterator[Finding]:
    """Where an apply would have to wait for somebody else's apt or dpkg."""
    for facts in world.load_balancers:
        missing = [name for name in PACKAGES if name not in facts.packages]
        locks = facts.machine.locks if facts.machine else {}
        if missing and locks and world.cluster.packages == "install":
            path, pid = next(iter(locks.items()))
            yield kinds.APT_BUSY.at(
                facts.name,
                f"another apt or dpkg is at work there (process {pid or 'of another container'}):"
                " an apply would wait for it, and fail if it takes long",
                f"let it end; see what it does: ps -f -p {pid}",
                f"{path} is locked",
            )


def selinux(world: World) -> Iterator[Finding]:
    """SELinux that would keep HAProxy from the API servers, or keepalived from its scripts."""
    for facts in world.load_balancers:
        found = facts.machine.selinux if facts.machine else None
        if found is None or not found.enforcing:
            continue
        if found.booleans.get("haproxy_connect_any") is False:
            yield kinds.SELINUX.at(
                facts.name,
                "SELinux is enforcing and does not let HAProxy connect to port"
                f" {world.cluster.api_port} nor listen on {world.cluster.endpoint.port}",
                "setsebool -P haproxy_connect_any 1",
                "haproxy_connect_any is off",
            )
        if "keepalived_connect_any" in found.booleans:
            yield replace(_scripts(facts), severity=Severity.WARNING)


def _scripts(facts: NodeFacts) -> Finding:
    """keepalived_selinux(8): scripts of another type run confined, as keepalived itself does."""
    scripts = f"{paths.ADMIN_SCRIPT}|{paths.HOLDER_SCRIPT}"
    return kinds.SELINUX.at(
        facts.name,
        "SELinux confines keepalived here: it may not run kubeha's scripts as they need",
        "label them: semanage fcontext -a -t keepalived_unconfined_script_exec_t"
        f" '({scripts})' && restorecon -v {paths.ADMIN_SCRIPT} {paths.HOLDER_SCRIPT};"
        " then look for denials: ausearch -m avc -c keepalived",
        "the policy has a module for keepalived",
    )
