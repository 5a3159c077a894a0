"""Every way in which a virtual router breaks, on real machines: break it, see exactly why, heal.

The cases are those that neither log nor wire alone shows. keepalived.conf is edited on nodes where
kubeha has deployed it, as a person would. Each test asserts all that is found, so that it fails,
too, when an earlier one has left something; the last one sees that nothing is left.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from conftest import labs
from endpoint import NODES, Endpoint

from kubeha.paths import KEEPALIVED_CONFIG

# Without Kubernetes, which plays no part here: no CA, no API server, nothing to read; and an
# edited file is no longer the one that an apply would write. Without guards, which would end it.
EXPECTED_HERE = {"KH208", "KH424", "KH602", "KH606", "KH607", "KH609"}
VIP, OTHER_VIP = "198.51.100.10", "198.51.100.60"
Texts = Mapping[str, str]
Edit = Callable[[str], str]
# (code, severity, node)
Found = set[tuple[str, str, str]]


@dataclass(frozen=True)
class Routers:
    """The three nodes' keepalived; `texts`: their files as kubeha deployed them."""

    endpoint: Endpoint
    texts: Texts

    def found(self) -> Found:
        """What verify finds; the words are in the failure of an assertion only."""
        done = self.endpoint.lab.kubeha("verify", "-o", "json")
        assert done.stdout, done.stderr
        return {
            (each["code"], each["severity"], each["node"])
            for each in json.loads(done.stdout)["findings"]
            if each["code"] not in EXPECTED_HERE
        }

    def finds(self, *wanted: str) -> None:
        """Wait until exactly these are found, each written `KH402 error` or `KH306 error m2`."""
        expected = {(*each.split(), "")[:3] for each in wanted}
        # keepalived's lines about a stranger who has gone are news for half a minute.
        deadline = time.monotonic() + 60
        while (seen := self.found()) != expected:
            assert time.monotonic() < deadline, f"finds {sorted(seen)}, not {sorted(expected)}"

    @contextmanager
    def running(self, texts: Texts, *, verb: str = "restart") -> Iterator[None]:
        """These nodes run with these files while the body does, and with ours afterwards."""
        try:
            self._run(texts, verb)
            yield
        finally:
            self._run({name: self.texts[name] for name in texts}, verb)

    def _run(self, texts: Texts, verb: str) -> None:
        for name, text in texts.items():
            machine = self.endpoint.lab.machine(name)
            machine.execute(["tee", KEEPALIVED_CONFIG], input=text)
            machine.execute(["systemctl", verb, "keepalived"])

    @contextmanager
    def fault(self, *words: str) -> Iterator[None]:
        try:
            self.endpoint.lab.fault(*words)
            yield
        finally:
            self.endpoint.lab.heal()

    def edited(self, edit: Edit, *names: str) -> dict[str, str]:
        """Our files of these nodes (of all, if none is named) with something changed."""
        changed = {name: edit(self.texts[name]) for name in names or NODES}
        assert all(text != self.texts[name] for name, text in changed.items())
        return changed


def swap(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new)


def to_multicast(text: str) -> str:
    """Without peers, and without the check that only they are listened to."""
    text = re.sub(r" *unicast_src_ip \S+\n *unicast_peer \{[^}]*\}\n", "", text)
    return re.sub(r" *vrrp_check_unicast_src.*\n", "", text)


def to_version_2(text: str) -> str:
    text = re.sub(r"version 3", "version 2", text)
    return re.sub(r"advert_int \S+", "advert_int 1", text)


def with_password(word: str) -> Edit:
    block = f"    authentication {{\n        auth_type PASS\n        auth_pass {word}\n    }}\n"
    return lambda text: to_version_2(text).replace(
        "    virtual_ipaddress {", f"{block}    virtual_ipaddress {{"
    )


@pytest.fixture(scope="module")
def routers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Routers]:
    for lab in labs(request, tmp_path_factory.mktemp("vrrp"), "--kubernetes", "none"):
        lab.kubeha("apply", "--yes", "--no-diff", timeout=1100)
        endpoint = Endpoint(lab)
        endpoint.wait_for_holder(timeout=60)
        endpoint.stop_guards()
        read = {name: lab.machine(name).execute(["cat", KEEPALIVED_CONFIG]) for name in NODES}
        yield Routers(endpoint, {name: done.stdout for name, done in read.items()})


def test_the_cluster_is_well_before_anything_is_broken(routers: Routers) -> None:
    routers.finds()


