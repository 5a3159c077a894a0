"""An apply that starts the holder's services anew moves the VIP away first."""

import asyncio
from dataclasses import replace

from test_rollout import QUICK, VIP, settled
from worlds import cluster, text_file

from kubeha import paths
from kubeha.model import Cluster, Haproxy, Vrrp
from kubeha.plan import PlannedMove
from kubeha.report import plan_json, plan_text
from kubeha.rollout import Rollout
from kubeha.steps import MoveAway, forward

OF = cluster()
# HAProxy's unit allows fewer open files: read only when it starts.
ANEW = cluster(haproxy=Haproxy(max_connections=7000))
RELOADED = cluster(haproxy=Haproxy(balance="roundrobin"))


def plan_of(now: Cluster, holder: str = "m2"):
    return settled(holder, OF, now).plan()


def test_the_vip_leaves_before_haproxy_is_started_anew() -> None:
    plan = plan_of(ANEW)
    assert plan.move == PlannedMove("m2", wait=True)
    titles = [step.title for step in forward(plan.changes[-1], move=plan.move)]
    moved = titles.index("move the VIP to another node and wait for its connections")
    assert titles.index("let systemd read its units again") < moved
    assert moved < titles.index("restart haproxy")


def test_only_on_the_holder() -> None:
    plan = plan_of(ANEW)
    assert [change.node for change in plan.changes] == ["m1", "m3", "m2"]
    others = [step for c in plan.changes[:-1] for step in forward(c, move=plan.move)]
    assert not any(isinstance(step, MoveAway) for step in others)


def test_nobody_waits_where_keepalived_alone_is_started_anew() -> None:
    """HAProxy, which carries the connections, goes on."""
    assert plan_of(cluster(vrrp=Vrrp(vrid=99))).move == PlannedMove("m2", wait=False)


def test_a_reload_moves_nothing() -> None:
    assert plan_of(RELOADED).move is None


def test_a_keepalived_that_cannot_stand_aside_is_started_anew_as_before() -> None:
    site = settled("m2", OF, ANEW)
    host = site.hosts["m2"]
    text = (host.facts.text_of(paths.KEEPALIVED_CONFIG) or "").replace(paths.ASIDE_FILE, "/x")
    old = text_file(paths.KEEPALIVED_CONFIG, text)
    host.facts = replace(host.facts, files={**host.facts.files, paths.KEEPALIVED_CONFIG: old})
    assert site.plan().move is None


def test_a_keepalived_that_has_not_taken_its_file_is_started_anew_as_before() -> None:
    """An upgrade was interrupted: what is on the disk tells nothing of the running process."""
    site = settled("m2", OF, ANEW)
    host = site.hosts["m2"]
    lines = (host.facts.text_of(paths.APPLIED) or "").splitlines(keepends=True)
    noted = "".join(line for line in lines if not line.startswith("keepalived.service"))
    earlier = text_file(paths.APPLIED, f"{noted}keepalived.service 0 0\n")
    host.facts = replace(host.facts, files={**host.facts.files, paths.APPLIED: earlier})
    assert site.plan().move is None


def test_the_plan_tells_of_the_move() -> None:
    plan = plan_of(ANEW)
    assert f"Move: {VIP} goes from m2 to another node" in plan_text(plan, diff=False)
    assert plan_json(plan)["move"] == {"from": "m2", "wait": True}
    assert plan_json(plan_of(RELOADED))["move"] is None


def test_the_rollout_carries_it_out() -> None:
    site = settled("m2", OF, ANEW)
    moved: list[tuple[str, bool, int]] = []

    async def move(node: str, wait: bool) -> None:
        moved.append((node, wait, len(site.order)))
        site.hosts["m2"].drop_vip()
        site.hosts["m1"].take_vip(VIP)

    rollout = Rollout(
        site.cluster,
        site.plan(),
        site.hosts,
        site.facts,
        site.look,
        site.listen,
        lambda node, text: None,
        QUICK,
        move,
    )
    asyncio.run(rollout.run())
    assert [one[:2] for one in moved] == [("m2", True)]
    assert not any(line.startswith("m2: restart haproxy") for line in site.order[: moved[0][2]])
    assert site.holders == ["m1"]
