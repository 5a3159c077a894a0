"""Why is the virtual router broken? Causes, from files, counters, journal and what runs.

Two holders, or none, are symptoms (holder.py) and have many causes; neither log nor wire alone
shows several of them. One cause is one finding, and only what is so now: a line that was logged
before the cause was mended does not count.
"""

from collections.abc import Iterator

from kubeha import compare, paths
from kubeha.checks import finding as kinds
from kubeha.checks import network, passage, wire
from kubeha.checks.finding import Finding, Kind
from kubeha.checks.members import Member, last, members
from kubeha.compare import Aspect, Difference
from kubeha.facts.journal import Event, Said
from kubeha.model import IPAddress
from kubeha.world import World

# For how long a line about a dropped advert is news, in seconds. A stranger may be silent for a
# while: up to 2.3.2, the adverts of a master silence another one (vrrp_scheduler.c re-arms the
# timer of its own adverts at any advert received). Not for longer: a cluster that was mended must
# have no finding. A reload of ours ends it at once.
RECENT = 30.0
# So often within a minute on one node, and not at rest: nobody plans that.
FLAPS = 4
MINUTE = 60.0

KINDS: dict[Aspect, Kind] = {
    Aspect.VERSION: kinds.VERSIONS_DIFFER,
    Aspect.VRID: kinds.VRIDS_DIFFER,
    Aspect.VIPS: kinds.VIPS_DIFFER,
    Aspect.CAST: kinds.CASTS_DIFFER,
    Aspect.PEERS: kinds.PEER_MISSING,
    Aspect.AUTHENTICATION: kinds.AUTHENTICATION_DIFFERS,
    Aspect.INTERVAL: kinds.INTERVALS_DIFFER,
    Aspect.LEARNED_INTERVAL: kinds.INTERVALS_LEARNED,
    Aspect.PRIORITY: kinds.EQUAL_PRIORITIES,
}
# With these, keepalived tells in its journal that adverts are dropped, and why.
LOGGED = {
    Aspect.VERSION: Said.VERSION,
    Aspect.VIPS: Said.VIPS,
    Aspect.AUTHENTICATION: Said.AUTHENTICATION,
    Aspect.INTERVAL: Said.INTERVAL,
    Aspect.PEERS: Said.LOWER,
}
DROPPED = (Said.VIPS, Said.VERSION, Said.INTERVAL, Said.AUTHENTICATION)
# Differences with which there still is exactly one holder.
HARMLESS = (kinds.EQUAL_PRIORITIES.code, kinds.INTERVALS_LEARNED.code)
# These explain why two nodes do not hear each other, or do not heed what they hear.
DEAFENING = frozenset(Aspect) - {Aspect.PRIORITY, Aspect.LEARNED_INTERVAL}


def disagreements(world: World) -> Iterator[Finding]:
    """What must agree between the nodes of one virtual router, and does not."""
    group = members(world)
    for each in differing(world, group):
        where = each.odd[0] if len(each.odd) == 1 else ""
        logged = _logged(group, LOGGED.get(each.aspect))
        evidence = "; ".join(part for part in (each.evidence, logged) if part)
        yield KINDS[each.aspect].at(where, each.message, each.fix, evidence)


def differing(world: World, group: tuple[Member, ...]) -> tuple[Difference, ...]:
    """Differences in what is in force; without those that only a file not loaded makes."""
    addresses = {each.name: _own_addresses(world, each) for each in group}
    running = {each.name: each.effective for each in group}
    files = {each.name: each.file for each in group}
    found = compare.differences({n: r for n, r in running.items() if r}, addresses)
    if not any(outdated(each) for each in group):
        return found
    written = compare.differences({n: r for n, r in files.items() if r}, addresses)
    aspects = {each.aspect for each in written}
    return tuple(each for each in found if each.aspect in aspects)


def _own_addresses(world: World, member: Member) -> tuple[IPAddress, ...]:
    """Addresses by which the others may name this node: the one in the cluster file first."""
    vip = world.cluster.endpoint.vip
    named = [node.address for node in world.cluster.nodes if node.name == member.name]
    seen = [one.address.ip for one in member.facts.addresses or ()]
    own = dict.fromkeys((*named, *seen))
    return tuple(a for a in own if a != vip and a.version == vip.version and not a.is_loopback)


def _logged(group: tuple[Member, ...], said: Said | None) -> str:
    """The latest line that says so, with the node that logged it."""
    if said is None:
        return ""
    found = [(event, each.name) for each in group if (event := _recently(each, said))]
    if not found:
        return ""
    event, name = max(found, key=lambda pair: pair[0].time)
    return f"{name} logs: {event.line}"


