"""docs/configuration.md is what the model says, and every example loads."""

import runpy
from pathlib import Path

import pytest

from kubeha.config import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def test_the_configuration_reference_is_up_to_date(update_golden):
    page = ROOT / "docs/configuration.md"
    text = runpy.run_path(str(ROOT / "scripts/configuration_reference.py"))["reference"]()
    if update_golden:
        page.write_text(text)
    assert page.read_text() == text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(path):
    assert parse(path.read_bytes(), path.name).warnings == ()


def test_one_example_has_every_key():
    cluster = parse((ROOT / "examples/every-key.yaml").read_bytes(), "f").cluster
    assert set(type(cluster).model_fields) == cluster.model_fields_set
    for section in (cluster.endpoint, cluster.vrrp, cluster.haproxy, cluster.ssh, *cluster.ignore):
        assert set(type(section).model_fields) == section.model_fields_set, section
