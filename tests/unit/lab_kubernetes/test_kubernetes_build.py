"""The pure parts of the build from source; the build itself is tried by whoever has no release."""

import fcntl
import threading
from pathlib import Path

import pytest

from kubeha.lab.debian import source_list
from kubeha.lab.kubernetes_build import (
    build,
    marked_directories,
    only_one,
    openapi_packages,
    version_flags,
)
from kubeha.lab.sources import Source


def test_staging_is_imported_through_the_vendor_directory() -> None:
    found = openapi_packages(["staging/src/k8s.io/api/core/v1", "pkg/apis/abac/v1beta1"])
    assert "k8s.io/kubernetes/vendor/k8s.io/api/core/v1" in found
    assert "k8s.io/kubernetes/pkg/apis/abac/v1beta1" in found


def test_unmarked_packages_are_added_and_foreign_trees_left_out() -> None:
    found = openapi_packages(
        ["staging/src/k8s.io/sample-apiserver/pkg", "staging/src/k8s.io/code-generator/examples"]
    )
    prefix = "k8s.io/kubernetes/vendor/k8s.io/apimachinery/pkg"
    assert found == (f"{prefix}/apis/meta/v1", f"{prefix}/runtime", f"{prefix}/version")


def test_marked_directories_are_found_once(tmp_path: Path) -> None:
    for name in ("a.go", "b.go"):
        place = tmp_path / "pkg/apis/x" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("// +k8s:openapi-gen=true\npackage x\n")
    (tmp_path / "pkg/apis/x/c.txt").write_text("+k8s:openapi-gen=true")
    (tmp_path / "pkg/none").mkdir()
    (tmp_path / "pkg/none/d.go").write_text("package none\n")
    assert marked_directories(tmp_path) == ("pkg/apis/x",)


@pytest.mark.parametrize("package", ["component-base/version", "client-go/pkg/version"])
def test_version_is_told_to_the_linker(package: str) -> None:
    flags = version_flags("v1.20.2").split()
    assert f"k8s.io/kubernetes/vendor/k8s.io/{package}.gitVersion=v1.20.2" in flags
    assert f"k8s.io/kubernetes/vendor/k8s.io/{package}.gitMinor=20" in flags


def test_source_list_asks_for_sources_of_the_one_suite() -> None:
    archives = [
        Source("http://m.example/debian/", ""),
        Source("http://s.example/", "-security"),
    ]
    lines = source_list(archives, "bookworm").splitlines()
    assert lines[:4] == [
        "Types: deb deb-src",
        "URIs: http://m.example/debian/",
        "Suites: bookworm",
        "Components: main",
    ]
    assert "s.example" not in "\n".join(lines)


def test_second_builder_waits_and_says_so(tmp_path: Path) -> None:
    lock, said = tmp_path / "lock", list[str]()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(0.15, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        with only_one(lock, "another build", said.append, every=0.05):
            assert said[0] == "waiting for another build, 0 s"
        release.join()


def test_built_programs_are_not_built_again(tmp_path: Path) -> None:
    ready, said = tmp_path / "kubernetes" / "debian-v1.20.2", list[str]()
    ready.mkdir(parents=True)
    (ready / "kube-apiserver").write_text("built before")
    build(ready, tmp_path / "work", said.append)
    assert said == []
    assert (ready / "kube-apiserver").read_text() == "built before"
    assert not list(tmp_path.glob("work*"))


@pytest.mark.parametrize("version", ["v1.20.2", "1.20.2"])
def test_version_flags_know_both_spellings(version: str) -> None:
    assert "gitMajor=1 " in version_flags(version)
