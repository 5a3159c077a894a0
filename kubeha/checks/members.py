"""Every node's part in the virtual router that carries the VIP: its file, what runs, its journal.

Whoever wrote the configuration: the instance is found by the VIP, not by its name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kubeha import compare, keepalived, paths
from kubeha.facts import NodeFacts
from kubeha.facts.journal import Event, Said, events
from kubeha.grammar.virtual_router import Vip, VirtualRouter
from kubeha.keepalived import VrrpState
from kubeha.model import IPAddress
from kubeha.world import World

KEEPALIVED = "keepalived.service"


@dataclass(frozen=True)
class Member:
    """A load balancer node whose keepalived runs.

    `file`: the instance in its keepalived.conf, `running`: in the program's dump; either None if
    it is not there or cannot be read. `complete`: was everything read that the file includes?
    `events`: this run's lines since keepalived last read its file, times by the operator's clock;
    `now` likewise. Both in seconds since 1970.
    """

    facts: NodeFacts
    file: VirtualRouter | None
    running: VrrpState | None
    complete: bool
    events: tuple[Event, ...]
    now: float

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def master(self) -> bool:
        return self.running is not None and self.running.state == "MASTER"

    @property
    def effective(self) -> VirtualRouter | None:
        """What is in force: the file, where the running program does not say otherwise."""
        if self.file is None or self.running is None:
            return self.file
        said = self.running
        vips = tuple(
            Vip(address, address.max_prefixlen, False, None, self.file.statement)
            for address in said.vips
        )
        return replace(
            self.file,
            vrid=said.vrid or self.file.vrid,
            version=said.version or self.file.version,
            priority=said.base_priority or self.file.priority,
            advert_int=said.advert_int or self.file.advert_int,
            vips=vips or self.file.vips,
        )


def members(world: World) -> tuple[Member, ...]:
    """Those of the load balancer nodes where keepalived runs, in the order of the cluster file."""
    vip = world.cluster.endpoint.vip
    active = [facts for facts in world.load_balancers if _runs(facts)]
    texts = {facts.name: facts.text_of(paths.KEEPALIVED_CONFIG) or "" for facts in active}
    files = {name: keepalived.routers(text) for name, text in texts.items()}
    carrying = [one for each in files.values() if (one := compare.carrying(each, vip))]
    result = []
    for facts in active:
        file = compare.carrying(files[facts.name], vip) or compare.counterpart(
            files[facts.name], carrying
        )
        result.append(
            Member(
                facts=facts,
                file=file,
                running=_running(facts, vip, file),
                complete=_complete(texts[facts.name]),
                events=_events(facts, file),
                now=(facts.clock or 0.0) - (facts.clock_offset or 0.0),
            )
        )
    return tuple(result)


def _complete(text: str) -> bool:
    """Is the file all there is? What it includes was not asked for."""
    problems = keepalived.read_config(text).problems
    return not any("not looked at" in problem.message for problem in problems)


def _runs(facts: NodeFacts) -> bool:
    unit = facts.units.get(KEEPALIVED)
    return unit is not None and unit.active


def _running(facts: NodeFacts, vip: IPAddress, file: VirtualRouter | None) -> VrrpState | None:
    """The instance in the dump that carries the VIP, or that is what the file calls it."""
    states = keepalived.parse_states(facts.keepalived_json or "") or ()
    names = (keepalived.INSTANCE, file.instance if file else None)
    carrying = (each for each in states if vip in each.vips)
    same = (each for each in states if each.instance in names)
    return next(carrying, None) or next(same, None)


def _events(facts: NodeFacts, file: VirtualRouter | None) -> tuple[Event, ...]:
    """Of this run and this instance only: what was before it was mended is not what is wrong."""
    unit = facts.units[KEEPALIVED]
    ahead = facts.clock_offset or 0.0
    found = [
        replace(event, time=event.time - ahead)
        for event in events(facts.keepalived_journal or ())
        if event.invocation == unit.invocation_id
    ]
    loaded = [at for at, each in enumerate(found) if each.said in (Said.STARTED, Said.RELOADED)]
    since = found[loaded[-1] :] if loaded else found
    ours = ("", file.instance if file else "")
    return tuple(each for each in since if each.instance in ours)


def last(events: Iterable[Event], *said: Said) -> Event | None:
    """The latest event that says one of these."""
    return max((each for each in events if each.said in said), key=lambda e: e.time, default=None)
