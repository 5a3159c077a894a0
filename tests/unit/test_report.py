"""What people and programs read."""

import io

from rich.console import Console
from test_health import OF, healthy
from test_plan import fresh, plan_of, settled
from worlds import cluster

from kubeha.blocks import findings_summary, findings_text
from kubeha.checks.finding import HAPROXY_DOWN, NO_CA, NO_HOLDER, UNREACHABLE, Finding
from kubeha.checks.health import health
from kubeha.cli.verdict import exit_code
from kubeha.facts import Unreachable
from kubeha.report import (
    plan_json,
    plan_text,
    status_json,
    status_view,
)
from kubeha.world import World

DOWN = HAPROXY_DOWN.at("m2", "haproxy.service is inactive (dead)", "start it", "Active: inactive")
LATER = NO_CA.at("", "no CA yet", "go on")


def shown(what: object, width: int = 200) -> str:
    """As a reader of a file sees it: without colour."""
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, soft_wrap=True).print(what)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def test_a_finding_says_where_what_the_evidence_and_what_to_do() -> None:
    assert shown(findings_text([DOWN, LATER])) == (
        "KH501 error   m2: haproxy.service is inactive (dead)\n"
        "      seen    Active: inactive\n"
        "      do      start it\n"
        "KH602 warning no CA yet\n"
        "      do      go on"
    )


def test_words_of_a_node_cannot_become_markup() -> None:
    wild = HAPROXY_DOWN.at("m2", "[red]x[/red]", "[link=y]do[/]", "[/nonsense]")
    text = shown(findings_text([wild]))
    assert "[red]x[/red]" in text and "[/nonsense]" in text and "[link=y]do[/]" in text


def test_a_summary_counts_by_severity() -> None:
    assert findings_summary([]) == "no findings"
    assert findings_summary([DOWN, DOWN, LATER]) == "2 errors, 1 warning"


def test_a_first_plan_reads_as_a_checklist() -> None:
    text = shown(plan_text(plan_of(cluster(), fresh(cluster())), diff=False))
    lines = text.splitlines()
    assert lines[0] == "1. m1 (primary: takes the VIP)"
    assert "   + install haproxy and keepalived" in lines
    assert lines[-6:] == [
        "2. m2",
        "   the same as on m1",
        "3. m3",
        "   the same as on m1",
        "Order: m1 first; once it holds 198.51.100.10, the others one at a time.",
        "Plan: 3 nodes to change, 39 files to write.",
    ]


def test_a_later_plan_shows_the_difference_and_names_the_holder() -> None:
    text = shown(plan_text(plan_of(cluster(api_port=7443), settled(cluster(), "m2"))))
    assert "-    server m1 198.51.100.11:6443 check" in text
    assert "+    server m1 198.51.100.11:7443 check" in text
    assert "3. m2 (holds the VIP)" in text
    assert "Order: the holder of 198.51.100.10, m2, comes last." in text


def test_no_changes_are_said() -> None:
    text = plan_text(plan_of(cluster(), settled(cluster())))
    assert text == "No changes. Every load balancer node is as the cluster file says."


def test_a_plan_as_data_has_all_that_is_written() -> None:
    plan = plan_of(cluster(api_port=7443), settled(cluster()))
    data = plan_json(plan)
    assert data["version"] == 1 and data["holder"] == "m1" and not data["first_deployment"]
    assert [change["node"] for change in data["changes"]] == ["m2", "m3", "m1"]
    file = data["changes"][0]["files"][0]
    assert file["action"] == "change" and file["mode"] == "0644" and "7443" in file["content"]
    assert data["changes"][0]["services"][0] == {
        "unit": "haproxy.service",
        "action": "reload",
        "enable": False,
        "reason": "/etc/haproxy/haproxy.cfg changes",
    }


def test_the_table_of_a_healthy_cluster() -> None:
    world = World(OF, healthy())
    assert shown(status_view(world, ())) == (
        "test  endpoint 198.51.100.10:8443  held by m1  answers v1.30.1\n"
        "NODE   ADDRESS         VIP     VRRP         KEEPALIVED   HAPROXY   SERVERS   API\n"
        "m1     198.51.100.11   holds   MASTER 240   2.2.7        2.6.12    3/3 up    v1.30.1\n"
        "m2     198.51.100.12   -       BACKUP 240   2.2.7        2.6.12    3/3 up    v1.30.1\n"
        "m3     198.51.100.13   -       BACKUP 240   2.2.7        2.6.12    3/3 up    v1.30.1"
    )


def test_an_unreachable_node_is_unknown_and_not_healthy() -> None:
    lost = Unreachable("m3", "no answer within 3 s")
    world = World(OF, {**healthy(), "m3": lost})
    node = status_json(world, health(world))["nodes"][2]
    assert node == {
        "name": "m3",
        "address": "198.51.100.13",
        "reachable": False,
        "reason": "no answer within 3 s",
    }
    assert "unreachable" in shown(status_view(world, ()))


def world_with(*lost: str) -> World:
    gone = {name: Unreachable(name, "no answer") for name in lost}
    return World(OF, {**healthy(None), **gone})


def test_exit_codes() -> None:
    """0 it holds, 1 it does not, 3 could not find out (docs/commands.md)."""
    unreachable: Finding = UNREACHABLE.at("m1", "no answer", "wake it")
    nobody = NO_HOLDER.at("", "nobody", "look")
    assert exit_code(world_with(), ()) == 0
    assert exit_code(world_with(), (LATER,)) == 0
    assert exit_code(world_with(), (DOWN, LATER)) == 1
    assert exit_code(world_with(), (nobody,)) == 1
    assert exit_code(world_with("m1"), (unreachable,)) == 3
    assert exit_code(world_with("m1"), (unreachable, nobody)) == 3
    assert exit_code(world_with("m1"), (unreachable, DOWN)) == 1
