"""Whatever the bytes: a Cluster or a ConfigError, and no harm in a rendered file."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import HARM, IPV4, IPV6, LABELS, TREES, clusters

from kubeha.config import Loaded, parse, render_initial
from kubeha.desired import DesiredNode, Site, desired_node
from kubeha.errors import ConfigError
from kubeha.model import Cluster

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def outcome(data: bytes) -> Loaded | ConfigError:
    """What comes of some bytes; anything else than these two is a failure."""
    try:
        return parse(data, "f")
    except ConfigError as error:
        assert error.problems
        assert all(problem.isprintable() for problem in error.problems)
        return error


def render(cluster: Cluster, *, ca: str | None = CA) -> list[DesiredNode]:
    return [
        desired_node(
            cluster, node.name, Site(cluster.vrrp.interface or "eth0", cluster.vrrp.vrid or 1, ca)
        )
        for node in cluster.load_balancer_nodes
    ]


def yaml_of(tree: object) -> bytes:
    """JSON is YAML."""
    return json.dumps(tree).encode()


@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbfa: 1")
@example(b"%YAML 1.1\n---\na: 1\n")
@example(b"%TAG ! x\n---\n")
@example(b'a: "\\UFFFFFFFF"')
@example(b"<<: {a: 1}")
@example(b"a: 0x1F\nb: 1e999\nc: 1_000\nd: 0o7\ne: 12:30:45\nf: 2001-01-01\n")
@example(b"a: " + b"9" * 5000)
def test_any_bytes(data):
    outcome(data)


@given(st.text(alphabet="abc: -[]{}&*!|>'\"%@`#,?\n\t\\0~<", max_size=120))
def test_any_text_of_yaml_characters(text):
    outcome(text.encode())


@given(TREES)
def test_any_tree(tree):
    outcome(yaml_of(tree))


@given(clusters())
def test_every_generated_cluster_loads(tree):
    loaded = outcome(yaml_of(tree))
    assert isinstance(loaded, Loaded), loaded.problems


@given(clusters(most=3), st.data())
def test_a_file_that_was_tampered_with(tree, data):
    """Bytes of a good file changed, cut and repeated."""
    good = yaml_of(tree)
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 20)))
    outcome(good[:start] + data.draw(st.binary(max_size=20)) + good[end:])


def paths(tree: object, at: tuple = ()) -> list[tuple]:
    """Where the scalars of a tree are."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [path for key, value in items for path in paths(value, (*at, key))]
    return [at]


@given(clusters(most=3), HARM | st.text(max_size=20), st.data())
def test_no_value_breaks_out_of_a_rendered_file(tree, harm, data):
    """A value that is accepted changes words in the files, never their lines."""
    shape = [len(file.content.splitlines()) for file in render(good(tree))[0].files]
    *parents, last = data.draw(st.sampled_from(paths(tree)))
    inner = tree
    for step in parents:
        inner = inner[step]
    inner[last] = harm
    spoiled = outcome(yaml_of(tree))
    if isinstance(spoiled, ConfigError):
        return
    for node in render(spoiled.cluster):
        assert [len(file.content.splitlines()) for file in node.files] == shape
        assert_no_control_characters(node)


def good(tree: object) -> Cluster:
    loaded = outcome(yaml_of(tree))
    assert isinstance(loaded, Loaded), loaded.problems
    return loaded.cluster


def assert_no_control_characters(node: DesiredNode) -> None:
    for file in node.files:
        odd = {c for c in file.content if unicodedata.category(c)[0] == "C" and c != "\n"}
        assert not odd, (file.path, odd)


@given(clusters())
def test_rendering_is_deterministic_and_independent_of_the_order_of_keys(tree):
    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    assert render(good(tree)) == render(good(tree)) == render(good(turned(tree)))


@given(clusters(), st.sampled_from([None, CA]))
def test_what_is_rendered_fits_together(tree, ca):
    """One VRID and VIP everywhere, distinct priorities, each node's peers are all the others."""
    cluster = good(tree)
    nodes = render(cluster, ca=ca)
    configs = {
        node.name: next(f.content for f in node.files if f.path.endswith("keepalived.conf"))
        for node in nodes
    }
    lines = {name: [line.split() for line in text.splitlines()] for name, text in configs.items()}
    priorities = [
        words[1] for each in lines.values() for words in each if words[:1] == ["priority"]
    ]
    assert len(set(priorities)) == len(nodes)
    for node in cluster.load_balancer_nodes:
        words = [word for line in lines[node.name] for word in line[:1]]
        others = {str(n.address) for n in cluster.load_balancer_nodes} - {str(node.address)}
        unicast = cluster.vrrp.mode == "unicast" and len(nodes) > 1
        assert words.count(f"{cluster.endpoint.vip}/{cluster.endpoint.vip.max_prefixlen}") == 1
        assert others & set(words) == (others if unicast else set())
        assert ["virtual_router_id", str(cluster.vrrp.vrid)] in lines[node.name]


@given(LABELS, st.data(), st.sampled_from([IPV4, IPV6]), st.integers(1, 4), st.integers(1024, 6442))
def test_the_file_that_init_writes_loads(name, data, addresses, count, port):
    names = data.draw(st.lists(LABELS, min_size=count, max_size=count, unique=True))
    vip, *found = data.draw(
        st.lists(addresses, min_size=count + 1, max_size=count + 1, unique=True)
    )
    nodes = list(zip(names, found, strict=True))
    cluster = parse(render_initial(name, vip, nodes, port=port).encode(), "f").cluster
    assert (cluster.cluster, str(cluster.endpoint.vip), cluster.endpoint.port) == (name, vip, port)
    assert [(node.name, str(node.address)) for node in cluster.control_plane] == nodes
    assert cluster.vrrp.vrid is not None


@given(HARM | st.text(max_size=20), HARM | st.text(max_size=20), HARM | st.text(max_size=20))
def test_init_writes_a_file_that_loads_or_none(name, vip, node):
    try:
        text = render_initial(name, vip, [(node, "198.51.100.11")])
    except ConfigError as error:
        assert error.problems
    else:
        pytest.fail(f"{vip!r} was taken for an address: {text}")


@given(clusters())
def test_a_cluster_survives_json(tree):
    cluster = good(tree)
    assert Cluster.model_validate_json(cluster.model_dump_json()) == cluster
