"""The documentation says what the code does: generated parts, keys, commands, links, pictures."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from test_health import OF, healthy
from worlds import bare, healthy_answers

from kubeha.checks.health import health
from kubeha.facts import Unreachable
from kubeha.lab.faults import FAULTS
from kubeha.model import Node
from kubeha.report import status_json
from kubeha.world import World

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/findings/*.md")])
GENERATED = [page for page in PAGES if "[[[cog" in page.read_text()]
PICTURES = sorted(ROOT.glob("docs/images/*.svg"))
sys.path.insert(0, str(ROOT / "scripts"))

import reference  # noqa: E402

COMMANDS = dict(reference.every_command())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", GENERATED, ids=name)
def test_generated_parts_are_up_to_date(page: Path, update_golden: bool) -> None:
    how = "-r" if update_golden else "--check"
    cog = [sys.executable, "-m", "cogapp", how, "-I", str(ROOT / "scripts"), str(page)]
    done = subprocess.run(cog, capture_output=True, text=True)
    assert done.returncode == 0, f"make docs brings it up to date: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_help(command: str) -> None:
    assert COMMANDS[command].help
    silent = [param.name for param in COMMANDS[command].params if not param.help]
    assert silent == []


def test_the_command_line_lists_every_fault() -> None:
    said = COMMANDS["kubeha lab fault"].help
    listed = {
        fault for fault, about in FAULTS.items() if re.search(f"{fault} +{about.summary}", said)
    }
    assert listed == set(FAULTS)


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all that is no container, written as the page writes them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")
    else:
        yield path


def documented(page: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", (ROOT / page).read_text(), re.M))


def test_status_has_exactly_the_documented_keys() -> None:
    """A healthy node, one that is off, and a client node: together they have every key."""
    client = Node.model_validate({"name": "c1", "address": "198.51.100.101"}, strict=False)
    cluster = OF.model_copy(update={"clients": (client,)})
    seen = replace(bare("c1", "198.51.100.101"), fetched=healthy_answers())
    nodes = {**healthy(), "m3": Unreachable("m3", "no answer")}
    world = World(cluster, nodes, {"c1": seen})
    findings = health(world)
    assert findings
    assert set(keys(status_json(world, findings))) == documented("docs/status-json.md")


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                yield page, target


@pytest.mark.parametrize(("page", "target"), [*links()], ids=lambda each: Path(str(each)).name)
def test_links_lead_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = page.parent / path if path else page
    assert there.exists()
    if anchor:
        heads = re.findall(r"^#+ (.*)$", there.read_text(), re.M)
        slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert anchor in slugs


def shown() -> Iterator[tuple[str, str]]:
    """Every kubeha command in the pages' blocks of shell, with the page that has it."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.search(r"(?:^|\s)(kubeha .*?)(?:\s*[|<>;&]|\s+#|$)", line)
                if command:
                    yield name(page), command[1]


@pytest.mark.parametrize(("page", "line"), [*shown()])
def test_shown_commands_exist(page: str, line: str) -> None:
    """The verb is there, and it has each of the options."""
    words = shlex.split(line)[1:]
    if words[:1] == ["-f"]:
        words = words[2:]
    verb = "kubeha"
    while words and f"{verb} {words[0]}" in COMMANDS:
        verb = f"{verb} {words.pop(0)}"
    assert verb != "kubeha" or words == ["--help"]
    known = {option for param in COMMANDS[verb].params for option in param.opts} | {"--help"}
    ours = words[: words.index("--")] if "--" in words else words
    assert [word for word in ours if word.startswith("-") and word not in known] == []


@pytest.mark.parametrize("picture", PICTURES, ids=name)
def test_pictures_are_whole_small_and_load_nothing(picture: Path) -> None:
    text = picture.read_text()
    ElementTree.fromstring(text)
    assert len(text) < 200_000
    elsewhere = [
        address for address in re.findall(r"https?://[^\"'\s]+", text) if "w3.org" not in address
    ]
    assert elsewhere == []
    assert re.findall(r"url\((?!#)", text) == []