def _recently(member: Member, *said: Said) -> Event | None:
    event = last(member.events, *said)
    return event if event is not None and member.now - event.time <= RECENT else None


def not_loaded(world: World) -> Iterator[Finding]:
    """A file that was edited and not loaded: what runs is another virtual router."""
    for member in members(world):
        if changes := outdated(member):
            yield kinds.NOT_LOADED.at(
                member.name,
                "keepalived.conf was changed and not loaded: keepalived runs with other settings",
                "keepalived -t, and if it says nothing: systemctl reload keepalived",
                "; ".join(changes),
            )


def outdated(member: Member) -> tuple[str, ...]:
    """Settings of the file that the running program does not have, such as `priority 90, runs
    with 100`."""
    file, said = member.file, member.running
    if file is None or said is None or not member.complete:
        return ()
    # keepalived leaves out what is not of its instance's address family.
    family = said.vips[0].version if said.vips else 4
    vips = sorted(str(vip) for vip in {*file.addresses} if vip.version == family)
    pairs = (
        ("virtual_router_id", file.vrid, said.vrid),
        ("version", file.version, said.version),
        ("priority", file.priority, said.base_priority),
        ("advert_int", file.advert_int, _hundredths(said.advert_int)),
        ("virtual_ipaddress", " ".join(vips), " ".join(sorted(map(str, {*said.vips}))) or None),
    )
    return tuple(
        f"{name} {written}, runs with {runs}"
        for name, written, runs in pairs
        if written is not None and runs is not None and written != runs
    )


def _hundredths(seconds: float | None) -> float | None:
    """To compare with the file: the dump has a float, made from microseconds."""
    return None if seconds is None else round(float(seconds), 2)


def not_configured(world: World) -> Iterator[Finding]:
    """keepalived runs there, for something else."""
    vip = world.cluster.endpoint.vip
    for member in members(world):
        text = member.facts.text_of(paths.KEEPALIVED_CONFIG)
        if member.file or member.running or text is None or not member.complete:
            continue
        yield kinds.NOT_CONFIGURED.at(
            member.name,
            f"keepalived runs, but no vrrp_instance there carries {vip}",
            "kubeha plan shows what is missing, kubeha apply writes it",
        )


def stranger(world: World) -> Iterator[Finding]:
    """Somebody else uses our virtual router id: told by the journal, or by whom we follow.

    The wire tells more, where it was listened to; but a stranger may just be silent.
    """
    if any(wire.vrid_fought_over(world)):
        return
    group = members(world)
    lines = tuple(_strange_lines(world, group))
    followed = _followed(world, group)
    if not lines and followed is None:
        return
    if followed is not None and not lines:
        lines = _named_before(world, group)
    source = next((event.source for _, event in lines if event.source), None)
    vrid = next((each.effective.vrid for each in group if each.effective), None)
    who = str(source or "somebody else (this version of keepalived does not log who it is)")
    interface = next((each.file.interface for each in group if each.file), None) or "eth0"
    effect = "; our nodes follow it" if followed is not None else ""
    effect += "".join(f"; {each.name} {words}" for each in group if (words := _restless(each)))
    evidence = [f"{name} logs: {event.line}" for name, event in lines[-1:]]
    if followed is not None:
        evidence.append(f"all our nodes are backups of a master with priority {followed}")
    yield kinds.VRID_TAKEN.at(
        "",
        f"VRID {vrid} is in use on this segment by {who}{effect}",
        f"see who it is: kubeha verify listens, or tcpdump -ni {interface} ip proto 112 on a node;"
        " then give one of the two another virtual_router_id, or speak unicast (vrrp.mode)",
        "; ".join(evidence),
    )


def _strange_lines(world: World, group: tuple[Member, ...]) -> Iterator[tuple[str, Event]]:
    """Adverts that were dropped lately and that none of our own nodes has sent."""
    ours = world.addresses_of_ours()
    known = len(group) == len(world.cluster.load_balancer_nodes)
    alike = not any(each.aspect in DEAFENING for each in differing(world, group))
    loaded = max((_loaded(each) for each in group), default=0.0)
    for member in group:
        for event in member.events:
            if not _dropped(member, event) or member.now - event.time > RECENT:
                continue
            # Before the last of our nodes read its file, it may have been our own.
            unnamed = known and alike and event.time > loaded
            if event.source not in ours if event.source else unnamed:
                yield member.name, event


def _named_before(world: World, group: tuple[Member, ...]) -> tuple[tuple[str, Event], ...]:
    """The last line that names a stranger, however old: from 2.3.3 on there is one for each."""
    ours = world.addresses_of_ours()
    found = [
        (each.name, e) for each in group for e in each.events if e.source and e.source not in ours
    ]
    return tuple(sorted(found, key=lambda pair: pair[1].time)[-1:])


