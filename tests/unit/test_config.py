"""Cluster files: what loads, and every message that refuses one."""

from textwrap import dedent

import pytest

from kubeha.config import LARGEST_FILE, json_schema, parse, render_initial
from kubeha.errors import ConfigError

GOOD = """\
cluster: prod
endpoint: {vip: 198.51.100.10}
control_plane:
  - {name: m1, address: 198.51.100.11}
  - {name: m2, address: 198.51.100.12}
"""


def problems(text: str | bytes) -> list[str]:
    """The problems of a cluster file, without the file's name."""
    data = dedent(text).encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse(data, "f")
    assert caught.value.exit_code == 2
    return [line.removeprefix("f:") for line in caught.value.problems]


def test_the_least_that_works():
    loaded = parse(GOOD.encode(), "f")
    assert loaded.warnings == ()
    cluster = loaded.cluster
    assert [node.name for node in cluster.load_balancer_nodes] == ["m1", "m2"]
    assert (cluster.endpoint.port, cluster.api_port, cluster.vrrp.vrid) == (8443, 6443, None)
    assert (cluster.vrrp.advert_interval, cluster.haproxy.connect_timeout) == (0.1, 0.3)


def test_the_order_of_keys_makes_no_difference():
    turned = """\
    control_plane:
      - {address: 198.51.100.11, name: m1}
      - {address: 198.51.100.12, name: m2}
    endpoint: {vip: 198.51.100.10}
    cluster: prod
    """
    assert parse(dedent(turned).encode(), "f").cluster == parse(GOOD.encode(), "f").cluster


def test_a_key_without_value_is_as_if_it_were_not_there():
    text = GOOD + "vrrp:\n  # interface: eth0\nssh: ~\nclients: null\n"
    assert parse(text.encode(), "f").cluster == parse(GOOD.encode(), "f").cluster


def test_everything_that_is_wrong_is_said_at_once():
    assert problems(
        """\
        cluster: Prod
        endpiont: {}
        endpoint:
          vip: 198.51.100.11
          prt: 8443
          port: 6443
        control_plane:
          - {name: m1, address: 198.51.100.11}
          - {name: m1, address: 198.51.100.11, interface: "a b"}
          - {name: m_3, address: "2001:db8::1"}
          - {name: 4, address: 198.51.100.300}
        vrrp:
          vrid: 256
          advert_interval: 0.1
          mode: unikast
          mode: multicast
        haproxy: [1]
        ssh: {user: "ro\\not", port: 22.0, balance: leastconn}
        load_balancers: contol_plane
        api_port: true
        """
    ) == [
        "1:1: cluster: must be lower case letters, digits and '-', at most 63 (RFC 1123 label), "
        'not "Prod"',
        "2:1: endpiont: unknown key (did you mean endpoint?)",
        "4:3: endpoint.vip: 198.51.100.11 is the address of m1 "
        "(the VIP moves between the nodes: take a free address of their network)",
        "5:3: endpoint.prt: unknown key (did you mean port?)",
        "9:6: control_plane[1].name: m1 is also control_plane[0].name",
        "9:16: control_plane[1].address: 198.51.100.11 is also control_plane[0].address",
        "9:40: control_plane[1].interface: must be an interface name: at most 15 letters, digits, "
        "'_', '.' and '-', not \"a b\"",
        "10:6: control_plane[2].name: must be lower case letters, digits and '-', at most 63 "
        '(RFC 1123 label), not "m_3"',
        "10:17: control_plane[2].address: is IPv6, but the VIP is IPv4 "
        "(a virtual router has one address family)",
        '11:6: control_plane[3].name: must be text, not 4 (write it in quotes: "4")',
        "11:15: control_plane[3].address: must be an IPv4 or IPv6 address without a prefix length, "
        'not "198.51.100.300"',
        "13:3: vrrp.vrid: must be at most 255, not 256",
        "14:3: vrrp.advert_interval: must be a number with its unit: ms, s, m or h, such as 300ms "
        "or 4h, not 0.1",
        "15:3: vrrp.mode: the key is there twice, again on line 16",
        "17:1: haproxy: must be a mapping (key: value), not [1]",
        '18:7: ssh.user: must not contain control characters or line breaks: "ro\\not"',
        "18:23: ssh.port: must be a whole number, not 22.0",
        "18:35: ssh.balance: unknown key (it belongs under haproxy)",
        '19:1: load_balancers: must be one of control_plane, external, not "contol_plane" '
        "(did you mean control_plane?)",
        "20:1: api_port: must be a whole number, not true",
    ]


