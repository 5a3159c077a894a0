"""Unit files, judged by reading them back."""

import re

import pytest

from kubeha.lab.control_plane_units import (
    Member,
    api_server_unit,
    controller_manager_unit,
    etcd_unit,
    kubernetes_units,
    scheduler_unit,
)

M1, M2 = Member("m1", "198.51.100.11"), Member("m2", "198.51.100.12")


def flags(unit: str) -> dict[str, str]:
    """The flags of ExecStart; fails where one is given twice."""
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.M)
    assert command
    pairs = [word[2:].split("=", 1) for word in command.group(1).replace("\\\n", " ").split()[1:]]
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


def test_the_first_etcd_is_new_and_alone() -> None:
    found = flags(etcd_unit(M1, (M1,)))
    assert found["initial-cluster"] == "m1=https://198.51.100.11:2380"
    assert found["initial-cluster-state"] == "new"


def test_a_later_etcd_names_every_member() -> None:
    found = flags(etcd_unit(M2, (M1, M2)))
    first, second = found["initial-cluster"].split(",")
    assert (first, second) == ("m1=https://198.51.100.11:2380", "m2=https://198.51.100.12:2380")
    assert found["initial-cluster-state"] == "existing"
    assert found["initial-advertise-peer-urls"] == "https://198.51.100.12:2380"


def test_etcd_talks_to_nobody_without_a_certificate() -> None:
    found = flags(etcd_unit(M1, (M1,)))
    assert found["client-cert-auth"] == found["peer-client-cert-auth"] == "true"
    urls = [found[key] for key in ("listen-client-urls", "listen-peer-urls")]
    assert all(url.startswith("https://") for urls in urls for url in urls.split(","))


def test_ipv6_members_are_in_brackets() -> None:
    member = Member("m1", "2001:db8::11")
    found = flags(etcd_unit(member, (member,)))
    assert found["initial-cluster"] == "m1=https://[2001:db8::11]:2380"


@pytest.mark.parametrize("minor", [20, 28, 33])
def test_an_api_server_knows_the_etcd_of_its_own_machine_only(minor: int) -> None:
    assert (
        flags(api_server_unit("198.51.100.11", minor))["etcd-servers"] == "https://127.0.0.1:2379"
    )


@pytest.mark.parametrize(
    ("address", "bind"), [("198.51.100.11", "0.0.0.0"), ("2001:db8::11", "::")]
)
def test_an_api_server_listens_on_every_address_of_its_family(address: str, bind: str) -> None:
    found = flags(api_server_unit(address, 33))
    assert found["bind-address"] == bind
    assert found["advertise-address"] == address
    assert found["service-cluster-ip-range"] == "10.96.0.0/12"


@pytest.mark.parametrize(("minor", "port"), [(20, "0"), (22, "0"), (23, None), (33, None)])
def test_the_unencrypted_port_is_closed_where_there_is_one(minor: int, port: str | None) -> None:
    assert flags(controller_manager_unit(minor)).get("port") == port
    assert flags(scheduler_unit(minor)).get("port") == port


def test_unknown_old_versions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.19: the flags are known from 1\.20 on"):
        kubernetes_units("198.51.100.11", 19)


@pytest.mark.parametrize("unit", [*kubernetes_units("198.51.100.11", 20).values()])
def test_servers_start_at_boot_and_for_ever(unit: str) -> None:
    lines = unit.splitlines()
    for line in ("WantedBy=multi-user.target", "Restart=always", "StartLimitIntervalSec=0"):
        assert line in lines


def test_servers_start_after_what_they_need() -> None:
    units = kubernetes_units("198.51.100.11", 20)
    assert "After=network-online.target etcd.service" in units["kube-apiserver.service"]
    assert "After=kube-apiserver.service" in units["kube-scheduler.service"]