def _dropped(member: Member, event: Event) -> bool:
    """Does the line tell of an advert that was refused? Version 3 learns another interval."""
    version = member.effective.version if member.effective else None
    return event.said in DROPPED and not (event.said is Said.INTERVAL and version == 3)


def _loaded(member: Member) -> float:
    event = last(member.events, Said.STARTED, Said.RELOADED)
    return event.time if event else 0.0


def _followed(world: World, group: tuple[Member, ...]) -> int | None:
    """The priority of a master that all of our nodes follow and that none of them has.

    From 2.3.3 on keepalived heeds a stranger's adverts: nobody of ours ever gets the VIP.
    """
    states = [each.running for each in group if each.running]
    if not states or len(states) < len(world.cluster.load_balancer_nodes):
        return None
    if any(state.state not in ("BACKUP", "FAULT") for state in states):
        return None
    own = {state.priority for state in states}
    found = {state.master_priority for state in states if state.state == "BACKUP"} - {0, None}
    if world.before is not None and _followed(world.before, members(world.before)) is None:
        return None
    return next((priority for priority in found if priority not in own), None)


def deaf(world: World) -> Iterator[Finding]:
    """Two masters whose files agree: the lower one does not hear the higher one.

    Only where the wire was not probed; and twice in a row, for two may race at a start.
    """
    if world.passages:
        return
    group = members(world)
    masters = sorted((each for each in group if each.master), key=_priority, reverse=True)
    if len(masters) < 2 or any(each.aspect in DEAFENING for each in differing(world, group)):
        return
    # Causes that are told as such.
    if any(network.shared_segment(world)) or any(outdated(each) for each in group):
        return
    if world.before is not None and sum(each.master for each in members(world.before)) < 2:
        return
    first = masters[0]
    for other in masters[1:]:
        logged = _logged(tuple(masters), Said.LOWER)
        yield kinds.VRRP_BLOCKED.at(
            other.name,
            f"{other.name} does not hear {first.name}: both are MASTER, and their files agree",
            f"let protocol 112 from {first.name} pass into {other.name}: nft list ruleset there;"
            " kubeha verify tries every pair",
            "; ".join(part for part in (_counted(first), _counted(other), logged) if part),
        )


def _priority(member: Member) -> int:
    return member.running.priority if member.running else 0


def _counted(member: Member) -> str:
    said = member.running
    if said is None:
        return ""
    return (
        f"{member.name}: {said.state} with priority {said.priority},"
        f" {said.adverts_received} adverts received"
    )


def flapping(world: World) -> Iterator[Finding]:
    """The VIP comes and goes, and has not come to rest; where a cause is told, that is enough."""
    moves = [(each, words) for each in members(world) if (words := _restless(each))]
    if not moves or causes(world):
        return
    for member, words in moves:
        yield kinds.VIP_FLAPS.at(
            member.name,
            f"the VIP comes and goes: this node {words}",
            "see why it loses the VIP: journalctl -u keepalived -n 50",
            _counted(member),
        )


def _restless(member: Member) -> str:
    """Such as: became MASTER 6 times in the last 10 s. Empty if it did so seldom, or has ended."""
    times = [e.time for e in member.events if e.said is Said.MASTER]
    lately = [time for time in times if member.now - time <= MINUTE]
    if len(lately) < FLAPS:
        return ""
    pace = (lately[-1] - lately[0]) / (len(lately) - 1)
    if member.now - lately[-1] > 3 * pace:
        return ""
    return f"became MASTER {len(lately)} times in the last {member.now - lately[0]:.0f} s"


def causes(world: World) -> tuple[Finding, ...]:
    """What explains that nobody holds the VIP, or more than one; not the symptoms."""
    checks = (disagreements, not_configured, stranger, deaf, wire.vrid_fought_over,
              passage.vrrp_blocked, network.shared_segment)  # fmt: skip
    found = tuple(finding for check in checks for finding in check(world))
    unloaded = () if found else tuple(not_loaded(world))
    return tuple(each for each in (*found, *unloaded) if each.code not in HARMLESS)


def because(world: World) -> str:
    """Where the cause is told, such as: mend the cause, KH413; empty if there is none."""
    codes = dict.fromkeys(each.code for each in causes(world))
    return f"mend the cause, {' and '.join(codes)}" if codes else ""


def unsettled(world: World) -> bool:
    """Could this be a moment of a handover? Then one look does not tell.

    Not where no keepalived runs: nothing would change.
    """
    group = members(world)
    masters = tuple(each.name for each in group if each.master)
    return any(each.running for each in group) and (
        len(world.holders) != 1 or masters != world.holders
    )