@pytest.mark.parametrize(
    "addition, problem",
    [
        ("api_port: 0", "api_port: must be at least 1, not 0"),
        ("api_port: 65536", "api_port: must be at most 65535, not 65536"),
        ("api_port: 99999999999999999999", "api_port: must be a whole number, not"),
        ("vrrp: {vrid: 0}", "vrrp.vrid: must be at least 1, not 0"),
        ("vrrp: {interface: eth0/1}", "vrrp.interface: must be an interface name"),
        ("vrrp: {interface: sixteencharacte1}", "vrrp.interface: must be an interface name"),
        ("vrrp: {interface: ..}", "vrrp.interface: must be an interface name"),
        ("vrrp: {advert_interval: 115ms}", "vrrp.advert_interval: must be a multiple of 10ms"),
        ("vrrp: {advert_interval: 1m}", "vrrp.advert_interval: must be from 50ms to 40s"),
        ("vrrp: {advert_interval: 20ms}", "vrrp.advert_interval: must be from 50ms to 40s"),
        ("haproxy: {connect_timeout: 1ms}", "haproxy.connect_timeout: must be from 50ms to 10s"),
        ("haproxy: {balance: source}", "haproxy.balance: must be one of leastconn, roundrobin"),
        (
            "haproxy: {max_connections: 200}",
            "haproxy.connections_per_source: 500 is more than max_connections (200)",
        ),
        ("kubernetes: {ca: pki/ca.crt}", "kubernetes.ca: must be an absolute path"),
        ("kubernetes: {ca: '/a\u202eb'}", "kubernetes.ca: must not contain control characters"),
        ("ssh: {user: 'a b'}", "ssh.user: must be a user name"),
        ("ssh: {config: ''}", "ssh.config: must be text without control characters"),
        ("load_balancers: []", "load_balancers: must have at least 1 entry"),
        ("packages: instal", "packages: must be one of install, preinstalled"),
        ("clients: {}", "clients: must be a list"),
        ("clients: [m9]", "clients[0]: must be a mapping (key: value)"),
        ("clients: [{name: c1}]", "clients[0].address: is missing"),
        ("1: 2", "1: unknown key (known here: cluster, endpoint,"),
        (
            "clients: [{name: m1, address: 198.51.100.99}]",
            "clients[0].name: m1 is also control_plane[0].name",
        ),
        (
            "load_balancers: [{name: m1, address: 198.51.100.99}]",
            "control_plane[0].name: m1 is also load_balancers[0].name",
        ),
    ],
)
def test_single_values_that_are_refused(addition, problem):
    found = problems(GOOD + addition + "\n")
    assert len(found) == 1, found
    assert found[0].split(": ", 1)[1].startswith(problem), found


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "127.0.0.1", "224.0.0.18", "255.255.255.255", "0.0.0.1", "::1", "fe80::1",
     "fe80::1%eth0", "ff02::12", "::ffff:198.51.100.10", "198.51.100.10/24", "010.1.1.1", "a b"],
)  # fmt: skip
def test_addresses_that_no_vip_can_have(address):
    found = problems(GOOD.replace("vip: 198.51.100.10", f"vip: '{address}'"))
    assert any(line.startswith("2:12: endpoint.vip: must") for line in found), found


def test_a_port_that_haproxy_and_the_api_server_would_share():
    text = GOOD.replace("{vip: 198.51.100.10}", "{vip: 198.51.100.10, port: 6443}")
    assert problems(text) == [
        "2:32: endpoint.port: is 6443, as api_port is: HAProxy and the API server cannot both "
        "listen there on m1 (take another, such as 8443, or list dedicated load_balancers)"
    ]
    dedicated = (
        "load_balancers: [{name: l1, address: 198.51.100.21}, {name: l2, address: 198.51.100.22}]"
    )
    assert parse(f"{text}{dedicated}\n".encode(), "f").cluster.endpoint.port == 6443


def test_a_control_plane_node_may_be_a_listed_load_balancer():
    lines = GOOD.splitlines()
    text = "\n".join([*lines, "load_balancers:", lines[4], lines[3]])
    cluster = parse(text.encode(), "f").cluster
    assert [node.name for node in cluster.nodes] == ["m2", "m1"]


