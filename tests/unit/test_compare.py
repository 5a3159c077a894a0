"""What must agree between the nodes of one virtual router, and what must not."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeha.compare import Aspect, carrying, counterpart, differences, together
from kubeha.grammar.keepalived import parse
from kubeha.grammar.virtual_router import VirtualRouter, virtual_routers

VIP = ip_address("198.51.100.10")


def file(name: str = "VI_1", *lines: str, vips: tuple[str, ...] = ("198.51.100.10/32",)) -> str:
    inside = "\n".join(("interface eth0", *lines, "virtual_ipaddress {", *vips, "}"))
    return f"vrrp_instance {name} {{\n{inside}\n}}\n"


def router(*lines: str, vips: tuple[str, ...] = ("198.51.100.10/32",)) -> VirtualRouter:
    settings = ("virtual_router_id 51", "version 3", "advert_int 0.1", *lines)
    return virtual_routers(parse(file("VI_1", *settings, vips=vips)))[0]


def unicast(own: str, *peers: str) -> tuple[str, ...]:
    return (f"unicast_src_ip {own}", "unicast_peer {", *peers, "}")


ONE, TWO, THREE = "198.51.100.11", "198.51.100.12", "198.51.100.13"
HEALTHY = {
    "m1": router("priority 240", *unicast(ONE, TWO, THREE)),
    "m2": router("priority 200", *unicast(TWO, ONE, THREE)),
    "m3": router("priority 160", *unicast(THREE, ONE, TWO)),
}


def test_nodes_that_agree_do_not_differ() -> None:
    assert differences(HEALTHY) == ()
    assert differences({}) == differences({"m1": HEALTHY["m1"]}) == ()


@pytest.mark.parametrize(
    ("lines", "vips", "aspect"),
    [
        pytest.param(("version 2", "advert_int 1"), (), Aspect.VERSION, id="version"),
        pytest.param(("virtual_router_id 52",), (), Aspect.VRID, id="vrid"),
        pytest.param((), ("198.51.100.20",), Aspect.VIPS, id="another VIP"),
        pytest.param((), ("198.51.100.10", "198.51.100.20"), Aspect.VIPS, id="one VIP more"),
        pytest.param(("advert_int 0.5",), (), Aspect.LEARNED_INTERVAL, id="interval"),
        pytest.param(("priority 200",), (), Aspect.PRIORITY, id="priority"),
    ],
)
def test_one_node_that_differs(
    lines: tuple[str, ...], vips: tuple[str, ...], aspect: Aspect
) -> None:
    other = router(
        "priority 160", *unicast(THREE, ONE, TWO), *lines, vips=vips or ("198.51.100.10",)
    )
    (difference,) = differences({**HEALTHY, "m3": other})
    assert difference.aspect is aspect
    assert difference.odd == (("m2", "m3") if aspect is Aspect.PRIORITY else ("m3",))
    assert "m3" in difference.message
    assert difference.fix


def test_a_peer_that_is_missing_is_named_with_its_address() -> None:
    (difference,) = differences({**HEALTHY, "m1": router("priority 240", *unicast(ONE, THREE))})
    assert difference.aspect is Aspect.PEERS
    assert difference.message == "m1 does not send its adverts to m2: not in its unicast_peer"
    assert TWO in difference.fix


def test_who_is_who_is_known_from_unicast_src_ip_or_from_the_nodes() -> None:
    quiet = router("priority 200", "unicast_peer {", ONE, THREE, "}")
    missing = router("priority 240", *unicast(ONE, THREE))
    routers = {**HEALTHY, "m1": missing, "m2": quiet}
    assert differences(routers) == ()
    (difference,) = differences(routers, {"m2": [ip_address(TWO)]})
    assert difference.aspect is Aspect.PEERS


def test_a_peer_may_be_named_by_any_of_its_addresses() -> None:
    away = router("priority 240", *unicast(ONE, "203.0.113.12", THREE))
    addresses = {"m2": [ip_address(TWO), ip_address("203.0.113.12")]}
    assert differences({**HEALTHY, "m1": away}, addresses) == ()


def test_unicast_beside_multicast_is_one_difference() -> None:
    (difference,) = differences({**HEALTHY, "m2": router("priority 200")})
    assert difference.aspect is Aspect.CAST
    assert difference.evidence == "m1, m3: unicast; m2: multicast"


def with_password(word: str) -> VirtualRouter:
    return router(
        "version 2", "advert_int 1", "authentication {", "auth_type PASS", f"auth_pass {word}", "}"
    )


def test_passwords_are_compared_as_they_are_used_and_never_shown() -> None:
    a, b = with_password("eight888-tail"), replace(with_password("other"), priority=90)
    (difference,) = differences({"m1": a, "m2": b})
    assert difference.aspect is Aspect.AUTHENTICATION
    assert difference.evidence == "m1: PASS, password 1; m2: PASS, password 2"
    # Only eight octets travel: these two do speak to each other.
    assert differences({"m1": a, "m2": replace(with_password("eight888"), priority=90)}) == ()


def test_version_3_ignores_authentication() -> None:
    words = ("authentication {", "auth_type PASS", "auth_pass secret", "}")
    other = router("priority 200", *unicast(TWO, ONE, THREE), *words)
    assert differences({**HEALTHY, "m2": other}) == ()


def test_intervals_are_an_error_with_version_2() -> None:
    slow, fast = router("version 2", "advert_int 2"), router("version 2", "advert_int 1")
    (difference,) = differences({"m1": slow, "m2": replace(fast, priority=90)})
    assert difference.aspect is Aspect.INTERVAL


def test_order_and_prefix_of_vips_do_not_matter() -> None:
    a = router("priority 240", vips=("198.51.100.10/32", "198.51.100.20/32"))
    b = router("priority 200", vips=("198.51.100.20/24", "198.51.100.10/24"))
    assert differences({"m1": a, "m2": b}) == ()


def test_two_nodes_without_a_majority_are_both_odd() -> None:
    (difference,) = differences({"m1": router("priority 9"), "m2": router("virtual_router_id 7")})
    assert difference.odd == ("m1", "m2")


ROUTERS = st.builds(
    lambda version, vrid, priority, interval, peers: replace(
        HEALTHY["m1"],
        version=version,
        vrid=vrid,
        priority=priority,
        advert_int=interval,
        unicast_peers=peers,
    ),
    st.sampled_from((2, 3)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from((0.1, 1.0)),
    st.sampled_from(((), (ip_address(TWO),))),
)


@given(st.lists(ROUTERS, min_size=2, max_size=4))
def test_order_of_the_nodes_changes_nothing(routers: list[VirtualRouter]) -> None:
    named = {f"m{number}": each for number, each in enumerate(routers)}
    back = dict(reversed(named.items()))
    found = {(each.aspect, frozenset(each.odd)) for each in differences(named)}
    assert found == {(each.aspect, frozenset(each.odd)) for each in differences(back)}


def test_the_instance_that_carries_the_vip_is_found_by_it() -> None:
    text = file("OTHER", vips=("198.51.100.99",)) + file("API")
    routers = virtual_routers(parse(text))
    assert carrying(routers, VIP) == routers[1]
    assert carrying(routers[:1], VIP) is None


def test_excluded_vips_are_carried_too() -> None:
    beside = ("virtual_ipaddress_excluded {", "198.51.100.10", "}")
    (router,) = virtual_routers(parse(file("API", *beside, vips=("198.51.100.20",))))
    assert carrying([router], VIP) == router


def test_counterparts_share_a_vip_then_an_id_then_a_name() -> None:
    same_vip = router("virtual_router_id 1")
    same_id = router(vips=("198.51.100.20",))
    ours = HEALTHY["m1"]
    assert counterpart([same_id, same_vip], [ours]) == same_vip
    assert counterpart([same_id], [ours]) == same_id
    stranger = replace(router("virtual_router_id 9", vips=("198.51.100.20",)), instance="X")
    assert counterpart([stranger], [ours]) is None


def test_instances_of_several_files_are_grouped() -> None:
    web = replace(router("virtual_router_id 60", vips=("198.51.100.80",)), instance="WEB")
    a, b = HEALTHY["m1"], HEALTHY["m2"]
    groups = together({"a": (web, a), "b": (b, replace(web, priority=50)), "c": ()})
    assert [set(group) for group in groups] == [{"a", "b"}, {"a", "b"}]
    assert groups[0]["a"] == web
    assert groups[1] == {"a": a, "b": b}
    assert together({"a": (a,)}) == ()
