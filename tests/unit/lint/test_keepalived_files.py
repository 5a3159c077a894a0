"""Files that people copy, and our own: everything that lint says of them."""

import pytest
from keepalived_files import DATA, lint

from kubeha.grammar.keepalived import parse
from kubeha.grammar.virtual_router import virtual_routers

GOLDEN = sorted((DATA.parents[2] / "golden").rglob("keepalived.conf"))
# In each of the article's files.
ARTICLE = [
    ("KH717", 5, "vrrp_script check-haproxy"),
    ("KH718", 5, "vrrp_script check-haproxy"),
    ("KH716", 6, "script \"killall -0 haproxy\""),
    ("KH727", 7, "interval 5"),
    ("KH723", 11, "vrrp_instance VI-kube-master"),
    ("KH706", 14, "dont_track_primary"),
    ("KH719", 16, "virtual_router_id 51"),
    ("KH707", 17, "advert_int 3"),
]  # fmt: skip
KUBEASZ = [
    ("KH718", 6, "vrrp_script check-haproxy"),
    ("KH716", 7, "script \"/usr/bin/killall -0 haproxy\""),
    ("KH727", 8, "interval 5"),
    ("KH723", 12, "vrrp_instance VI-kube-master"),
    ("KH706", 19, "dont_track_primary"),
    ("KH707", 22, "advert_int 3"),
]  # fmt: skip
KUBEADM = [
    ("KH717", 6, "vrrp_script check_apiserver"),
    ("KH718", 6, "vrrp_script check_apiserver"),
    ("KH727", 8, "interval 3"),
    ("KH707", 14, "vrrp_instance VI_1"),
    ("KH723", 14, "vrrp_instance VI_1"),
    ("KH719", 17, "virtual_router_id 51"),
    ("KH713", 20, "auth_type PASS"),
]


@pytest.mark.parametrize(
    "name, expected", [("article", ARTICLE), ("kubeasz", KUBEASZ), ("kubeadm", KUBEADM)]
)
def test_files_that_people_copy(name, expected):
    nodes = sorted((DATA / name).glob("*/keepalived.conf"))
    found = lint(*(node.read_text() for node in nodes))
    told = [(f.file, f.code, f.line, f.evidence) for f in found]
    assert told == [
        (f"m{number}/keepalived.conf", *each)
        for number, _ in enumerate(nodes, start=1)
        for each in expected
    ]


@pytest.mark.provokes("KH735")
def test_the_template_of_kubeadms_page_before_it_is_filled_in():
    found = lint((DATA / "kubeadm/template.conf").read_text())
    names = [f.evidence for f in found if f.code == "KH735"]
    assert names == ["${STATE}", "${INTERFACE}", "${ROUTER_ID}", "${PRIORITY}", "${AUTH_PASS}",
                     "${APISERVER_VIP}"]  # fmt: skip


@pytest.mark.provokes("KH710", "KH719", "KH732", "KH733")
def test_the_file_that_the_debian_package_brings():
    text = (DATA.parents[2] / "recorded/keepalived_conf/debian-12-sample.txt").read_text()
    assert [(f.code, f.line) for f in lint(text)] == [
        ("KH732", 5), ("KH710", 14), ("KH723", 19), ("KH719", 22), ("KH707", 24), ("KH713", 26),
        ("KH733", 30), ("KH733", 36),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", GOLDEN, ids=lambda path: f"{path.parents[3].name}/{path.parents[2].name}"
)
def test_our_own_files_have_no_finding(path):
    assert lint(path.read_text()) == ()


@pytest.mark.parametrize(
    "cluster", sorted({path.parents[3] for path in GOLDEN}), ids=lambda c: c.name
)
def test_our_own_nodes_have_no_finding_together(cluster):
    files = [path.read_text() for path in GOLDEN if path.parents[3] == cluster]
    assert lint(*files) == ()
    assert len({router.vrid for text in files for router in virtual_routers(parse(text))}) == 1


def test_a_file_that_several_machines_share():
    """Each @id is a machine: its view is judged, and the views against each other."""
    from keepalived_files import changed

    shared = changed(
        ("priority 200", "@a priority 200\n    @b priority 100"),
        ("weight -60", "weight -99"),
        ("unicast_src_ip 198.51.100.11", "@a unicast_src_ip 198.51.100.11\n    @b unicast_src_ip"
         " 198.51.100.14"),
    )  # fmt: skip
    assert [(f.code, f.message.split(",")[1]) for f in lint(shared)] == [
        ("KH722", " this node is left with 101")
    ]
