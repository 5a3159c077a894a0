"""What check, plan and apply do alike: look at everything, judge it, make the plan."""

from dataclasses import dataclass

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Finding, Severity, counted
from kubeha.checks.ignoring import ignoring
from kubeha.checks.preflight import preflight
from kubeha.errors import ExitCode, KubehaError
from kubeha.facts import NodeFacts
from kubeha.model import Cluster
from kubeha.observe import Fleet, meet_strangers, open_fleet, survey
from kubeha.plan import Plan, make_plan, wanted
from kubeha.takeover import taken_over
from kubeha.world import World


@dataclass(frozen=True)
class Prepared:
    """The observed world, what speaks against an apply, and the plan where one can be made."""

    world: World
    findings: tuple[Finding, ...]
    plan: Plan | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What refuses an apply: errors that nobody has chosen to ignore."""
        return tuple(found for found in counted(self.findings) if found.severity is Severity.ERROR)

    @property
    def facts(self) -> dict[str, NodeFacts]:
        return {facts.name: facts for facts in self.world.load_balancers}


async def prepare(
    cluster: Cluster,
    fleet: Fleet,
    *,
    adopt: bool = False,
    listen: bool = True,
    become_password: str | None = None,
) -> Prepared:
    """One look at all nodes, and what follows from it. Changes nothing.

    `listen`: also to what is on the wire, some seconds.
    """
    world = await survey(cluster, fleet, full=True, ask_vip=True, listen=listen)
    world = await meet_strangers(cluster, world, become_password)
    findings = preflight(world)
    if adopt:
        settled = {kinds.FOREIGN_FILE.code}
        if set(world.holders) <= set(taken_over(cluster, world.nodes)):
            # All of them are stopped before ours starts.
            settled.add(kinds.TWO_HOLDERS.code)
        findings = tuple(found for found in findings if found.code not in settled)
    findings = ignoring(findings, cluster.ignore)
    desired = wanted(world)
    complete = len(desired) == len(cluster.load_balancer_nodes) == len(world.load_balancers)
    facts = {facts.name: facts for facts in world.load_balancers}
    return Prepared(world, findings, make_plan(cluster, desired, facts) if complete else None)


class Refused(KubehaError):
    """Preflight found what speaks against an apply; nothing was touched."""

    exit_code = ExitCode.DOES_NOT_HOLD


async def look_and_plan(
    cluster: Cluster, become_password: str | None, *, listen: bool = True
) -> Prepared:
    """For verbs that only look: connect to everybody, prepare, hang up."""
    nodes = (*cluster.nodes, *cluster.clients)
    async with open_fleet(cluster, nodes, become_password=become_password) as fleet:
        return await prepare(cluster, fleet, listen=listen, become_password=become_password)
