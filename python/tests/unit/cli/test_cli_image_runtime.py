"""The runtime of Scala kernels, found where bootstrap-kernel.sh finds it."""

import shutil
import sys
from pathlib import Path

import pytest

from gateway_provisioners.cli.image.runtime import RuntimeMissing, describe_runtime, find_launcher


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A folder with Java, Spark and Toree, and the variables that name them."""
    for name in ("jre/bin/java", "spark/jars/scala-library-2.12.18.jar"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "jre/bin/java").chmod(0o755)
    (tmp_path / "toree/lib").mkdir(parents=True)
    (tmp_path / "toree/lib/toree-assembly-0.5.0.jar").touch()
    for variable, folder in (("JAVA", "jre"), ("SPARK", "spark"), ("TOREE", "toree")):
        monkeypatch.setenv(f"{variable}_HOME", str(tmp_path / folder))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    return tmp_path


def test_found_through_variables(parts):
    description = f"{parts}/jre/bin/java, Spark in {parts}/spark, Toree in {parts}/toree"
    assert describe_runtime("scala") == description


def test_found_through_pip(parts, monkeypatch):
    shutil.move(parts / "spark", parts / "pyspark")
    for package in ("pyspark", "toree"):
        (parts / package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(parts))
    monkeypatch.delenv("SPARK_HOME")
    monkeypatch.setenv("TOREE_HOME", "")  # the same as unset
    assert describe_runtime("scala").endswith(f"Spark in {parts}/pyspark, Toree in {parts}/toree")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("jre/bin/java", "java is not in PATH: install a Java runtime"),
        (
            "spark/jars/scala-library-2.12.18.jar",
            r"spark does not contain jars/scala-library-2\.12\.\*\.jar",
        ),
        (
            "toree/lib/toree-assembly-0.5.0.jar",
            "toree does not contain .*: set TOREE_HOME to the folder of",
        ),
    ],
)
def test_a_missing_part(parts, file, message):
    (parts / file).unlink()
    with pytest.raises(RuntimeMissing, match=message):
        describe_runtime("scala")


def test_a_launcher_with_an_older_name_is_not_found(tmp_path):
    folder = tmp_path / "scala/lib"
    folder.mkdir(parents=True)
    (folder / "toree-launcher_2.12-0.5.0.jar").touch()
    assert find_launcher(tmp_path, "scala") is None
    (folder / "toree-launcher.jar").touch()
    assert find_launcher(tmp_path, "scala") == folder / "toree-launcher.jar"
