"""Hypothesis strategies: clusters that load, and values that are meant to do harm."""

from hypothesis import strategies as st

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
INTERFACES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", fullmatch=True)
IPV4 = st.integers(0x0A000001, 0x0AFFFFFE).map(
    lambda n: ".".join(str(n >> shift & 255) for shift in (24, 16, 8, 0))
)
IPV6 = st.integers(1, 0xFFFE).map(lambda n: f"2001:db8::{n:x}")
HARM = st.sampled_from(
    ["a\nb", "a\r", "a b", 'a"b', "a'b", "a#b", "a{b", "a}b", "a;b", "$(id)", "`id`", "%n", "a\\",
     "a\tb", "\x00", "\x1b[0m", "\u2028", "\u202e", "é", "", "-a", "../x", "a/b", "{{ 1 }}",
     "{% x %}"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | HARM
    | LABELS
    | IPV4
    | IPV6
    | st.sampled_from(["300ms", "4h", "control_plane", "external", "multicast", "leastconn"])
)
KEYS = st.sampled_from(
    ["cluster", "endpoint", "vip", "port", "name", "control_plane", "address", "interface", "ssh",
     "api_port", "load_balancers", "packages", "clients", "vrrp", "vrid", "advert_interval",
     "mode", "haproxy", "balance", "connect_timeout", "idle_timeout", "max_connections",
     "connections_per_source", "user", "config", "kubernetes", "kubeconfig", "ca"]
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@st.composite
def clusters(draw, most: int = 7):
    """The tree of a cluster file that loads."""
    addresses = draw(st.sampled_from([IPV4, IPV6]))
    count = draw(st.integers(1, most))
    names = draw(st.lists(LABELS, min_size=count, max_size=count, unique=True))
    found = draw(st.lists(addresses, min_size=count + 1, max_size=count + 1, unique=True))
    limit = draw(st.integers(100, 500_000))
    return {
        "cluster": draw(LABELS),
        "endpoint": {"vip": found[0], "port": draw(st.integers(1, 6442))},
        "control_plane": [{"name": n, "address": a} for n, a in zip(names, found[1:], strict=True)],
        "vrrp": {
            "vrid": draw(st.integers(1, 255)),
            "interface": draw(INTERFACES),
            "advert_interval": f"{draw(st.integers(5, 4000)) * 10}ms",
            "mode": draw(st.sampled_from(["unicast", "multicast"])),
        },
        "haproxy": {
            "balance": draw(st.sampled_from(["roundrobin", "leastconn"])),
            "max_connections": limit,
            "connections_per_source": draw(st.integers(10, limit)),
            "connect_timeout": f"{draw(st.integers(50, 10_000))}ms",
        },
    }
