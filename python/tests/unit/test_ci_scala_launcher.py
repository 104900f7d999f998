"""ci.scala_launcher: when the launcher of Scala kernels is built again; with a fake Maven."""

import pytest

from ci import scala_launcher
from ci.commands import UserError


@pytest.fixture
def maven(tmp_path, monkeypatch):
    """A project of the test's own; gives the command lines that were run."""
    project, commands = tmp_path / "launchers/scala", []
    (project / "src/main").mkdir(parents=True)
    (project / "src/main/Launcher.scala").write_text("object Launcher")
    (project / "pom.xml").write_text("<project/>")
    runtime = tmp_path / "runtime.txt"
    runtime.write_text("toree==0.5.0 --hash=sha256:00\n")

    def run(*command):
        commands.append([str(word) for word in command])
        (project / "target").mkdir(exist_ok=True)
        (project / "target/toree-launcher.jar").write_text(f"jar {len(commands)}")

    monkeypatch.setattr(scala_launcher, "ROOT", tmp_path)
    monkeypatch.setattr(scala_launcher, "PROJECT", project)
    monkeypatch.setattr(scala_launcher, "JAR", project / "lib/toree-launcher.jar")
    monkeypatch.setattr(scala_launcher, "STAMP", project / "lib/.toree-launcher.inputs")
    monkeypatch.setattr(scala_launcher, "RUNTIME", runtime)
    monkeypatch.setattr(scala_launcher, "_toree", lambda: tmp_path / "assembly.jar")
    monkeypatch.setattr(scala_launcher.maven, "repository", lambda pom: tmp_path / "repository")
    monkeypatch.setattr(scala_launcher, "run", run)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    return commands


def test_it_is_built_again_when_a_source_has_changed(maven, tmp_path):
    assert scala_launcher.ensure().read_text() == "jar 1"
    assert maven[0][0] == "mvn"
    assert f"-Dtoree.assembly={tmp_path}/assembly.jar" in maven[0]
    assert {"--strict-checksums", f"-Dmaven.repo.local={tmp_path}/repository"} < set(maven[0])
    assert scala_launcher.ensure().read_text() == "jar 1"
    (tmp_path / "launchers/scala/src/main/Launcher.scala").write_text("object Another")
    assert scala_launcher.ensure().read_text() == "jar 2"
    scala_launcher.RUNTIME.write_text("toree==0.5.0 --hash=sha256:01\n")
    assert scala_launcher.ensure().read_text() == "jar 3"


def test_without_maven_it_says_what_to_install(maven, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    advice = (
        "mvn and javac cannot be found; on Debian: apt-get install maven openjdk-17-jdk-headless"
    )
    with pytest.raises(UserError, match=advice):
        scala_launcher.ensure()
    assert not maven
