"""Whole rendered files against the ones that were looked at: `pytest --update-golden` rewrites."""

import shutil

import pytest
from golden import CLUSTERS, HERE, rendered


@pytest.mark.parametrize("name", CLUSTERS)
def test_rendered_files(name, update_golden):
    directory = HERE / name
    files = rendered(name)
    if update_golden:
        for old in directory.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        for path, text in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
    kept = {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "kubeha.yaml"
    }
    assert sorted(files) == sorted(kept)
    for path, text in files.items():
        assert text == kept[path], path
