"""Which programs a source stands for."""

from pathlib import Path

import pytest

from kubeha.errors import LabError, UsageError
from kubeha.lab import binaries
from kubeha.lab.kubernetes_build import VERSION

SERVER = "#!/bin/sh\necho Kubernetes {version}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBEHA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def own_programs(directory: Path, *names: str, version: str = "v1.29.1") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text(SERVER.format(version=version))
        (directory / name).chmod(0o755)
    return directory


def obtain(source: str | Path) -> tuple[binaries.Binaries, list[str]]:
    said = list[str]()
    return binaries.obtain(str(source), said.append), said


def test_directory_is_copied_to_where_machines_see_it(tmp_path: Path, cache: Path) -> None:
    found, said = obtain(own_programs(tmp_path / "mine", *binaries.PROGRAMS))
    assert found.version == "v1.29.1"
    assert found.minor == 29
    assert found.directory.parent == cache / "kubernetes"
    assert {path.name for path in found.directory.iterdir()} == set(binaries.PROGRAMS)
    assert said == [f"copying {', '.join(binaries.PROGRAMS)} from {tmp_path / 'mine'}"]


def test_directory_without_kubectl_gets_ours(tmp_path: Path) -> None:
    found, _ = obtain(own_programs(tmp_path / "mine", *binaries.SERVERS))
    ours = binaries.bundled_kubectl()
    assert (found.directory / "kubectl").stat().st_size == ours.stat().st_size


def test_directory_is_copied_again_only_when_it_changed(tmp_path: Path) -> None:
    mine = own_programs(tmp_path / "mine", *binaries.PROGRAMS)
    first, _ = obtain(mine)
    again, said = obtain(mine)
    assert (again, said) == (first, [])
    changed, _ = obtain(own_programs(mine, "kube-apiserver", version="v1.30.11"))
    assert changed.version == "v1.30.11"
    assert changed.directory != first.directory


def test_incomplete_directory_names_what_is_missing(tmp_path: Path) -> None:
    mine = own_programs(tmp_path / "mine", "kube-apiserver")
    with pytest.raises(LabError, match="has no kube-controller-manager, kube-scheduler$"):
        obtain(mine)


def test_program_without_a_version_is_refused(tmp_path: Path) -> None:
    mine = own_programs(tmp_path / "mine", *binaries.PROGRAMS, version="unknown")
    with pytest.raises(LabError, match="says 'Kubernetes unknown', which is no Kubernetes version"):
        obtain(mine)


@pytest.mark.parametrize("source", ["", "latest", "1.20", "1.20.2.1", "/no/such/directory"])
def test_other_sources_are_usage_errors(source: str) -> None:
    with pytest.raises(UsageError, match="neither a version nor a directory"):
        obtain(source)


@pytest.mark.parametrize("source", ["1.29.1", "v1.29.1"])
def test_cached_version_needs_no_network(
    source: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEHA_RELEASE_URL", "http://127.0.0.1:9")
    own_programs(cache / "kubernetes" / "v1.29.1", *binaries.PROGRAMS)
    found, said = obtain(source)
    assert (found.version, said) == ("v1.29.1", [])


def test_auto_says_aloud_that_it_falls_back(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEHA_RELEASE_URL", "http://127.0.0.1:9")
    own_programs(cache / "kubernetes" / f"debian-{VERSION}", *binaries.PROGRAMS, version=VERSION)
    found, said = obtain("auto")
    assert found.version == VERSION
    assert said == [
        "the Kubernetes release site is not reached from here (Connection refused); instead: "
        f"Kubernetes {VERSION}, built from Debian's source package (in the cache)"
    ]
