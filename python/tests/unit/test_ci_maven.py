"""ci.maven: a build uses the listed artifacts and no others."""

import hashlib

import pytest

from ci import maven
from ci.commands import UserError

JAR, POM = "org/acme/tool/1/tool-1.jar", "org/acme/tool/1/tool-1.pom"


@pytest.fixture
def pom(tmp_path, monkeypatch):
    """A project's pom.xml, and a local repository that has just what is listed for it."""
    monkeypatch.setattr(maven, "CHECKSUMS", tmp_path / "maven.sha256")
    monkeypatch.setenv("GP_CACHE", str(tmp_path / "cache"))
    local = tmp_path / "cache/maven/repository"
    (local / JAR).parent.mkdir(parents=True)
    (local / JAR).write_bytes(b"jar")
    (local / POM).write_bytes(b"pom")
    (local / f"{JAR}.sha1").write_bytes(b"sum")
    project = tmp_path / "pom.xml"
    project.write_text("<project/>")
    maven.write_list(project, local)
    return project


def test_the_list_has_each_artifact_by_its_checksum(pom):
    heading, *lines = maven.CHECKSUMS.read_text().splitlines()
    assert heading.endswith("pom.xml; written by ci/update/maven.sh")
    assert lines == [
        f"{hashlib.sha256(content).hexdigest()}  {path}"
        for path, content in ((JAR, b"jar"), (POM, b"pom"))
    ]


def test_listed_artifacts_stay(pom):
    folder = maven.repository(pom)
    maven.check(folder)
    assert (folder / JAR).read_bytes() == b"jar"


@pytest.mark.parametrize("path", [JAR, "org/acme/more/1/more-1.jar"])
def test_other_artifacts_spoil_what_was_built(pom, path):
    folder = maven.repository(pom)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(b"another jar")
    with pytest.raises(UserError, match=rf"what it built is not used: {path}\. Find out"):
        maven.check(folder)
    assert not (folder / path).exists()


def test_an_artifact_that_was_changed_in_the_cache_is_not_used(pom):
    (maven.repository(pom) / JAR).write_bytes(b"another jar")
    assert not (maven.repository(pom) / JAR).exists()


def test_a_changed_project_needs_a_new_list(pom):
    pom.write_text("<project><!-- another --></project>")
    with pytest.raises(UserError, match=r"pom.xml has changed since .* run ci/update/maven.sh"):
        maven.repository(pom)


def test_the_list_is_that_of_the_scala_launcher():
    assert maven.is_current(maven.ROOT / "launchers/scala/pom.xml")
