"""The wheel and the sdist: they contain the launchers, and an image needs nothing else."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
LAUNCHERS = PROJECT.parent / "launchers"


def run(*command, **kwargs):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, **kwargs
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PROJECT)
    return folder


@pytest.fixture(scope="module")
def wheel_names(built):
    (wheel,) = built.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def sdist_names(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def launcher_files():
    """Return the files of launchers/ that images with Python and R kernels need: no build artefacts."""
    listed = run(
        *("git", "ls-files", "--cached", "--others", "--exclude-standard"),
        *("python", "r", "bootstrap-kernel.sh"),
        cwd=LAUNCHERS,
    )
    return set(listed.stdout.splitlines())


def packaged_files():
    """Return every file that an installation must have, as a path inside the distributions."""
    return {f"gateway_provisioners/_launchers/{name}" for name in launcher_files()} | {
        "gateway_provisioners/py.typed",
        "gateway_provisioners/_kernelspecs/launch_docker.py",
        "gateway_provisioners/_kernelspecs/launch_kubernetes.py",
        "gateway_provisioners/_kernelspecs/python/logo-svg.svg",
    }


def test_launchers_and_data_are_in_both(wheel_names, sdist_names):
    assert packaged_files() <= wheel_names
    assert packaged_files() <= sdist_names


def test_no_caches_are_in_the_wheel(wheel_names):
    assert not [name for name in wheel_names if "cache__/" in name or "_cache/" in name]


def test_the_scala_jar_is_in_both_and_its_sources_only_in_the_sdist(wheel_names, sdist_names):
    """If the jar has not been built (ci/scala_launcher.py), the distributions do not contain it."""
    folder = "gateway_provisioners/_launchers/scala"
    jars = {f"{folder}/lib/{path.name}" for path in (LAUNCHERS / "scala/lib").glob("*.jar")}
    assert {name for name in wheel_names if name.startswith(folder)} == jars
    assert jars <= sdist_names
    assert f"{folder}/pom.xml" in sdist_names
    assert not [
        name for name in sdist_names if name.startswith((f"{folder}/target", f"{folder}/lib/."))
    ]


def test_license_is_in_both(wheel_names, sdist_names):
    assert "LICENSE" in sdist_names
    assert [name for name in wheel_names if name.endswith(".dist-info/licenses/LICENSE")]
    # A copy, since a symbolic link to a file outside would be dangling in the sdist.
    assert (PROJECT / "LICENSE").read_text() == (PROJECT.parent / "LICENSE").read_text()


def test_the_wheel_alone_prepares_an_image(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site, target = tmp_path / "site", tmp_path / "bin"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-deps", "--target", site, wheel)
    done = run(
        site / "bin" / "jupyter-image-bootstrap",
        *("install", "--languages", "python", "--languages", "r", "--target", target),
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
    )
    assert len(done.stderr.splitlines()) == 3
    installed = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    folders = {"python": "kernel-launchers/python", "r": "kernel-launchers/R"}
    expected = {}
    for name in launcher_files():
        language, _, below = name.partition("/")
        expected[f"{folders[language]}/{below}" if below else name] = name
    assert installed == expected.keys()
    for name, packaged in expected.items():
        assert (target / name).read_bytes() == (LAUNCHERS / packaged).read_bytes()