UNICAST = {
    "c1-another-vip": (swap(f"{VIP}/32", f"{OTHER_VIP}/32"), ("KH412 error m2",)),
    "c2-one-vip-more": (
        swap("virtual_ipaddress {", f"virtual_ipaddress {{\n        {OTHER_VIP}/32 dev eth0"),
        ("KH402 error", "KH412 error m2"),
    ),
    "c3-another-mask": (swap(f"{VIP}/32", f"{VIP}/24"), ()),
    "e3-multicast": (to_multicast, ("KH402 error", "KH414 error m2")),
    "e6-another-interval": (swap("advert_int 0.1", "advert_int 0.5"), ("KH423 warning m2",)),
    "another-version": (to_version_2, ("KH402 error", "KH417 error m2")),
    "another-vrid": (
        swap("virtual_router_id 10", "virtual_router_id 11"),
        ("KH402 error", "KH418 error m2"),
    ),
}


@pytest.mark.provokes("KH402", "KH412", "KH414", "KH417", "KH418", "KH423")
@pytest.mark.parametrize("name", UNICAST)
def test_one_node_whose_file_differs(routers: Routers, name: str) -> None:
    """Of three that speak unicast, m2, which is a backup, has something else than the others."""
    edit, wanted = UNICAST[name]
    with routers.running(routers.edited(edit, "m2")):
        routers.finds(*wanted)


@pytest.mark.provokes("KH413", "KH402")
def test_e2_a_peer_that_is_missing(routers: Routers) -> None:
    """The holder does not send to m2, which takes the VIP as well; m2 logs nothing."""
    holder = routers.endpoint.holder()
    other = "m2" if holder != "m2" else "m1"
    peer = f"        {routers.endpoint.lab.machine(other).address}\n"
    # A reload, for with a restart the VIP would go to somebody who sends to everybody.
    with routers.running(routers.edited(swap(peer, ""), holder), verb="reload"):
        routers.finds("KH402 error", f"KH413 error {holder}")


@pytest.mark.provokes("KH411")
def test_b_equal_priorities(routers: Routers) -> None:
    theirs = re.search(r"^    priority \d+$", routers.texts["m3"], re.M)
    assert theirs is not None
    same = routers.edited(lambda text: re.sub(r"(?m)^    priority \d+$", theirs[0], text), "m2")
    with routers.running(same):
        routers.finds("KH411 warning")


@pytest.mark.provokes("KH415", "KH402")
def test_e4_passwords_that_differ(routers: Routers) -> None:
    texts = routers.edited(with_password("first"), "m1", "m3")
    with routers.running({**texts, **routers.edited(with_password("second"), "m2")}):
        routers.finds("KH402 error", "KH415 error m2")


@pytest.mark.provokes("KH416", "KH402")
def test_e5_intervals_that_differ_in_version_2(routers: Routers) -> None:
    texts = routers.edited(to_version_2)
    with routers.running({**texts, "m2": swap("advert_int 1", "advert_int 2")(texts["m2"])}):
        routers.finds("KH402 error", "KH416 error m2")


@pytest.mark.provokes("KH306", "KH402")
def test_e1_a_firewall_that_drops_protocol_112(routers: Routers) -> None:
    with routers.fault("filter-vrrp", "m2"):
        routers.finds("KH402 error", "KH306 error m2")


@pytest.mark.provokes("KH301")
def test_the_vip_is_held_by_a_stranger(routers: Routers) -> None:
    """keepalived takes it anyway, and no line of a log tells of the other one."""
    with routers.fault("vip-stolen"):
        routers.finds("KH301 error")


@pytest.mark.provokes("KH310")
def test_a_double_homed_node(routers: Routers) -> None:
    with routers.fault("second-nic", "m2"):
        routers.finds("KH310 error m2")


@pytest.mark.provokes("KH305")
def test_a4_our_vrid_is_taken_while_we_speak_unicast(routers: Routers) -> None:
    with routers.fault("rogue-vrrp", "priority=255"):
        routers.finds("KH305 warning")


FOREIGN = {
    "a1-of-higher-priority": ("priority=255", ["KH305 error"]),
    "a2-of-lower-priority": ("priority=50", ["KH305 error"]),
    "a3-of-another-version": ("version=2", ["KH305 error"]),
    # In nobody's way.
    "a5-of-another-vrid": ("vrid=52", []),
}


@pytest.fixture(scope="module")
def multicast(routers: Routers) -> Iterator[Routers]:
    with routers.running(routers.edited(to_multicast)):
        routers.endpoint.wait_until_settled(seconds=2)
        yield routers


@pytest.mark.provokes("KH305")
@pytest.mark.parametrize("name", FOREIGN)
def test_another_virtual_router_on_a_segment_with_multicast(multicast: Routers, name: str) -> None:
    setting, wanted = FOREIGN[name]
    with multicast.fault("rogue-vrrp", setting):
        multicast.finds(*wanted)


def test_nothing_is_left(routers: Routers) -> None:
    routers.finds()