def test_more_load_balancers_than_priorities():
    nodes = "".join(f"  - {{name: m{i}, address: 198.51.100.{i}}}\n" for i in range(20, 28))
    assert problems(GOOD.split("control_plane")[0] + "control_plane:\n" + nodes) == [
        "3:1: control_plane: 8 load balancer nodes, at most 7 are possible "
        "(list a few of them under load_balancers: three are enough)"
    ]


def test_one_load_balancer_is_a_warning_that_says_what_is_lost():
    one = GOOD.replace("  - {name: m2, address: 198.51.100.12}\n", "")
    assert parse(one.encode(), "f").warnings == (
        "f:3:1: control_plane: only one load balancer node: when it fails, nothing takes the VIP "
        "over and the endpoint is gone until it is back (two or more make it highly available)",
    )
    assert parse(f"{one}load_balancers: external\n".encode(), "f").warnings == ()


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "1:1: the file is empty (write one with: kubeha init)"),
        (b"# nothing\n---\n", "1:1: the file is empty (write one with: kubeha init)"),
        (b"\n\n", "1:1: the file is empty (write one with: kubeha init)"),
        (b"- a\n", "1:1: the file must be a mapping (key: value)"),
        (b"cluster\n", "1:1: the file must be a mapping (key: value)"),
        (b"cluster: \xff\n", "1:10: not UTF-8 text (byte 0xff)"),
        (b"a: 1\nb: [\n", "3:1: not YAML: expected the node content, but found"),
        (b"a: b: c\n", "1:5: not YAML: mapping values are not allowed here"),
        (b"a: x\x00\n", "1:5: control character U+0000"),
        (b"a: \x1b[31m\n", "1:4: control character U+001B"),
        ("a: \u2028\n".encode(), "1:4: control character U+2028"),
        (b"a: &x 1\nb: *x\n", "1:4: anchors and aliases (& and *) are not allowed"),
        (b"a: !!python/object:os.system x\n", "1:4: tags (!) are not allowed"),
        (b"a: 1\n---\nb: 2\n", "2:1: there must be one YAML document in the file"),
        (b"? [a]\n: 1\n", "1:3: a key must be a word"),
        (b'"\\e[31m": 1\n', "1:1: a key must be a word"),
        (b"a" * 65 + b": 1\n", "1:1: a key must be a word"),
        (b"[" * 9000, "1:1: the file must be a mapping"),
        (b"a: " + b"[" * 9000, "1:11: nested more than 8 deep"),
        (b"a" * (LARGEST_FILE + 1), "1:1: larger than 256 KiB: this is no cluster file"),
        (b"a" * 10_000_000, "1:1: larger than 256 KiB: this is no cluster file"),
    ],
)
def test_what_is_no_cluster_file_at_all(data, problem):
    found = problems(data)
    assert len(found) == 1
    assert found[0].startswith(problem), found


def test_more_problems_than_anybody_reads():
    found = problems(GOOD + "".join(f"key{number}: 1\n" for number in range(1000)))
    assert len(found) == 101
    assert found[-1] == "and 900 more"


def test_the_file_that_init_writes_loads():
    nodes = [("m1", "198.51.100.11"), ("m2", "198.51.100.12"), ("m3", "198.51.100.13")]
    loaded = parse(render_initial("prod", "198.51.100.10", nodes, port=16443).encode(), "f")
    cluster = loaded.cluster
    assert loaded.warnings == ()
    assert (cluster.cluster, str(cluster.endpoint.vip)) == ("prod", "198.51.100.10")
    assert (cluster.endpoint.port, cluster.vrrp.vrid) == (16443, 10)
    assert [(node.name, str(node.address)) for node in cluster.control_plane] == nodes


def test_init_says_everything_that_is_wrong_with_its_values():
    with pytest.raises(ConfigError) as caught:
        render_initial("a\nb", "198.51.100.11", [("m1", "198.51.100.11"), ("m1", "x")])
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "cluster",
        "control_plane[1].address",
        "control_plane[1].name",
        "endpoint.vip",
    ]


def test_the_schema_describes_every_key():
    schema = json_schema()
    models = {"Cluster": schema, **schema["$defs"]}
    for name, model in models.items():
        for key, field in model["properties"].items():
            described = field if "$ref" not in field else models[field["$ref"].split("/")[-1]]
            assert described["description"], f"{name}.{key}"
        assert model["additionalProperties"] is False
    assert models["Vrrp"]["properties"]["advert_interval"]["default"] == "100ms"
