"""What a planned move does to a node, and that all of it is undone, whatever happens meanwhile."""

import json
from pathlib import Path

import pytest
from former_holders import REQUEST, keep_files_in

from kubeha.node.handover import files
from kubeha.node.handover.acts import Acts


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acts:
    """Acts with their state in a directory of the test."""
    keep_files_in(tmp_path, monkeypatch)
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
    notes = json.loads(Path(files.LAST).read_text())["notes"]
    assert notes == [f"{file}: somebody has set it to 2 meanwhile (it was 0): left alone"]


def test_the_journal_is_written_before_the_act(acts: Acts, tmp_path: Path) -> None:
    """A death between the two leaves a journal of something that was never done: no harm."""
    file = tmp_path / "arp_ignore"
    file.write_text("0\n")
    acts.state["sysctls"][str(file)] = {"was": "0", "set": "1"}
    acts.save()
    Acts().undo()
    assert file.read_text() == "0\n"
    assert not Path(files.JOURNAL).exists()


def test_standing_aside_is_undone_but_not_what_somebody_else_wrote(acts: Acts) -> None:
    aside = Path(files.ASIDE)
    aside.write_text("0\n")
    acts.stand_aside(True)
    assert aside.read_text() == "-127\n"
    Acts().undo()
    assert aside.read_text() == "0\n"
    acts.stand_aside(True)
    aside.write_text("-5\n")
    acts.undo()
    assert aside.read_text() == "-5\n"


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
    assert not Path(files.JOURNAL).exists()


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
    assert json.loads(Path(files.JOURNAL).read_text())["address"] == REQUEST["vip"]
    ip.write_text(script)
    Acts().undo()
    assert not Path(files.JOURNAL).exists()
