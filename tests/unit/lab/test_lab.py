"""A lab as a value: names, addresses, and what is written into its files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kubeha.errors import LabError, UsageError
from kubeha.lab import access, network
from kubeha.lab.lab import MOST_CLIENTS, MOST_NODES, Lab, cache_directory, design, load, save
from kubeha.lab.lifecycle import Request, place


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    options = {"release": "bookworm", "nodes": 3, "clients": 1}
    return design("lab", "0a1b2c", tmp_path, store=tmp_path / "store", **options)


def test_names_and_addresses(lab: Lab) -> None:
    assert [(m.name, m.address, m.address6) for m in lab.machines] == [
        ("m1", "198.51.100.11", "2001:db8::11"),
        ("m2", "198.51.100.12", "2001:db8::12"),
        ("m3", "198.51.100.13", "2001:db8::13"),
        ("c1", "198.51.100.101", "2001:db8::101"),
    ]


def test_no_two_things_share_a_name_in_the_biggest_lab(tmp_path: Path) -> None:
    counts = {"nodes": MOST_NODES, "clients": MOST_CLIENTS}
    lab = design("lab", "0a1b2c", tmp_path, store=tmp_path, release="trixie", **counts)
    taken = [lab.vip, "198.51.100.1", "198.51.100.2"]
    for names in (
        [m.name for m in lab.machines],
        [m.address for m in lab.machines] + taken,
        [m.address6 for m in lab.machines],
        [m.namespace for m in lab.machines] + [lab.lan],
        [network.hardware_address(m) for m in lab.machines],
    ):
        assert len(names) == len(set(names))
    # An interface's name has at most 15 characters (IFNAMSIZ).
    assert max(len(m.name) for m in lab.machines) <= 15


def test_every_name_on_the_box_carries_the_id(lab: Lab) -> None:
    other = replace(lab, id="ffffff")
    assert lab.lan != other.lan
    for machine in lab.machines:
        assert lab.id in machine.namespace
        assert lab.id in machine.unit
        assert lab.id in str(machine.group)


def test_what_is_saved_is_what_is_loaded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    save(lab)
    monkeypatch.setenv("KUBEHA_CACHE", "/elsewhere")
    assert load(lab.directory) == lab


def test_no_lab_and_a_damaged_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no lab in"):
        load(tmp_path)
    (tmp_path / "lab.json").write_text('{"name": "la')
    with pytest.raises(LabError, match="damaged"):
        load(tmp_path)
    (tmp_path / "lab.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(LabError, match="damaged: no 'name'"):
        load(tmp_path)


def test_an_unknown_machine_is_answered_with_the_names_there_are(lab: Lab) -> None:
    with pytest.raises(UsageError, match="no machine 'm9'") as caught:
        lab.machine("m9")
    assert caught.value.hint == "the machines are m1, m2, m3, c1"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "../x"}, "cannot be a lab's name"),
        ({"name": ""}, "cannot be a lab's name"),
        ({"name": "-x"}, "cannot be a lab's name"),
        ({"name": "a\n"}, "cannot be a lab's name"),
        ({"nodes": 0}, "0 nodes and 1 clients"),
        ({"nodes": 81}, "81 nodes"),
        ({"clients": -1}, "-1 clients"),
        ({"release": "buster"}, "no release 'buster'"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Request(**asked)  # type: ignore[arg-type]


def test_a_name_is_one_directory_below_dot_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("lab") == tmp_path / ".lab/lab"
    with pytest.raises(UsageError):
        place("../../etc")


def test_the_hosts_file_names_every_machine(lab: Lab) -> None:
    lines = access.hosts_file(lab).splitlines()
    assert "198.51.100.12 m2" in lines
    assert "198.51.100.101 c1" in lines
    # 127.0.1.1 for the own name, as Debian's installer has it, would hide the real address.
    assert not any(line.startswith("127.0.1.1") for line in lines)


def test_partitions_as_nft_rules(lab: Lab) -> None:
    rules = network.bridge_rules([["m2", "m1"], ["c1"]], {})
    assert 'iifname { "m1", "m2" } oifname != { "m1", "m2" } drop;' in rules
    assert 'iifname != { "c1" } oifname { "c1" } drop;' in rules
    assert "drop" not in network.bridge_rules([], {})


def test_a_cache_named_from_here_is_one_place_from_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machines' supervisors, and the mounts, have another current directory, or none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBEHA_CACHE", "cache")
    assert cache_directory() == tmp_path / "cache"
