"""Which of this box's archives a machine of the lab gets its packages from."""

from pathlib import Path

from kubeha.lab.sources import Source, parse_targets

# As `apt-get indextargets` prints it, with foreign archives, deb-src twins and backports.
TARGETS = """\
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm|contrib
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm-updates|main
http://mirror.example/debian/|bookworm-backports|main
http://security.example/debian-security/|bookworm-security|main
https://docker.example/linux/debian/|bookworm|stable
https://node.example/|nodistro|main
""".splitlines()


def test_only_the_releases_own_suites_are_taken_each_once() -> None:
    assert parse_targets(TARGETS, "bookworm") == (
        Source("http://mirror.example/debian/", ""),
        Source("http://mirror.example/debian/", "-updates"),
        Source("http://security.example/debian-security/", "-security"),
    )


def test_a_box_without_a_security_archive_is_no_problem() -> None:
    assert parse_targets(TARGETS[:1], "bookworm") == (Source("http://mirror.example/debian/", ""),)


def test_another_codename_has_nothing_here() -> None:
    assert parse_targets(TARGETS, "sid") == ()
    assert parse_targets([], "bookworm") == ()


def test_the_stanza_is_for_the_other_release_with_the_archives_keyring() -> None:
    source = Source("http://security.example/debian-security/", "-security")
    assert source.stanza("trixie", Path("/keys/debian.gpg")) == (
        "Types: deb\n"
        "URIs: http://security.example/debian-security/\n"
        "Suites: trixie-security\n"
        "Components: main\n"
        "Signed-By: /keys/debian.gpg\n"
    )
    assert "Signed-By" not in source.stanza("trixie", None)
