"""The real keepalived and our parser read the same out of a file, and refuse the same files."""

import functools
import json
import re
from pathlib import Path

import pytest

from kubeha.desired import PACKAGES
from kubeha.grammar.keepalived import parse
from kubeha.grammar.keepalived_lines import reader
from kubeha.grammar.virtual_router import virtual_routers
from kubeha.lab.image import run_in_image
from kubeha.lint.keepalived import lint_keepalived

TESTS = Path(__file__).parents[1]
RELEASES = ["bookworm", "trixie"]
# Said of files that keepalived cannot read as they stand, or values that it refuses.
REFUSALS = {"KH701", "KH703", "KH705", "KH712", "KH714", "KH721", "KH726", "KH734"}

# keepalived -t, and keepalived's own dump of what it made of the file; as root, in a network of
# its own. The user exists, or 2.2.7 kills itself (its issue 2617).
ASK = r"""
import json, pathlib, signal, subprocess, sys, time

def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, cwd="/etc/keepalived")

def wait(path, text, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        said = path.read_text(errors="replace") if path.exists() else ""
        if text in said:
            return said
        time.sleep(0.05)
    return ""

def ask(which):
    dump, log = pathlib.Path("/tmp/keepalived.data"), pathlib.Path("/tmp/log")
    dump.unlink(missing_ok=True)
    for old in [*pathlib.Path("/run").rglob("*keepalived*"), *pathlib.Path("/run").glob("*.pid")]:
        if old.is_file():
            old.unlink()
    with log.open("w") as output:
        daemon = subprocess.Popen(["keepalived", "-n", "-l", "-P", *which], cwd="/etc/keepalived",
                                  stdout=output, stderr=output)
    wait(log, "Entering", 5)
    daemon.send_signal(signal.SIGUSR1)
    text = wait(dump, "Interfaces >---", 3)
    daemon.kill()
    daemon.wait()
    return text

run("useradd", "keepalived_script")
for name in ("eth0", "eth1", "ens3", "eno1"):
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "p" + name)
    run("ip", "link", "set", name, "up")
run("ip", "address", "add", "198.51.100.11/24", "dev", "eth0")
pathlib.Path("/run/kubeha").mkdir(exist_ok=True)
answers = {}
for case in sorted(pathlib.Path("/cases").glob("*")):
    config = pathlib.Path("/etc/keepalived/keepalived.conf")
    config.write_text(case.read_text())
    which = ["--config-id", "m1"]
    done = run("keepalived", "-t", *which)
    # Asked before it listens to signals it ends; then once more.
    text = ""
    for _ in range(4):
        if not text and "dumped" in case.name:
            text = ask(which)
    answers[case.name] = {"status": done.returncode, "said": done.stdout + done.stderr,
                          "dump": text}
json.dump(answers, sys.stdout)
"""

