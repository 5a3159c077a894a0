"""What pip installs is all that kubeha reads when it runs: templates, node programs, pages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "kubeha", "docs/findings")
BUILD = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
READ = "import json, kubeha, kubeha.pages as p; print(json.dumps([kubeha.__file__, *p.pages()]))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with kubeha as `pip install .` leaves it; no network is needed."""
    there = tmp_path_factory.mktemp("package")
    for name in SOURCES:
        source, target = ROOT / name, there / "sources" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-m", "pip", "install", *BUILD, "--target", str(there / "site")]
    done = subprocess.run([*command, str(there / "sources")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return there / "site"


def test_every_page_of_a_finding_is_installed(installed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=installed, capture_output=True, text=True, check=True
    )
    where, *codes = json.loads(done.stdout)
    assert Path(where).is_relative_to(installed)
    assert codes == sorted(path.stem for path in (ROOT / "docs/findings").glob("*.md"))
    assert "KH301" in codes


def test_every_file_that_is_no_python_is_installed(installed: Path) -> None:
    """Nothing of the package is left behind but caches."""
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "kubeha").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in there if not (installed / name).exists()} == set()
