"""Nodes of one virtual router that disagree, on real machines: written by hand, seen, mended.

Both releases, because keepalived behaves and logs differently: 2.2.7 drops what 2.3.3 accepts.
Every test begins and ends with three nodes that agree.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from conftest import labs
from endpoint import NODES, Endpoint
from running_lab import RunningLab, wait_for

CONFIG = "/etc/keepalived/keepalived.conf"
PRIORITIES = dict(zip(NODES, (240, 200, 160), strict=True))
Settings = Mapping[str, object]


def written(lab: RunningLab, name: str, settings: Settings) -> str:
    """A keepalived.conf as people write it, with these settings instead of the usual ones."""
    chosen = {"virtual_router_id": 51, "priority": PRIORITIES[name], "advert_int": 0.5} | settings
    peers = chosen.pop("peers", None)
    vips = chosen.pop("vips", [lab.vip])
    version = chosen.pop("version", 3)
    password = chosen.pop("password", None)
    assert isinstance(vips, list)
    lines = [f"{keyword} {value}" for keyword, value in chosen.items()]
    if isinstance(peers, list):
        own = lab.machine(name).address
        others = [lab.machine(peer).address for peer in peers if peer != name]
        lines += [f"unicast_src_ip {own}", "unicast_peer {", *others, "}"]
    if password:
        lines += ["authentication {", "auth_type PASS", f"auth_pass {password}", "}"]
    inside = "\n    ".join(("interface eth0", *lines, "virtual_ipaddress {", *vips, "}"))
    return (
        f"global_defs {{\n    vrrp_version {version}\n}}\nvrrp_instance VI_1 {{\n    {inside}\n}}\n"
    )


@dataclass(frozen=True)
class Group:
    """Three nodes with files written by hand, and what kubeha finds when they agree."""

    endpoint: Endpoint
    release: str

    @property
    def lab(self) -> RunningLab:
        return self.endpoint.lab

    def write(self, settings: Mapping[str, Settings]) -> None:
        for name, chosen in settings.items():
            text = written(self.lab, name, chosen)
            self.lab.machine(name).execute(["tee", CONFIG], input=text)

    def systemctl(self, verb: str, names: Iterable[str]) -> None:
        for name in names:
            self.lab.machine(name).execute(["systemctl", verb, "keepalived"], timeout=60)

    def found(self, verb: str = "status") -> dict[str, dict[str, str]]:
        """Findings about the wire and VRRP, by code; no guard runs here."""
        done = self.lab.kubeha(verb, "-o", "json")
        assert done.stdout, done.stderr
        findings = json.loads(done.stdout)["findings"]
        ours = (each for each in findings if each["code"][:3] in ("KH3", "KH4"))
        return {each["code"]: each for each in ours if each["code"] != "KH424"}

    def finds(self, codes: set[str], verb: str = "status") -> dict[str, dict[str, str]]:
        """Wait until these are found and no others; returns them."""
        last: list[object] = []

        def look() -> dict[str, dict[str, str]] | None:
            seen = self.found(verb)
            last[:] = [seen]
            return (seen or {"none": {}}) if set(seen) == codes else None

        try:
            return wait_for(f"{verb} finds {codes}", look, timeout=40, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last}") from None


def multicast(**changes: Settings) -> dict[str, Settings]:
    return {name: changes.get(name, {}) for name in NODES}


def unicast(**changes: Settings) -> dict[str, Settings]:
    return {name: {"peers": [*NODES]} | dict(changes.get(name, {})) for name in NODES}


def version_2(**changes: Settings) -> dict[str, Settings]:
    usual: Settings = {"version": 2, "advert_int": 1, "password": "secret1"}
    return {name: {**usual, **changes.get(name, {})} for name in NODES}


# test_findings_vrrp.py has the same causes on bookworm, in files of ours.
RELEASES = [pytest.param("bookworm", marks=pytest.mark.soak), "trixie"]


@pytest.fixture(scope="module", params=RELEASES)
def group(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Group]:
    """The packages by kubeha apply, then files by hand."""
    options = ("--kubernetes", "none", "--release", request.param)
    for lab in labs(request, tmp_path_factory.mktemp(f"members-{request.param}"), *options):
        endpoint = Endpoint(lab)
        endpoint.apply()
        endpoint.stop_guards()
        yield Group(endpoint, request.param)


# What is wrong -> (the files that agree, what one node has instead, code, with two holders on
# bookworm, on trixie).
CASES: dict[str, tuple[Callable[..., dict[str, Settings]], str, Settings, str, bool, bool]] = {
    "equal priorities": (multicast, "m2", {"priority": 240}, "KH411", False, False),
    "one VIP more": (multicast, "m2", {"vips": ["VIP", "198.51.100.20"]}, "KH412", True, False),
    "a peer is missing": (unicast, "m1", {"peers": ["m3"]}, "KH413", True, True),
    "one by multicast": (unicast, "m2", {"peers": None}, "KH414", True, True),
    "another password": (version_2, "m2", {"password": "secret2"}, "KH415", True, True),
    "another interval": (version_2, "m2", {"advert_int": 2}, "KH416", True, True),
    "another version": (multicast, "m2", {"version": 2, "advert_int": 1}, "KH417", True, True),
    "another id": (multicast, "m2", {"virtual_router_id": 52}, "KH418", True, True),
    "a faster backup": (multicast, "m3", {"advert_int": 0.1}, "KH423", False, False),
}


@pytest.mark.provokes(
    "KH402", "KH411", "KH412", "KH413", "KH414", "KH415", "KH416", "KH417", "KH418", "KH423"
)
@pytest.mark.parametrize("case", CASES)
def test_one_node_that_disagrees(group: Group, case: str) -> None:
    files, name, instead, code, two_on_bookworm, two_on_trixie = CASES[case]
    if "vips" in instead:
        instead = {"vips": [group.lab.vip, "198.51.100.20"]}
    agreeing = files()
    group.write(agreeing)
    group.systemctl("restart", NODES)
    group.finds(set())

    group.write({name: {**agreeing[name], **instead}})
    group.systemctl("restart", [name])
    two = two_on_bookworm if group.release == "bookworm" else two_on_trixie
    wanted = {code, *({"KH402"} if two else ())}
    cause = group.finds(wanted)[code]
    assert name in cause["message"]
    assert cause["evidence"]
    if two:
        assert group.found()["KH402"]["fix"].startswith(f"mend the cause, {code};")
    assert group.finds(wanted, "verify")[code]["message"] == cause["message"]

    # The others are not told: what their journals said before is no finding now.
    group.write({name: agreeing[name]})
    group.systemctl("restart", [name])
    group.finds(set())
    group.finds(set(), "verify")


def test_order_and_prefix_of_vips_do_not_matter(group: Group) -> None:
    vip = group.lab.vip
    second = "198.51.100.20"
    lists = ([f"{vip}/32", second], [second, f"{vip}/24"], [f"{vip}/32", f"{second}/32"])
    group.write({name: {"vips": vips} for name, vips in zip(NODES, lists, strict=True)})
    group.systemctl("restart", NODES)
    group.finds(set())


@pytest.mark.provokes("KH421")
def test_a_file_that_nobody_loaded(group: Group) -> None:
    group.write(multicast())
    group.systemctl("restart", NODES)
    group.finds(set())
    group.write({"m2": {"priority": 90}})
    (finding,) = group.finds({"KH421"}).values()
    assert finding["node"] == "m2"
    assert "priority 90, runs with 200" in finding["evidence"]
    group.systemctl("reload", ["m2"])
    group.finds(set())


@pytest.mark.provokes("KH422")
def test_a_keepalived_for_something_else(group: Group) -> None:
    group.write(multicast())
    group.systemctl("restart", NODES)
    group.finds(set())
    text = written(group.lab, "m3", {"virtual_router_id": 80, "vips": ["198.51.100.80"]})
    group.lab.machine("m3").execute(["tee", CONFIG], input=text.replace("VI_1", "WEB"))
    group.systemctl("restart", ["m3"])
    (finding, *few) = group.finds({"KH422"}).values()
    assert finding["node"] == "m3"
    assert few == []
    group.write({"m3": {}})
    group.systemctl("restart", ["m3"])
    group.finds(set())


@pytest.mark.provokes("KH419")
def test_a_vip_that_comes_and_goes(group: Group) -> None:
    """A link that is lost again and again; at rest, nothing is found any more."""
    group.write(multicast())
    group.systemctl("restart", NODES)
    group.finds(set())
    flap = "while :; do ip link set eth0 down; sleep 0.1; ip link set eth0 up; sleep 2.5; done"
    m1 = group.lab.machine("m1")
    m1.execute(["systemd-run", "--unit=flap", "sh", "-c", flap])
    try:
        finding = wait_for("KH419", lambda: group.found().get("KH419"), timeout=90)
    finally:
        m1.execute(["systemctl", "stop", "flap"])
        m1.execute(["ip", "link", "set", "eth0", "up"])
    assert "became MASTER" in finding["message"]
    group.finds(set())
