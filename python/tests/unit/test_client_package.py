"""The distributions: which of them brings extensions of JupyterLab and of Jupyter servers."""

import configparser
import email
import json
import subprocess
import sys
import tarfile
import zipfile

import pytest
from gateway_provisioners_client import __version__ as client_version
from gateway_provisioners_client.gateway.transport import CLIENT

from ci.paths import ROOT
from gateway_provisioners import __version__

CLIENT_PROJECT = ROOT / "python/client"
LAB = "share/jupyter/labextensions/gateway-provisioners-client"
SERVER = "etc/jupyter/jupyter_server_config.d/gateway_provisioners_client.json"
BUILT = {
    "package.json": '{"name": "gateway-provisioners-client"}',
    "static/entry.js": "//",
    ".inputs": "1",
}


def build(project, folder):
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, project],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def copy_of_the_project(folder):
    """Copy the committed files: what is built here besides must make no difference."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        capture_output=True,
        text=True,
        check=True,
        cwd=CLIENT_PROJECT,
    )
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((CLIENT_PROJECT / name).read_bytes())
    return folder


def data_of(wheel):
    """Return the files that the wheel puts outside of site-packages, by their place."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        return {
            name.partition(".data/data/")[2]: archive.read(name)
            for name in names
            if ".data/" in name
        }


def distinfo(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [path for path in archive.namelist() if path.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A folder with the client's distributions, with an extension of JupyterLab that was built before."""
    project = copy_of_the_project(tmp_path_factory.mktemp("project"))
    for name, text in BUILT.items():
        path = project / "gateway_provisioners_client/labextension" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = tmp_path_factory.mktemp("client")
    build(project, folder)
    return folder


@pytest.fixture(scope="module")
def client_wheel(client):
    return next(client.glob("*.whl"))


@pytest.fixture(scope="module")
def base_wheel(tmp_path_factory):
    return build(ROOT / "python", tmp_path_factory.mktemp("base"))


def test_the_base_wheel_beside_a_jupyter_server_brings_no_extension(base_wheel):
    """Kernel images have it, and must not become a place for extensions."""
    assert data_of(base_wheel) == {}
    with zipfile.ZipFile(base_wheel) as archive:
        assert not [name for name in archive.namelist() if "gateway_provisioners_client" in name]
    groups = configparser.ConfigParser()
    groups.read_string(distinfo(base_wheel, "entry_points.txt"))
    assert set(groups.sections()) == {"console_scripts", "jupyter_client.kernel_provisioners"}


def test_the_clients_wheel_brings_both_extensions(client_wheel):
    data = data_of(client_wheel)
    assert set(data) == {
        SERVER,
        *(f"{LAB}/{name}" for name in ("package.json", "static/entry.js", "install.json")),
    }
    assert json.loads(data[SERVER]) == {
        "ServerApp": {"jpserver_extensions": {"gateway_provisioners_client.server": True}}
    }
    assert json.loads(data[f"{LAB}/install.json"])["packageName"] == "gateway-provisioners-client"


def test_the_clients_wheel_has_the_extension_only_once(client_wheel):
    with zipfile.ZipFile(client_wheel) as archive:
        assert not [
            name
            for name in archive.namelist()
            if name.startswith("gateway_provisioners_client/lab")
        ]
        assert "gateway_provisioners_client/py.typed" in archive.namelist()


def test_a_wheel_is_built_without_the_extension_too(tmp_path):
    wheel = build(copy_of_the_project(tmp_path / "project"), tmp_path / "dist")
    assert set(data_of(wheel)) == {SERVER}


def test_the_clients_programs_and_plug_ins(client_wheel):
    groups = configparser.ConfigParser()
    groups.read_string(distinfo(client_wheel, "entry_points.txt"))
    assert dict(groups["console_scripts"]) == {
        "jupyter-gateway-spec": "gateway_provisioners_client.cli.main:main",
        "gateway-kernel": "gateway_provisioners_client.kernel.__main__:main",
    }
    assert dict(groups["papermill.engine"]) == {
        "gateway": "gateway_provisioners_client.notebooks.papermill_engine:GatewayEngine"
    }


def test_the_client_needs_no_server_and_nothing_of_kubernetes(client_wheel):
    metadata = email.message_from_string(distinfo(client_wheel, "METADATA"))
    needed = {line.partition(">")[0].lower() for line in metadata.get_all("Requires-Dist")}
    assert needed == {"aiohttp", "jupyter-client", "jupyter-core", "pyzmq", "traitlets"}


def test_the_extra_client_pulls_the_client_of_the_same_version(base_wheel):
    metadata = email.message_from_string(distinfo(base_wheel, "METADATA"))
    pulled = [line for line in metadata.get_all("Requires-Dist") if "extra == 'client'" in line]
    assert pulled == [f"gateway-provisioners-client=={__version__}; extra == 'client'"]
    assert client_version == __version__
    assert f"gateway-provisioners-client/{__version__}" == CLIENT


def test_the_sdist_has_what_the_wheel_is_built_from(client):
    with tarfile.open(next(client.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        SERVER,
        "LICENSE",
        "gateway_provisioners_client/labextension/package.json",
        "hatch_build.py",
        "install.json",
        "labextension/package.json",
        "labextension/src/index.ts",
    } <= names
    assert not [name for name in names if "node_modules" in name]


def test_the_license_is_that_of_the_product():
    assert (CLIENT_PROJECT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
