"""The arithmetic of budgets, and that it knows the numbers that are really in the files."""

import io
import re
from dataclasses import replace
from importlib import resources

import pytest
from rich.console import Console
from worlds import cluster

from kubeha import budget as bounds
from kubeha import haproxy, vrrp
from kubeha.budget import Timers, budget
from kubeha.checks.finding import Severity
from kubeha.checks.timers import hasty
from kubeha.drills.catalogue import FAULTS
from kubeha.drills.text import budget_view
from kubeha.model import Vrrp

EACH = {bound.fault: bound for bound in budget(cluster())}


def test_every_fault_has_a_bound_and_every_bound_its_terms() -> None:
    assert list(EACH) == list(FAULTS)
    for bound in EACH.values():
        assert all(0 <= term.expected <= term.worst for term in bound.terms)
        assert all(term.name and term.source for term in bound.terms)
    assert [name for name, bound in EACH.items() if bound.worst is None] == ["power-cycle-all"]


def test_the_crash_of_the_holder_is_rfc_9568_s_arithmetic() -> None:
    names = [term.name for term in EACH["power-off"].terms]
    assert names[0].startswith("3 advertisements missed")
    election = EACH["power-off"].terms[:2]
    least, most = vrrp.failover_bounds(3, 0.1)
    assert sum(term.worst for term in election) == pytest.approx(most)
    assert least < sum(term.expected for term in election) < most


def test_shorter_intervals_and_resigning_cost_less() -> None:
    slow = {b.fault: b for b in budget(cluster(vrrp=Vrrp(advert_interval="1s")))}
    assert slow["power-off"].worst > EACH["power-off"].worst
    assert EACH["stop-keepalived"].worst < EACH["kill-keepalived"].worst < EACH["freeze"].worst
    assert EACH["drain"].worst < EACH["stop-keepalived"].worst


def test_the_numbers_are_those_of_the_files_that_are_deployed() -> None:
    """They stand in the templates as text: a change there has to be one here."""
    keepalived = _template("keepalived.conf.j2")
    script = re.search(r"vrrp_script haproxy_hung \{(.*?)\n\}", keepalived, re.S)
    assert script is not None
    assert f"interval {bounds.CHECK_INTERVAL:g} " in script[1]
    assert f"fall {bounds.CHECK_FALL} " in script[1]
    assert f'ask("show info", {bounds.CHECK_PATIENCE})' in _template("haproxy-admin.py.j2")
    config = haproxy.render_config(cluster(), cluster().control_plane[0], verified=True)
    timers = Timers.of(cluster())
    assert f"inter {timers.check_interval:g}s fastinter {bounds.FAST_INTERVAL * 1000:g}ms" in config
    assert f"fall {bounds.FALL} " in config
    assert f"timeout check {bounds.CHECK_TIMEOUT:g}s" in config


def _template(name: str) -> str:
    return resources.files("kubeha.templates").joinpath(name).read_text("utf-8")


def test_the_data_have_the_documented_shape() -> None:
    data = EACH["stop-haproxy"].as_json()
    assert set(data) == {"fault", "moves", "expected", "worst", "terms"}
    assert set(data["terms"][0]) == {"name", "seconds", "expected", "source"}
    assert data["worst"] == pytest.approx(sum(term["seconds"] for term in data["terms"]))


def test_faults_that_cost_the_same_are_told_together() -> None:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(budget_view([bound.as_json() for bound in EACH.values()]))
    text = console.export_text()
    assert re.search(r"power-off, link-down, freeze +moves +0.3. s +0.90 s +a b c d e +\n", text)
    assert text.count("3 advertisements missed (") == 1
    assert "power-cycle-all" in text and "nothing is promised" in text


@pytest.mark.provokes("KH102")
def test_an_interval_below_what_virtual_machines_bear_is_warned_of() -> None:
    (found,) = hasty(cluster(vrrp=Vrrp(advert_interval="50ms")))
    assert (found.code, found.severity) == ("KH102", Severity.WARNING)
    assert "paused for 150 ms" in found.message
    assert list(hasty(cluster())) == []


def test_a_trial_is_watched_as_long_as_the_timers_need() -> None:
    slow = cluster(vrrp=Vrrp(advert_interval="5s"))
    bound = next(each for each in budget(slow) if each.fault == "hang-haproxy")
    timed = bounds.timed(FAULTS["hang-haproxy"], slow)
    assert timed.watch > bound.worst > FAULTS["hang-haproxy"].watch
    assert timed.within == pytest.approx(bound.worst - bound.terms[-1].worst)
    assert bounds.timed(FAULTS["power-off"], cluster()) == FAULTS["power-off"]


def test_load_balancers_of_their_own_take_no_api_server_with_them() -> None:
    timers = Timers.of(cluster())
    apart = replace(timers, beside_servers=False)
    saved = sum(t.worst for t in bounds._with_host(timers)) - timers.connect_timeout
    assert sum(t.worst for t in bounds._with_host(apart)) == pytest.approx(saved)


def test_a_server_that_hangs_or_a_bystander_silences_nobody() -> None:
    assert not any("connect_timeout" in term.source for term in EACH["hang-apiserver"].terms)
    silent = bounds.bystander(FAULTS["hang-keepalived"], cluster())
    assert silent == EACH["drain"].worst < EACH["hang-keepalived"].worst


def test_where_the_old_holder_answers_on_only_the_worst_is_a_silence() -> None:
    clients = EACH["drain"].expected
    for name in ("isolate", "hang-keepalived"):
        assert EACH[name].expected == clients and EACH[name].worst > EACH["kill-keepalived"].worst
    assert EACH["kill-keepalived-parent"].expected < EACH["kill-keepalived"].expected
    assert EACH["kill-keepalived-parent"].worst == EACH["kill-keepalived"].worst
