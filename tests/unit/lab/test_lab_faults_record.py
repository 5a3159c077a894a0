"""Faults as they are asked for and recorded, and the frames that a rogue sends."""

import json
import struct
from pathlib import Path

import pytest

from kubeha.errors import UsageError
from kubeha.lab import network, rogue_vrrp
from kubeha.lab.access import cluster_file
from kubeha.lab.faults import FAULTS, wiring
from kubeha.lab.faults.record import Active, active, in_force, save
from kubeha.lab.faults.settings import complete, split
from kubeha.lab.lab import Lab, design


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    options = {"release": "bookworm", "nodes": 3, "clients": 1}
    lab = design("lab", "0a1b2c", tmp_path, store=tmp_path / "store", **options)
    lab.cluster_file.write_text(cluster_file(lab))
    return lab


def test_what_is_saved_is_active_again(lab: Lab) -> None:
    faults = (
        Active("loss", ("m1", "m2"), 1.5, {"percent": "30"}),
        Active("vip-stolen", (), 2.5, {"vip": "198.51.100.10"}),
        Active("partition", ("m3",), 3.5, healing=True),
    )
    assert active(lab) == ()
    save(lab, faults)
    assert active(lab) == faults
    assert in_force(lab, "loss") == faults[:1]
    assert in_force(lab, "partition") == (), "what is being healed does not come back at a boot"


def test_a_record_of_before_there_were_settings_is_read(lab: Lab) -> None:
    old = [{"fault": "freeze", "machines": ["m1"], "since": 7.0}]
    (lab.directory / "faults.json").write_text(json.dumps(old))
    assert active(lab) == (Active("freeze", ("m1",), 7.0),)
    save(lab, active(lab))
    assert json.loads((lab.directory / "faults.json").read_text()) == old


def test_words_are_machines_or_settings() -> None:
    assert split(["m1", "percent=50", "m2"]) == (["m1", "m2"], {"percent": "50"})
    assert split([]) == ([], {})


def test_defaults_come_from_the_cluster_file_as_it_is_now(lab: Lab) -> None:
    rogue = FAULTS["rogue-vrrp"].settings
    assert complete(lab, "rogue-vrrp", rogue, {})["vrid"] == "10"
    text = lab.cluster_file.read_text().replace("198.51.100.10,", "198.51.100.20,")
    lab.cluster_file.write_text(text + "vrrp: {vrid: 51}\n")
    assert complete(lab, "rogue-vrrp", rogue, {"priority": "7"}) == {
        "vrid": "51",
        "priority": "7",
        "version": "3",
        "to": "multicast",
        "interval": "1",
        "vip": "198.51.100.99",
    }
    stolen = FAULTS["vip-stolen"].settings
    assert complete(lab, "vip-stolen", stolen, {}) == {"vip": "198.51.100.20"}
    flood = complete(lab, "idle-flood", FAULTS["idle-flood"].settings, {"connections": "7"})
    assert flood == {"connections": "7", "rate": "1000", "vip": "198.51.100.20", "port": "8443"}


@pytest.mark.parametrize(
    ("fault", "setting"),
    [
        ("loss", "percent=0"),
        ("loss", "percent=101"),
        ("loss", "percent=-1"),
        ("loss", "percent=٣"),
        ("loss", "percent=3.5"),
        ("mtu", "bytes=1279"),
        ("rogue-vrrp", "vrid=0"),
        ("rogue-vrrp", "priority=256"),
        ("rogue-vrrp", "version=1"),
        ("rogue-vrrp", "interval=nan"),
        ("rogue-vrrp", "interval=41"),
        ("rogue-vrrp", "vip=198.51.100.999"),
        ("rogue-vrrp", "speed=1"),
        ("rogue-vrrp", "to=198.51.100.11"),
        ("idle-flood", "connections=0"),
        ("idle-flood", "rate=2001"),
        ("idle-flood", "port=65536"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(lab: Lab, fault: str, setting: str) -> None:
    _, given = split([setting])
    with pytest.raises(UsageError, match=f"the fault '{fault}'"):
        complete(lab, fault, FAULTS[fault].settings, given)


def test_all_is_lost_at_100_percent() -> None:
    """nft takes `numgen random mod 100 < 100` for an error."""
    assert "mod 100 < 30 drop; }" in network.bridge_rules([], {"m1": 30})
    assert 'mod 100 < 99 drop; oifname "m1" drop; }' in network.bridge_rules([], {"m1": 100})


def test_a_cut_has_two_directions_and_may_mean_some_packets_only() -> None:
    vrrp = network.Cut({"m2", "m1"}, ("m1", "m2"), network.VRRP_ALONE)
    rules = network.bridge_rules([], {}, [network.Cut({"m1"}, {"gateway", "m2"}), vrrp])
    assert 'iifname { "m1" } oifname { "gateway", "m2" }  drop;' in rules
    assert 'iifname { "gateway", "m2" } oifname { "m1" }  drop;' in rules
    assert 'iifname { "m1", "m2" } oifname { "m1", "m2" } meta l4proto 112 drop;' in rules


def test_what_the_bridge_cuts_follows_from_the_record(lab: Lab) -> None:
    save(lab, (Active("block-vrrp", ("m1", "m3"), 1.0), Active("isolate", ("m2",), 2.0)))
    vrrp, alone = wiring.cuts(lab)
    assert vrrp == network.Cut(("m1", "m3"), ("m1", "m3"), network.VRRP_ALONE)
    assert alone == network.Cut({"m2"}, {"gateway", "m1", "m3"})
    save(lab, (Active("isolate", ("m2",), 2.0, healing=True),))
    assert list(wiring.cuts(lab)) == []


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071: over a packet with its checksum in place it is 0xffff."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_version_3_is_laid_out_as_in_rfc_9568() -> None:
    packet = rogue_vrrp.advertisement(3, 51, 150, 0.5, "198.51.100.99")
    assert packet.hex() == "3133960100320000" + "c6336463"
    header = rogue_vrrp.pseudo_header("198.51.100.92", rogue_vrrp.GROUP4, len(packet))
    assert header.hex() == "c633645c" + "e0000012" + "0070000c"
    assert ones_complement_sum(header + rogue_vrrp.with_checksum(packet, header)) == 0xFFFF


def test_version_2_is_laid_out_as_in_rfc_3768() -> None:
    packet = rogue_vrrp.advertisement(2, 51, 150, 1, "198.51.100.99")
    assert packet.hex() == "2133960100010000" + "c6336463" + "00" * 8
    assert ones_complement_sum(rogue_vrrp.with_checksum(packet)) == 0xFFFF
