"""What an etcd's list of members means for one that wants to join."""

import pytest

from kubeha.lab.control_plane_units import Member
from kubeha.lab.etcd import Listed, initial_cluster, listed_at, parse_members

M1, M2, M3 = (Member(f"m{n}", f"198.51.100.1{n}") for n in (1, 2, 3))
KNOWN = (M1, M2, M3)
# etcdctl 3.4.23 in a lab: m1 has started, m2 was added and has not.
RECORDED = (
    '{"header":{"cluster_id":14732948079024948272,"member_id":2515358856023773612,"raft_term":2},'
    '"members":[{"ID":2515358856023773612,"name":"m1","peerURLs":["https://198.51.100.11:2380"],'
    '"clientURLs":["https://198.51.100.11:2379"]},'
    '{"ID":8994334489631802689,"peerURLs":["https://198.51.100.12:2380"]}]}\n'
)


def test_a_member_that_never_started_has_no_name() -> None:
    assert parse_members(RECORDED) == (
        Listed(2515358856023773612, "m1", (M1.peer_url,)),
        Listed(8994334489631802689, "", (M2.peer_url,)),
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"members": [{"name": "m1"}]}'])
def test_other_output_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_members(text)


def test_every_listed_member_gets_its_machines_name() -> None:
    assert initial_cluster(parse_members(RECORDED), KNOWN) == (M1, M2)


def test_a_member_is_recognised_by_its_address() -> None:
    listed = parse_members(RECORDED)
    assert listed_at(listed, M2.peer_url) == listed[1]
    assert listed_at(listed, M3.peer_url) is None
