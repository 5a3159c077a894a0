"""The node's part in a planned move: what has to be so, when it is over, what it says. Pure."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubeha.node import handover
from kubeha.node.handover import (
    Acts,
    Service,
    believable,
    frame,
    longest,
    merged,
    read_frame,
    ruleset,
    speaking,
    wanted,
    why_over,
)

REQUEST: dict[str, Any] = {"vip": "198.51.100.10", "port": 8443, "interface": "eth0"}
IPV6: dict[str, Any] = {"vip": "2001:db8::10", "port": 8443, "interface": "eth0"}
ARP = {
    "/proc/sys/net/ipv4/conf/all/arp_ignore": 1,
    "/proc/sys/net/ipv4/conf/all/arp_announce": 2,
}


def entry(number: int, seconds: float = 600.0, move: str = "a") -> dict[str, Any]:
    return {"id": move, "address": f"198.51.100.1{number}", "seconds": seconds}


def test_the_former_holder_keeps_the_vip_and_passes_nothing_on() -> None:
    want = wanted(REQUEST, "m1", {"m1": entry(1)})
    assert want == {"sysctls": ARP, "address": True, "rules": None}


def test_the_others_pass_unknown_packets_on_to_it() -> None:
    want = wanted(REQUEST, "m2", {"m1": entry(1)})
    assert want["sysctls"] == {"/proc/sys/net/ipv4/conf/eth0/accept_local": 1}
    assert want["address"] is False
    assert 'dup to 198.51.100.11 device "eth0" drop' in want["rules"]


def test_what_is_passed_on_is_marked_and_never_passed_on_again() -> None:
    """Whatever the nodes believe of each other, a packet makes one hop at most."""
    first = ruleset(REQUEST, ["198.51.100.11"]).split("\n    ")[2]
    assert "ip dscp != 61" in first
    assert first.index("dscp set 61") < first.index("dup to")


def test_of_several_former_holders_each_gets_a_copy_and_drops_what_it_does_not_know() -> None:
    formers = {"m1": entry(1), "m2": entry(2, move="b")}
    holder, first, second = (wanted(REQUEST, name, formers)["rules"] for name in ("m3", "m1", "m2"))
    assert 'dup to 198.51.100.11 device "eth0" dup to 198.51.100.12 device "eth0" drop' in holder
    assert "dscp 61 counter drop" in holder, "it may be about to become one itself"
    assert "198.51.100.11" not in first.replace("daddr 198.51.100.10", "")
    assert "dscp 61 counter drop" in first and "dscp 61 counter drop" in second


def test_ipv6_needs_no_arp_settings() -> None:
    want = wanted(IPV6, "m1", {"m1": entry(1), "m2": {**entry(2), "address": "2001:db8::12"}})
    assert want["sysctls"] == {}
    assert "table ip6 kubeha_handover" in want["rules"]
    assert "ip6 dscp set 61" in want["rules"]


def test_a_request_adds_to_what_is_known_and_old_moves_expire() -> None:
    known = merged({}, {"m1": entry(1, 10.0), "m2": entry(2, 600.0)}, at=100.0, prepared=5.0)
    later = merged(known, {"m3": entry(3)}, at=116.0)
    assert sorted(later) == ["m2", "m3"]
    assert later["m2"]["until"] == 705.0


def test_the_same_move_asked_for_again_changes_nothing_and_another_begins_anew() -> None:
    known = merged({}, {"m1": entry(1)}, at=100.0)
    known["m1"]["left"] = 101.0
    assert merged(known, {"m1": entry(1)}, at=150.0) == known
    assert "left" not in merged(known, {"m1": entry(1, move="b")}, at=150.0)["m1"]


@pytest.mark.parametrize(
    ("state", "holding", "count", "at", "why"),
    [
        ({}, True, 9, 5.0, None),
        ({}, True, 9, 31.0, "stayed"),
        ({}, None, 9, 31.0, None),
        ({"left": 10.0}, False, 9, 20.0, None),
        ({"left": 10.0}, False, 0, 12.0, None),
        ({"left": 10.0}, False, 0, 13.5, "ended"),
        ({"left": 10.0}, False, None, 50.0, None),
        ({"left": 10.0}, True, 9, 11.0, "returned"),
        ({"left": 10.0}, False, 9, 100.0, "deadline"),
        ({}, True, 9, 100.0, "deadline"),
    ],
    ids=[
        "prepared", "never-moved", "blind", "carries", "too-early", "ended", "uncounted",
        "returned", "deadline", "deadline-before-the-move",
    ],
)  # fmt: skip
def test_when_a_former_holder_has_done_its_part(
    state: dict[str, Any], holding: bool | None, count: int | None, at: float, why: str | None
) -> None:
    assert why_over({"since": 0.0, "until": 100.0, **state}, holding, count, at) == why


def test_a_frame_is_heard_by_those_of_the_same_vip_only() -> None:
    data = frame(b"\x02" * 6, "198.51.100.10", "m1", "a", rest=4.5)
    assert len(data) >= 60
    assert read_frame(data, "198.51.100.10") == ("m1", "a", 4.5)
    assert read_frame(data, "198.51.100.99") is None
    assert read_frame(data[:40], "198.51.100.10") is None
    assert read_frame(b"\0" * 60, "198.51.100.10") is None


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acts:
    """Acts with their state in a directory of the test."""
    for name in ("JOURNAL", "LAST", "ASIDE"):
        monkeypatch.setattr(handover, name, str(tmp_path / name.lower()))
    return Acts()


def test_a_sysctl_gets_back_exactly_what_it_had(acts: Acts, tmp_path: Path) -> None:
    file = tmp_path / "arp_announce"
    file.write_text("1\n")
    acts.raise_sysctl(str(file), 2)
    assert file.read_text() == "2\n"
    Acts().undo()
    assert file.read_text() == "1\n"


def test_a_sysctl_that_is_high_enough_is_left_alone(acts: Acts, tmp_path: Path) -> None:
    file = tmp_path / "arp_ignore"
    file.write_text("8\n")
    acts.raise_sysctl(str(file), 1)
    acts.undo()
    assert file.read_text() == "8\n"


def test_a_sysctl_that_somebody_changed_meanwhile_is_left_alone_and_told(
    acts: Acts, tmp_path: Path
) -> None:
    file = tmp_path / "arp_ignore"
    file.write_text("0\n")
    acts.raise_sysctl(str(file), 1)
    file.write_text("2\n")
    acts.undo()
    assert file.read_text() == "2\n"
    notes = json.loads(Path(handover.LAST).read_text())["notes"]
    assert notes == [f"{file}: somebody has set it to 2 meanwhile (it was 0): left alone"]


def test_the_journal_is_written_before_the_act(acts: Acts, tmp_path: Path) -> None:
    """A death between the two leaves a journal of something that was never done: no harm."""
    file = tmp_path / "arp_ignore"
    file.write_text("0\n")
    acts.state["sysctls"][str(file)] = {"was": "0", "set": "1"}
    acts.save()
    Acts().undo()
    assert file.read_text() == "0\n"
    assert not Path(handover.JOURNAL).exists()


def test_standing_aside_is_undone_but_not_what_somebody_else_wrote(acts: Acts) -> None:
    aside = Path(handover.ASIDE)
    aside.write_text("0\n")
    acts.stand_aside(True)
    assert aside.read_text() == "-127\n"
    Acts().undo()
    assert aside.read_text() == "0\n"
    acts.stand_aside(True)
    aside.write_text("-5\n")
    acts.undo()
    assert aside.read_text() == "-5\n"


def test_a_former_holder_that_has_the_vip_again_stays_one_while_there_are_others() -> None:
    """Clients on those nodes reach it only because they go on passing packets to it."""
    state = {"since": 0.0, "until": 100.0, "left": 10.0}
    assert why_over(state, True, 9, 20.0, others=True) is None
    formers = {"m1": entry(1), "m2": entry(2, move="b")}
    home = wanted(REQUEST, "m1", formers, home=True)
    assert home["address"] is False
    assert sorted(home["sysctls"]) == ["/proc/sys/net/ipv4/conf/eth0/accept_local"]
    assert 'dup to 198.51.100.12 device "eth0" drop' in home["rules"]
    assert 'dup to 198.51.100.11 device "eth0" drop' in wanted(REQUEST, "m2", formers)["rules"]


def test_only_a_strict_reverse_path_filter_is_loosened(acts: Acts, tmp_path: Path) -> None:
    for everywhere, card, after in (("0", "0", "0"), ("1", "0", "2"), ("0", "1", "2")):
        for name, value in (("all", everywhere), ("eth0", card)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "rp_filter").write_text(f"{value}\n")
        acts.raise_sysctl(str(tmp_path / "eth0" / "rp_filter"), 2)
        assert (tmp_path / "eth0" / "rp_filter").read_text().strip() == after
        acts.undo()
        assert (tmp_path / "eth0" / "rp_filter").read_text().strip() == card
        acts = Acts()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ip, ss and nft were asked, in a file; the VIP is on lo, and on no card."""
    log, programs = tmp_path / "asked", tmp_path / "programs"
    programs.mkdir()
    for name in ("ip", "ss", "nft"):
        script = programs / name
        script.write_text(
            f'#!/bin/sh\necho "{name} $*" >>{log}\n'
            'case "$*" in *"show dev lo"*) echo "1: lo inet 198.51.100.10/32";; esac\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return log


def test_what_is_left_is_reset_while_the_vip_is_still_there(acts: Acts, asked: Path) -> None:
    """After a death: without the address, this kernel would have nothing to send a RST from."""
    acts.state.update(address=REQUEST["vip"], endpoint=REQUEST)
    acts.save()
    Acts().undo()
    lines = asked.read_text().splitlines()
    closed = next(n for n, line in enumerate(lines) if line.startswith("ss -K"))
    assert "src 198.51.100.10 and sport = :8443" in lines[closed]
    assert closed < lines.index("ip address del 198.51.100.10/32 dev lo")


def test_a_node_that_only_passed_on_resets_nothing(acts: Acts, asked: Path) -> None:
    acts.state.update(table="ip")
    acts.save()
    Acts().undo()
    assert asked.read_text() == "nft delete table ip kubeha_handover\n"


@pytest.mark.parametrize(
    ("rest", "so"),
    [
        (0.0, True),
        (629.9, True),
        (630.1, False),
        (-1.0, False),
        (float("nan"), False),
        (float("inf"), False),
    ],
)
def test_a_former_holder_is_believed_what_its_move_allows(rest: float, so: bool) -> None:
    assert believable(rest, seconds=600.0) is so


def test_before_the_vip_goes_the_time_to_prepare_counts() -> None:
    assert believable(690.0, seconds=600.0, prepared=95.0)
    assert not believable(700.0, seconds=600.0, prepared=95.0)


@pytest.mark.parametrize("rest", ["1" + "0" * 400, "[" * 1200, '"soon"', "null"])
def test_a_frame_that_makes_no_sense_is_no_frame(rest: str) -> None:
    said = f'{{"vip": "198.51.100.10", "name": "m1", "id": "a", "rest": {rest}}}'
    assert read_frame(b"\0" * 14 + handover.MAGIC + said.encode(), "198.51.100.10") is None


def test_the_service_may_run_as_long_as_it_has_something_to_do() -> None:
    assert longest({"formers": {"m1": entry(1, 60.0)}, "prepared": 90.0}) == 150.0
    assert longest({"formers": {}, "aside": 75.0}) == 75.0
    assert longest({"formers": {}}) == 30.0


@pytest.fixture
def full(acts: Acts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A setting that was raised; no file can be made beside the journal any more."""
    file = tmp_path / "arp_ignore"
    file.write_text("0\n")
    acts.raise_sysctl(str(file), 1)
    (tmp_path / "journal.new").mkdir()
    (tmp_path / "last.new").mkdir()
    return file


def test_where_nothing_can_be_written_all_is_undone_nevertheless(full: Path) -> None:
    again = Acts()
    again.note("something to tell")
    again.undo()
    assert full.read_text() == "0\n"
    assert not Path(handover.JOURNAL).exists()


def test_where_nothing_can_be_written_nothing_more_is_begun(full: Path, tmp_path: Path) -> None:
    """What is done without a journal would never be undone."""
    other = tmp_path / "arp_announce"
    other.write_text("0\n")
    with pytest.raises(OSError):
        Acts().raise_sysctl(str(other), 2)
    assert other.read_text() == "0\n"


def test_the_journal_stays_while_a_part_could_not_be_undone(
    acts: Acts, tmp_path: Path, asked: Path
) -> None:
    """One part's failure stops no other, and what is left is undone the next time."""
    file = tmp_path / "arp_ignore"
    file.write_text("0\n")
    acts.raise_sysctl(str(file), 1)
    acts.state.update(table="ip", address=REQUEST["vip"])
    acts.save()
    ip = tmp_path / "programs" / "ip"
    script = ip.read_text()
    ip.write_text(f'{script}case "$*" in *" del "*) exit 2;; esac\n')
    Acts().undo()
    assert file.read_text() == "0\n"
    assert "nft delete table" in asked.read_text()
    assert json.loads(Path(handover.JOURNAL).read_text())["address"] == REQUEST["vip"]
    ip.write_text(script)
    Acts().undo()
    assert not Path(handover.JOURNAL).exists()


def test_nothing_is_passed_on_to_who_has_fallen_silent() -> None:
    formers = {"m1": entry(1), "m2": entry(2), "m3": entry(3)}
    heard = {"m1": 90.0, "m2": 99.0}
    assert sorted(speaking(formers, heard, "m9", at=100.0)) == ["m2", "m3"]
    assert sorted(speaking(formers, heard, "m1", at=100.0)) == ["m1", "m2", "m3"]


@pytest.mark.parametrize(("silent", "known"), [(5.0, True), (25.0, False)])
def test_who_speaks_again_soon_is_still_known(acts: Acts, silent: float, known: bool) -> None:
    """A busy machine is not a dead one: of several, the others would drop its packets for good."""
    service = Service()
    service.request = {**REQUEST, "me": "m2"}
    at = handover.now()
    service.formers = {"m1": {**entry(1), "until": at + 600.0}}
    service.heard = {"m1": at - silent}
    service.forget_the_dead()
    assert speaking(service.formers, service.heard, "m2", at) == {}
    assert ("m1" in service.formers) is known
    if known:
        service.heard["m1"] = handover.now()
        assert "m1" in speaking(service.formers, service.heard, "m2", handover.now())


def test_the_silence_of_an_earlier_move_does_not_count(
    acts: Acts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {**REQUEST, "me": "m2", "generation": 7, "formers": {"m1": entry(1, move="b")}}
    file = tmp_path / "request"
    file.write_text(json.dumps(request))
    monkeypatch.setattr(handover, "REQUEST", str(file))
    monkeypatch.setattr(Service, "listen", lambda self: None)
    service = Service()
    service.heard = {"m1": handover.now() - 60.0}
    service.read_request()
    service.forget_the_dead()
    assert "m1" in speaking(service.formers, service.heard, "m2", handover.now())
