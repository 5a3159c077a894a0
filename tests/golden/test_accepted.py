"""The real programs of Debian 12 and 13 accept every golden file without a word."""

import json
import shlex

import pytest
from golden import CLUSTERS, nodes_of

from kubeha.desired import PACKAGES
from kubeha.lab.image import run_in_image

# Runs in a copy of the machine's image, as root, in a network of its own. The interface must exist
# for keepalived, the directories and the servers' state for HAProxy, as on a node.
TRY = """
import json, os, pathlib, re, shutil, subprocess, sys

def ask(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    said = (done.stdout + done.stderr).replace("Configuration file is valid\\n", "")
    return {"argv": argv, "status": done.returncode, "said": said}

answers = {}
made = set()
for node in sorted(pathlib.Path("/golden").glob("*/*")):
    for file in node.rglob("*"):
        if file.is_file():
            target = pathlib.Path("/", file.relative_to(node))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    config = pathlib.Path("/etc/keepalived/keepalived.conf").read_text()
    for name in set(re.findall("^    interface ([^ ]*)$", config, re.M)) - made:
        made.add(name)
        peer = "p%d" % len(made)
        subprocess.run(
            ["ip", "link", "add", name, "type", "veth", "peer", "name", peer], check=True
        )
    answers[node.parent.name + "/" + node.name] = [
        ask("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/kubeha.conf"),
        ask("haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"),
        ask("keepalived", "-t", "-f", "/etc/keepalived/keepalived.conf"),
    ]
json.dump(answers, sys.stdout)
"""


def tree() -> dict[str, str]:
    """Every file of every golden node, below /golden/CLUSTER/NODE."""
    return {
        f"/golden/{cluster}/{node.name}{file.path}": file.content
        for cluster in CLUSTERS
        for node in nodes_of(cluster)
        for file in node.files
    }


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_accepted_without_a_word(release):
    done = run_in_image(
        release, ["python3", "-c", TRY], files=tree(), packages=PACKAGES, timeout=300
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == sum(len(nodes_of(cluster)) for cluster in CLUSTERS)
    for node, asked in answers.items():
        for answer in asked:
            what = f"{node}: {shlex.join(answer['argv'])}"
            assert (answer["status"], answer["said"]) == (0, ""), what


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
@pytest.mark.parametrize(
    "path, old, new, program",
    [
        ("/etc/haproxy/haproxy.cfg", "retries 3", "retry 3", "haproxy"),
        ("/etc/keepalived/keepalived.conf", "advert_int 0.1", "advert_int 0.001", "keepalived"),
    ],
    ids=["haproxy", "keepalived"],
)
def test_the_programs_would_have_complained(release, path, old, new, program):
    """The check above can fail: a spoiled file is not accepted in the same surroundings."""
    spoiled = {
        name.replace("/three-nodes/", "/spoiled/"): text.replace(old, new)
        for name, text in tree().items()
        if name.startswith("/golden/three-nodes/m1/")
    }
    assert new in spoiled[f"/golden/spoiled/m1{path}"]
    done = run_in_image(
        release, ["python3", "-c", TRY], files=spoiled, packages=PACKAGES, timeout=120
    )
    said = {a["argv"][0]: a["said"] for a in json.loads(done.stdout)["spoiled/m1"]}
    assert said[program]
