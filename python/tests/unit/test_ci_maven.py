"""ci.maven: a build gets the listed artifacts and no others; from a repository in a folder."""

import hashlib

import pytest

from ci import maven
from ci.commands import UserError

JAR, POM = "org/acme/tool/1/tool-1.jar", "org/acme/tool/1/tool-1.pom"


@pytest.fixture
def pom(tmp_path, monkeypatch):
    """A project's pom.xml, with a list of what it needs, and a remote repository that has all of it."""
    remote = tmp_path / "remote"
    (remote / JAR).parent.mkdir(parents=True)
    (remote / JAR).write_bytes(b"jar")
    (remote / POM).write_bytes(b"pom")
    (remote / f"{JAR}.sha1").write_bytes(b"sum")
    monkeypatch.setattr(maven, "CHECKSUMS", tmp_path / "maven.sha256")
    monkeypatch.setenv("GP_MAVEN_REPOSITORY", remote.as_uri())
    monkeypatch.setenv("GP_CACHE", str(tmp_path / "cache"))
    project = tmp_path / "pom.xml"
    project.write_text("<project/>")
    maven.write_list(project, remote)
    return project


def test_the_list_has_each_artifact_by_its_checksum(pom):
    heading, *lines = maven.CHECKSUMS.read_text().splitlines()
    assert heading.endswith("pom.xml; written by ci/update/maven.sh")
    assert lines == [
        f"{hashlib.sha256(content).hexdigest()}  {path}"
        for path, content in ((JAR, b"jar"), (POM, b"pom"))
    ]


def test_listed_artifacts_are_fetched_once(pom, monkeypatch):
    folder = maven.repository(pom)
    assert (folder / JAR).read_bytes() == b"jar"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "tool-1.jar",
        "tool-1.pom",
    ]
    monkeypatch.setenv("GP_MAVEN_REPOSITORY", "file:///nowhere")
    assert maven.repository(pom) == folder


def test_an_artifact_with_another_checksum_is_not_used(pom, tmp_path):
    (tmp_path / "remote" / JAR).write_bytes(b"another jar")
    with pytest.raises(
        UserError, match=r"tool-1\.jar is not the file that maven\.sha256 lists, and is"
    ):
        maven.repository(pom)
    assert not (tmp_path / "cache/maven/repository" / JAR).exists()


def test_an_artifact_that_was_changed_in_the_cache_is_fetched_again(pom):
    (maven.repository(pom) / JAR).write_bytes(b"another jar")
    assert (maven.repository(pom) / JAR).read_bytes() == b"jar"


def test_a_repository_that_cannot_be_reached_is_named(pom, tmp_path):
    (tmp_path / "remote" / POM).unlink()
    with pytest.raises(
        UserError, match=r"tool-1\.pom cannot be fetched: .*name it: GP_MAVEN_REPOSITORY"
    ):
        maven.repository(pom)


def test_a_changed_project_needs_a_new_list(pom):
    pom.write_text("<project><!-- another --></project>")
    with pytest.raises(UserError, match=r"pom.xml has changed since .* run ci/update/maven.sh"):
        maven.repository(pom)


def test_the_list_is_that_of_the_scala_launcher():
    assert maven.is_current(maven.ROOT / "launchers/scala/pom.xml")
