"""The journal is read back as it was written, also when the writer was killed in the middle."""

import shutil
from pathlib import Path

import pytest

from kubeha.errors import LabError
from kubeha.lab.journal import Entry, Journal
from kubeha.lab.lab import design


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.record(Entry("directory", "/a"), Entry("mount", "/a b/root"))
    journal.record(Entry("namespace", "kubeha-1"))
    assert Journal(tmp_path / "journal").entries() == (
        Entry("directory", "/a"),
        Entry("mount", "/a b/root"),
        Entry("namespace", "kubeha-1"),
    )


def test_a_labs_journals_are_found_with_and_without_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, lab_id: str) -> Journal:
        directory = tmp_path / name
        directory.mkdir()
        store = tmp_path / "cache/labs" / lab_id
        options = {"release": "bookworm", "nodes": 1, "clients": 0}
        return Journal.start(design(name, lab_id, directory, store=store, **options))

    monkeypatch.setenv("KUBEHA_CACHE", str(tmp_path / "cache"))
    mine, other = made("mine", "aaaaaa"), made("other", "bbbbbb")
    shutil.rmtree(tmp_path / "mine")
    assert [journal.path for journal in Journal.of(tmp_path / "mine")] == [mine.path]
    monkeypatch.setenv("KUBEHA_CACHE", str(tmp_path / "elsewhere"))
    assert [journal.path for journal in Journal.of(tmp_path / "other")] == [other.path]
    assert Journal.of(tmp_path / "mine") == ()
    assert Journal.of(tmp_path / "never") == ()


def test_no_journal_means_nothing_was_made(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal").entries() == ()
    Journal(tmp_path / "journal").clean()


@pytest.mark.parametrize("cut", range(1, 38))
def test_a_line_that_was_cut_off_was_not_acted_upon(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path / "journal")
    journal.record(Entry("directory", "/a"), Entry("directory", "/b"))
    whole = journal.path.read_text()
    journal.path.write_text(whole[:-cut])
    last_is_whole = cut == 1
    expected = [Entry("directory", "/a"), Entry("directory", "/b")][: 2 if last_is_whole else 1]
    assert list(journal.entries()) == expected


def test_cleaning_removes_directories_and_skips_what_is_gone(tmp_path: Path) -> None:
    made, beside = tmp_path / "made", tmp_path / "beside"
    (made / "inside").mkdir(parents=True)
    beside.mkdir()
    journal = Journal(tmp_path / "journal")
    journal.record(Entry("directory", str(made)), Entry("directory", str(tmp_path / "never-made")))
    journal.clean()
    assert not made.exists()
    assert beside.exists()
    assert not journal.path.exists()
    journal.clean()


def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").touch()
    (tmp_path / "made").symlink_to(precious)
    journal = Journal(tmp_path / "journal")
    journal.record(Entry("directory", str(tmp_path / "made")))
    with pytest.raises(LabError, match="is a link"):
        journal.clean()
    assert (precious / "data").exists()


def test_a_failure_leaves_the_journal_for_the_next_try(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.record(Entry("directory", "/proc"))
    with pytest.raises(LabError, match="is mounted inside of /proc"):
        journal.clean()
    assert journal.entries() == (Entry("directory", "/proc"),)
