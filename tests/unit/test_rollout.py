"""A plan carried out: in order, each gate looked at; a node that fails is put back as it was."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from fake_host import FakeHost
from worlds import bare, cluster, deployed, said, text_file

from kubeha.errors import HostError, RolloutFailed, RolloutStuck
from kubeha.facts import NodeFacts, Observed
from kubeha.model import Cluster
from kubeha.paths import HAPROXY_CONFIG, KEEPALIVED_CONFIG, STAGE
from kubeha.plan import HAPROXY, KEEPALIVED, Plan, make_plan, wanted
from kubeha.rollout import Patience, Rollout
from kubeha.world import World

VIP = "198.51.100.10"
MAC = "02:00:00:00:00:01"
QUICK = Patience(limit=0.02, interval=0.005, again=0.0)


class Site:
    """Nodes of plain data; whoever starts keepalived while nobody holds the VIP gets it."""

    def __init__(self, of: Cluster, facts: Mapping[str, NodeFacts]) -> None:
        self.cluster = of
        self.hosts = {node.name: FakeHost(node, facts[node.name]) for node in of.control_plane}
        self.order: list[str] = []
        for host in self.hosts.values():
            host.after_start = self.started

    @property
    def facts(self) -> dict[str, NodeFacts]:
        return {name: host.facts for name, host in self.hosts.items()}

    @property
    def holders(self) -> list[str]:
        vip = self.cluster.endpoint.vip
        return [name for name, host in self.hosts.items() if host.facts.holds(vip)]

    def plan(self) -> Plan:
        return make_plan(self.cluster, wanted(World(self.cluster, self.facts)), self.facts)

    def started(self, host: FakeHost, what: str) -> None:
        self.order.append(f"{host.node.name}: {what}")
        if what.endswith(HAPROXY):
            host.facts = replace(host.facts, haproxy_info=f"Pid: {1000 + len(self.order)}\n")
        if not what.endswith(KEEPALIVED):
            return
        if not self.holders:
            host.take_vip(VIP)
        master = host.node.name in self.holders
        host.facts = replace(host.facts, keepalived_json=said(2 if master else 1))

    async def look(self, names: Sequence[str]) -> dict[str, Observed]:
        return {name: self.hosts[name].facts for name in names}

    async def listen(self, seen: Mapping[str, Observed]) -> dict[str, tuple[str, ...]]:
        others = [name for name in seen if name not in self.holders]
        return {name: (MAC,) if self.holders else () for name in others}

    def roll_out(self) -> list[str]:
        """Make a plan and carry it out; returns what was told."""
        told: list[str] = []
        rollout = Rollout(
            self.cluster,
            self.plan(),
            self.hosts,
            self.facts,
            self.look,
            self.listen,
            lambda node, text: told.append(f"{node}: {text}"),
            QUICK,
        )
        asyncio.run(rollout.run())
        return told


def fresh(of: Cluster | None = None) -> Site:
    of = of or cluster()
    return Site(of, {node.name: bare(node.name, str(node.address)) for node in of.control_plane})


def settled(holder: str, of: Cluster, now: Cluster) -> Site:
    """Deployed as `of` says, with `holder`; from now on `now` is wanted."""
    site = fresh(of)
    desired = wanted(World(of, site.facts))
    facts = {
        name: deployed(desired[name], seen, holds=VIP if name == holder else None)
        for name, seen in site.facts.items()
    }
    return Site(now, facts)


def test_the_primary_first_then_the_others_one_at_a_time() -> None:
    site = fresh()
    site.roll_out()
    assert site.order == [
        f"{name}: start {unit}.service"
        for name in ("m1", "m2", "m3")
        for unit in ("haproxy", "kubeha-guard", "keepalived")
    ]
    assert site.holders == ["m1"]


def test_after_a_rollout_the_plan_is_empty() -> None:
    site = fresh()
    site.roll_out()
    assert site.plan().empty


def test_the_holder_last_and_only_reloads_where_reloads_do() -> None:
    site = settled("m1", cluster(), cluster(api_port=7443))
    site.roll_out()
    assert site.order == [f"{name}: reload haproxy.service" for name in ("m2", "m3", "m1")]
    assert site.holders == ["m1"] and site.plan().empty


def test_a_gate_that_stays_closed_stops_the_rollout_and_puts_the_node_back() -> None:
    """Protocol 112 is filtered: the second node takes the VIP as well."""
    site = fresh()
    host = site.hosts["m2"]

    def grabs(other: FakeHost, what: str) -> None:
        site.started(other, what)
        if what == "start keepalived.service":
            other.take_vip(VIP)

    host.after_start = grabs
    before = host.facts
    with pytest.raises(RolloutFailed) as failure:
        site.roll_out()
    assert str(failure.value) == (
        "m2: wait until keepalived does its work: the VIP 198.51.100.10 is held by m1 and m2;"
        " the node was put back as it was"
    )
    assert failure.value.exit_code == 4
    assert comparable(host.facts) == comparable(before)
    assert site.holders == ["m1"]
    assert site.hosts["m3"].log == []


def comparable(facts: NodeFacts) -> tuple[object, ...]:
    """What has to be as before; a file that is missing may have been seen or not."""
    files = {path: state for path, state in facts.files.items() if state.exists}
    seen = {name: (each.active, each.enabled) for name, each in facts.units.items()}
    units = {name: flags for name, flags in seen.items() if any(flags)}
    return files, units, dict(facts.packages), facts.addresses


def lasting(facts: NodeFacts) -> tuple[object, ...]:
    """`comparable` without what a killed rollout leaves in /run until the next boot."""
    files, *rest = comparable(facts)
    assert isinstance(files, dict)
    return {path: state for path, state in files.items() if not path.startswith(STAGE)}, *rest


def requests_of_a_whole_rollout(node: str) -> int:
    site = fresh()
    site.roll_out()
    return len(site.hosts[node].log)


@pytest.mark.parametrize("node", ["m1", "m3"])
def test_a_failure_at_every_request_in_turn_puts_the_node_back(node: str) -> None:
    for number in range(1, requests_of_a_whole_rollout(node) + 1):
        site = fresh()
        host = site.hosts[node]
        before = host.facts
        host.fail_at = number
        try:
            site.roll_out()
        except RolloutFailed as failure:
            assert failure.node == node
            assert comparable(host.facts) == comparable(before), host.log
            continue
        # apt-get update may fail: the packages may be known from before.
        assert host.log[number - 1].endswith(" update"), f"{number}: {host.log[number - 1]}"


@pytest.mark.parametrize("holder", ["m1", "m2"])
def test_a_failure_at_every_request_of_a_later_change(holder: str) -> None:
    whole = settled(holder, cluster(), cluster(api_port=7443))
    whole.roll_out()
    for number in range(1, len(whole.hosts["m2"].log) + 1):
        site = settled(holder, cluster(), cluster(api_port=7443))
        before = site.facts
        site.hosts["m2"].fail_at = number
        with pytest.raises(RolloutFailed):
            site.roll_out()
        assert comparable(site.facts["m2"]) == comparable(before["m2"])
        assert site.holders == [holder]


def test_from_every_interrupted_prefix_the_next_rollout_leads_to_the_same_end() -> None:
    """kill -9 after every request: nothing is put back, the next apply goes on from there."""
    end = fresh()
    end.roll_out()
    for node in ("m1", "m2", "m3"):
        for number in range(1, len(end.hosts[node].log) + 1):
            site = fresh()
            site.hosts[node].fail_at = number
            killed_at(site, node)
            site.hosts[node].fail_at = 0
            site.roll_out()
            assert site.holders == ["m1"], f"{node}, request {number}"
            assert site.plan().empty
            for name in site.hosts:
                assert lasting(site.facts[name]) == lasting(end.facts[name])


def killed_at(site: Site, node: str) -> None:
    """Carry out the plan until the request that fails; then nothing more is done."""
    host = site.hosts[node]

    class Killed(BaseException):
        """Not an error that anybody handles: the process is gone."""

    original = host._request

    def request(what: str) -> None:
        if len(host.log) + 1 == host.fail_at:
            raise Killed
        original(what)

    host._request = request  # type: ignore[method-assign]
    try:
        site.roll_out()
    except Killed:
        pass
    finally:
        host._request = original  # type: ignore[method-assign]


def test_an_edit_that_somebody_makes_meanwhile_is_neither_replaced_nor_put_back() -> None:
    site = fresh()
    host = site.hosts["m1"]
    plan_first = site.plan
    mine = text_file(KEEPALIVED_CONFIG, "# a colleague's\n")

    def plan_then_edit() -> Plan:
        made = plan_first()
        host.facts = replace(host.facts, files={**host.facts.files, mine.path: mine})
        return made

    site.plan = plan_then_edit  # type: ignore[method-assign]
    with pytest.raises(RolloutFailed, match="not what the plan has seen"):
        site.roll_out()
    assert host.facts.files[mine.path].content == "# a colleague's\n"


def test_an_adopted_file_survives_a_failed_rollout() -> None:
    """Purging HAProxy takes /etc/haproxy/haproxy.cfg; what was there comes back after that."""
    site = fresh()
    host = site.hosts["m1"]
    mine = text_file(HAPROXY_CONFIG, "global\n    daemon\n")
    host.facts = replace(host.facts, files={**host.facts.files, mine.path: mine})
    host.refuses = "start keepalived"
    with pytest.raises(RolloutFailed):
        site.roll_out()
    assert host.facts.files[mine.path].content == mine.content
    assert "haproxy" not in host.facts.packages


def test_packages_that_somebody_else_installs_before_are_not_purged() -> None:
    site = fresh()
    host = site.hosts["m1"]
    plan_first = site.plan

    def plan_then_install() -> Plan:
        made = plan_first()
        packages = {**host.facts.packages, "kubeadm": "1.30"}
        host.facts = replace(host.facts, packages=packages)
        return made

    site.plan = plan_then_install  # type: ignore[method-assign]
    host.refuses = "start keepalived"
    with pytest.raises(RolloutFailed):
        site.roll_out()
    assert host.facts.packages == {"bash": "5.2", "kubeadm": "1.30"}


def test_settings_that_are_refused_cost_neither_reload_nor_restart() -> None:
    site = settled("m1", cluster(), cluster(api_port=7443))
    site.hosts["m2"].refuses = "haproxy -c"
    with pytest.raises(RolloutFailed):
        site.roll_out()
    assert site.order == []


def test_a_stopped_backup_may_relieve_a_sick_holder() -> None:
    """m2 holds the VIP although its HAProxy hangs; m1, which comes back, takes it."""
    site = settled("m2", cluster(), cluster())
    for name in ("m1", "m3"):
        off = {
            unit: replace(u, active_state="inactive") for unit, u in site.facts[name].units.items()
        }
        site.hosts[name].facts = replace(site.facts[name], units=off, keepalived_json=None)
    site.hosts["m2"].facts = replace(site.facts["m2"], haproxy_info=None)

    def takes_over(host: FakeHost, what: str) -> None:
        site.started(host, what)
        if what == "start keepalived.service" and host.node.name == "m1":
            site.hosts["m2"].drop_vip()
            host.take_vip(VIP)

    site.hosts["m1"].after_start = takes_over
    site.roll_out()
    assert site.holders == ["m1"]


def test_a_node_that_cannot_be_put_back_needs_a_person() -> None:
    site = fresh()
    host = site.hosts["m1"]

    def broken(what: str) -> None:
        host.log.append(what)
        if len(host.log) >= 8:
            raise HostError("the connection was lost in the middle", node="m1")

    host._request = broken  # type: ignore[method-assign]
    with pytest.raises(RolloutStuck) as failure:
        site.roll_out()
    assert failure.value.exit_code == 5
    assert "putting it back failed" in failure.value.message
    assert "run kubeha apply again" in failure.value.hint
    assert site.hosts["m2"].log == []