INCLUDED = {"/etc/keepalived/conf.d/vip.inc": "198.51.100.60/32 dev eth1\n198.51.100.61\n"}
INSTANCE = """vrrp_instance A {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        198.51.100.10
    }
}
"""
GOOD = {
    "defaults": INSTANCE,
    "braces anywhere": "vrrp_instance A{interface eth0\nvirtual_router_id 7 priority 1\n}"
    .replace(" priority 1", "") + "\nvrrp_instance B\n\n{ # why\ninterface eth1\n"
    "virtual_router_id 8\nvirtual_ipaddress { 198.51.100.9/24 }\nversion 3 }\n",
    "comments": INSTANCE.replace("51\n", '51 ! the "others"\n').replace("A {", "A\\#1\n{ #x {\n"),
    "quotes": 'vrrp_instance "A b" {\n interface "eth0"\n virtual_router_id 9\n'
    ' virtual_ipaddress {\n  "198.51.100.3/24" dev "eth1"\n }\n}\n',
    "conditions": INSTANCE.replace(
        "    interface eth0\n",
        "    @m1 interface eth1\n    @^m1 interface eth0\n    @m2 priority 20\n"
        "    @^m2 priority 30\n",
    ),
    "definitions": "$BASE=198.51.${NET}\n$NET=100\n@m1 $PRIO=77\n@m2 $PRIO=78\n$ID=5${LAST}\n"
    "$LAST=4\nvrrp_instance A_${_INSTANCE} {\n interface eth0\n virtual_router_id $ID\n"
    " priority $PRIO\n advert_int 2\n virtual_ipaddress {\n  ${BASE}.10/32\n  ${BASE}.11\n }\n}\n",
    "several lines": "$INST= \\\nvrrp_instance VI_${NUM} { \\\n  interface eth${NUM} \\\n"
    "  virtual_router_id 1${NUM} \\\n  @m1 priority 130 \\\n  @m2 priority 120 \\\n"
    "  virtual_ipaddress { \\\n    10.0.${NUM}.254/24 \\\n  } \\\n}\n\n$NUM=0\n$INST\n\n$NUM=1\n"
    "$INST\n",
    "sequences": INSTANCE.replace(
        "        198.51.100.10\n",
        "        ~SEQ(N, 20, 2, 25) 198.51.100.${N}\n        ~LST({A, B}, {1,40},{2,41})"
        " 198.51.10${A}.${B}/24 dev eth0 label eth0:${A}\n        ~SEQ(K, 31) ~SEQ(M, 7, 6)"
        " 10.1.${K}.${M}\n".replace("31", "2"),
    ),
    "includes": INSTANCE.replace("198.51.100.10\n", "include conf.d/*.inc\n"),
    "unicast": INSTANCE.replace(
        "    virtual_ip",
        "    version 3\n    advert_int 0.25\n    state MASTER\n    priority 140\n    unicast_src_ip"
        " 198.51.100.11\n    unicast_peer {\n        198.51.100.12\n        198.51.100.13\n    }\n"
        "    virtual_ip",
    ),
    "global version": "global_defs {\n vrrp_version 3\n}\n"
    + INSTANCE.replace("eth0\n", "eth0\n    advert_int 0.99\n    nopreempt\n"),
    "version after": INSTANCE.replace("eth0\n", "eth0\n    advert_int 0.5\n    priority 9\n"
                                      "    priority 90\n") + "global_defs {\n vrrp_version 3\n}\n",
    "master without priority": INSTANCE.replace("eth0\n", "eth0\n    state MASTER\n"),
    "excluded": INSTANCE + INSTANCE.replace("A {", "B {").replace("51\n", "52\n").replace(
        "100.10\n    }", "100.20\n    }\n    virtual_ipaddress_excluded {\n        2001:db8::9/64\n"
        "    }"),
    **{
        f"password {number}": INSTANCE.replace(
            "eth0\n",
            "eth0\n    authentication {\n        auth_type PASS\n"
            f"        auth_pass {written}\n    }}\n",
        )
        for number, written in enumerate(
            ["a\\#b", '"a#b!"', "a${_HASH}b", '"a\\#b"', "a#b", "a !b"]
        )
    },
}  # fmt: skip
BAD = {
    "an opening brace is missing": INSTANCE.replace("address {", "address"),
    "a closing brace is missing": INSTANCE.replace("    }\n", "", 1),
    "a closing brace too many": INSTANCE + "}\n" + INSTANCE.replace("A {", "B {"),
    "a brace after a word": INSTANCE.replace("eth0\n", "eth0 {\n"),
    "another block within": INSTANCE[:-2] + INSTANCE.replace("A {", "B {").replace("51", "52"),
    "a backslash goes on": INSTANCE.replace("interface eth0", "interface \\\n eth0"),
    "a misspelt word": INSTANCE.replace("eth0\n", "eth0\n    prority 100\n"),
    "a misspelt block": INSTANCE.replace("address {", "addres {"),
    "a word in the wrong block": "global_defs {\n garp_master_delay 1\n}\n" + INSTANCE,
    "a state in small letters": INSTANCE.replace("eth0\n", "eth0\n    state master\n"),
    "no such priority": INSTANCE.replace("eth0\n", "eth0\n    priority 256\n"),
    "no such id": INSTANCE.replace("51\n", "0\n"),
    "no id": INSTANCE.replace("    virtual_router_id 51\n", ""),
    "a fraction in version 2": INSTANCE.replace("eth0\n", "eth0\n    advert_int 0.5\n"),
    "a fraction of a fraction": INSTANCE.replace(
        "eth0\n", "eth0\n    version 3\n    advert_int 0.015\n"
    ),
    "no such version": INSTANCE.replace("eth0\n", "eth0\n    version 4\n"),
    "no address": INSTANCE.replace("198.51.100.10", "198.51.100.310"),
    "two families": INSTANCE.replace("100.10\n", "100.10\n        2001:db8::10\n"),
    "no vip": INSTANCE.replace("        198.51.100.10\n", ""),
    "the same name": INSTANCE * 2,
    "the same id": INSTANCE + INSTANCE.replace("A {", "B {").replace("100.10", "100.9"),
    "a long password": INSTANCE.replace("eth0\n", "eth0\n    authentication {\n    auth_type PASS\n"
                                        "    auth_pass ninechars\n    }\n"),
    "master and nopreempt": INSTANCE.replace(
        "eth0\n", "eth0\n    state MASTER\n    priority 9\n    nopreempt\n"
    ),
    "no such script": INSTANCE.replace("eth0\n", "eth0\n    track_script {\n        x\n    }\n"),
    "no peers": INSTANCE.replace("eth0\n", "eth0\n    unicast_src_ip 198.51.100.11\n"),
    "a template": INSTANCE.replace("eth0\n", "eth0\n    state ${STATE}\n"),
}  # fmt: skip


def golden() -> dict[str, str]:
    nodes = [*(TESTS / "golden").glob("*/m1/etc/keepalived/keepalived.conf")]
    return {f"golden {node.parents[3].name}": node.read_text() for node in nodes}


def copied() -> dict[str, str]:
    nodes = (TESTS / "unit/lint/data").glob("*/*/keepalived.conf")
    return {f"copied {n.parents[1].name} {n.parent.name}": n.read_text() for n in nodes}


@functools.cache
def answers(release: str) -> dict[str, dict[str, object]]:
    """What the real program says of every case; asked once for each release."""
    dumped_too = {f"{name} dumped": text for name, text in (GOOD | golden() | copied()).items()}
    cases = {**BAD, **dumped_too}
    files = {f"/cases/{name}": text for name, text in cases.items()} | INCLUDED
    done = run_in_image(
        release, ["python3", "-c", ASK], files=files, packages=PACKAGES, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return {name.removesuffix(" dumped"): said for name, said in json.loads(done.stdout).items()}


def ours(text: str):
    """As machine m1 reads it."""
    name = "/etc/keepalived/keepalived.conf"
    return parse(text, name, read=reader(INCLUDED), config_id="m1")


def dumped(text: str) -> list[dict[str, object]]:
    """The instances in keepalived.data, as far as all releases show them alike."""
    topology = text.partition("VRRP Topology >------")[2].partition("\n------<")[0]
    found = []
    for block in topology.split(" VRRP Instance = ")[1:]:
        one = {
            key.strip(): value for key, value in re.findall(r"^   (\S[^=\n]*) = (.*)$", block, re.M)
        }
        seconds, unit = one["Advert interval"].split()
        found.append(
            {
                "instance": block.splitlines()[0],
                "version": int(one["VRRP Version"]),
                "interface": one["Interface"],
                "vrid": int(one["Virtual Router ID"]),
                "priority": int(one["Priority"]),
                "advert_int": float(seconds) / (1000 if unit == "milli-sec" else 1),
                "nopreempt": one["Preempt"] == "disabled",
                "vips": listed(block, "Virtual IP"),
                "excluded": listed(block, "Virtual IP Excluded"),
                "peers": [line.split()[0] for line in lines_below(block, "Unicast Peer")],
                "password": one.get("Password", ""),
            }
        )
    return found


def lines_below(block: str, title: str) -> list[str]:
    found = re.search(rf"^   {title}(?: \(\d+\))? ?:\n((?:     .*\n)*)", block, re.M)
    return found[1].splitlines() if found else []


def listed(block: str, title: str) -> list[str]:
    """address[/prefix]@interface; keepalived leaves out a host's prefix."""
    lines = (line.split() for line in lines_below(block, title))
    return [f"{words[0]}@{words[words.index('dev') + 1]}" for words in lines]


def expected(text: str) -> list[dict[str, object]]:
    """The same, as our parser has it."""
    return [
        {
            "instance": router.instance,
            "version": router.version,
            "interface": router.interface,
            "vrid": router.vrid,
            "priority": router.priority,
            "advert_int": router.advert_int,
            "nopreempt": router.nopreempt,
            "vips": [shown(vip, router.interface) for vip in router.vips],
            "excluded": [shown(vip, router.interface) for vip in router.excluded_vips],
            "peers": [str(peer) for peer in router.unicast_peers],
            "password": password(router),
        }
        for router in virtual_routers(ours(text))
    ]


def shown(vip, interface) -> str:
    prefix = "" if vip.prefix == vip.address.max_prefixlen else f"/{vip.prefix}"
    return f"{vip.address}{prefix}@{vip.dev or interface}"


def password(router) -> str:
    block = router.statement.last("authentication")
    word = block.last("auth_pass") if block and router.version == 2 else None
    return (word.word() if word else None) or ""


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_the_same_values(release):
    """Also where keepalived complains of something else: a script that is not there."""
    for name, text in {**GOOD, **golden(), **copied()}.items():
        dump = str(answers(release)[name]["dump"])
        assert dump, f"{name}: no dump"
        assert dumped(dump) == expected(text), name


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_what_keepalived_accepts_has_no_problem(release):
    for name, text in GOOD.items():
        if (answers(release)[name]["status"], answers(release)[name]["said"]) == (0, ""):
            parsed = ours(text)
            assert parsed.problems == (), name
            assert not {f.code for f in lint_keepalived([parsed])} & REFUSALS, name
    accepted = [name for name in GOOD if answers(release)[name]["status"] == 0]
    assert len(accepted) >= len(GOOD) - 2, set(GOOD) - set(accepted)


@pytest.mark.lab
@pytest.mark.provokes("KH701", "KH703", "KH705", "KH712", "KH714", "KH721", "KH726", "KH734")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_what_keepalived_refuses_has_a_finding(release):
    for name, text in BAD.items():
        said = answers(release)[name]
        assert said["status"] != 0, f"{name}: keepalived accepts it: {said['said']}"
        told = {f.code for f in lint_keepalived([ours(text)])}
        assert told & (REFUSALS | {"KH735"}), f"{name}: {said['said']}"
